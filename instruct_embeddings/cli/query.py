"""`query`: generic and adapted hits side by side."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from instruct_embeddings._extras import require
from instruct_embeddings.cli import encoders
from instruct_embeddings.cli.comparison import Comparison, one_line
from instruct_embeddings.cli.options import (
    CollectionOption,
    DebugOption,
    HostOption,
    JsonOption,
    ModelOption,
    PathOption,
    PortOption,
    StoreOption,
)
from instruct_embeddings.cli.output import finish, note, reported
from instruct_embeddings.cli.places import Place, check_model
from instruct_embeddings.errors import GuideError

if TYPE_CHECKING:
    from instruct_embeddings.protocols import CollectionInfo
    from instruct_embeddings.transform.store import TransformStore


@reported
def query(
    text: Annotated[str, typer.Argument(help="What to look for.")],
    collection: CollectionOption,
    path: PathOption = None,
    host: HostOption = None,
    port: PortOption = None,
    instruction: Annotated[
        str | None, typer.Option("--instruction", "-i", help="One fitted by `adapt`.")
    ] = None,
    k: Annotated[int, typer.Option("--k", "-k", help="Results wanted.", min=1)] = 5,
    where: Annotated[
        str | None, typer.Option(help='Chroma filter on metadata, such as \'{"area": "billing"}\'.')
    ] = None,
    blend: Annotated[
        float, typer.Option(help="From 0 (generic) to 1 (adapted).", min=0.0, max=1.0)
    ] = 1.0,
    prefetch: Annotated[
        int | None, typer.Option(help="Candidates fetched before they are rescored.", min=1)
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Rank all rows, read into memory.")
    ] = False,
    store: StoreOption = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Ask a collection, without and under an instruction."""
    place = Place.given(path, host, port)
    options = {"k": k, "where": read_filter(where)}
    adapted = {"blend": blend, "prefetch": prefetch, "exact": exact}
    comparison, seconds = run_query(
        place, collection, text, instruction, place.store(store), model, options, adapted
    )
    document = {**comparison.to_dict(), "collection": collection, "seconds": seconds}
    title = f"{text}" if instruction is None else f"{text}\n{instruction}"
    table = comparison.table(title, lambda hit: (hit.id, one_line(hit.text)), "id", "text")
    finish(document, table, _timing(seconds), as_json=as_json)


def run_query(
    place: Place,
    name: str,
    text: str,
    instruction: str | None,
    store: Path,
    model: str | None,
    options: dict[str, Any],
    adapted_options: dict[str, Any],
) -> tuple[Comparison, dict[str, float]]:
    """Search without and, where one is given, under an instruction.

    Args:
        place: The database.
        name: Name of the collection.
        text: The query.
        instruction: An instruction whose transform is stored, or None.
        store: Folder of the transforms.
        model: Name of the sentence encoder, None for the default one.
        options: Options of both searches.
        adapted_options: Options of the adapted search only.

    Returns:
        The hits, and the seconds of encoding, of the generic and of the adapted search.

    Raises:
        EmptyCollectionError: Nothing is stored.
        CollectionMismatchError: Another model filled the collection.
        GuideError: No transform is stored for the instruction.
    """
    from chroma_instruct_embeddings import ChromaVectors
    from instruct_embeddings.retrieval.retriever import InstructRetriever
    from instruct_embeddings.transform.store import TransformStore

    kept = TransformStore(store)
    opened = place.collection(name)
    vectors = ChromaVectors(opened)
    info = vectors.info()
    if instruction is not None:
        check_stored(kept, instruction, info, place)
    encoder = encoders.load_encoder(model)
    if not check_model(opened.metadata, name, encoder.name):
        note(f"The collection does not record which model filled it; using {encoder.name}.")
    retriever = InstructRetriever(vectors, store=kept)
    clock = _Clock()
    vector = encoder.encode([text])[0]
    clock.lap("encode")
    generic = retriever.search(vector, **options)
    clock.lap("generic")
    adapted = []
    if instruction is not None:
        retriever.transform(instruction)
        clock.lap("load_transform")
        adapted = retriever.search(vector, instruction=instruction, **options, **adapted_options)
        clock.lap("adapted")
    return Comparison(text, instruction, generic, adapted), clock.laps


class _Clock:
    """Seconds between calls, by name."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name], self._last = round(now - self._last, 6), now


def read_filter(where: str | None) -> dict[str, Any] | None:
    """A filter of Chroma from the command line; a usage error where it is none."""
    if where is None:
        return None
    try:
        parsed = json.loads(where)
    except json.JSONDecodeError as exc:
        raise typer.BadParameter(f"--where is not JSON ({exc}): {where}") from exc
    if not isinstance(parsed, dict):
        raise typer.BadParameter(f'--where is a JSON object such as {{"area": "x"}}: {where}')
    try:
        require("chromadb.api.types", extra="chroma").validate_where(parsed)
    except ValueError as exc:
        raise typer.BadParameter(f"--where is not a filter of Chroma: {exc}") from exc
    return parsed


def check_stored(
    store: "TransformStore", instruction: str, info: "CollectionInfo", place: Place
) -> None:
    """Stop where no transform of the instruction is stored for the collection.

    Raises:
        GuideError: None is; the message says which are, and how to fit one.
    """
    from instruct_embeddings.config import normalise_instruction

    wanted = normalise_instruction(instruction)
    summaries = store.summaries()
    known = [one.instruction for one in summaries if not one.problem and one.collection == info]
    if wanted not in map(normalise_instruction, known):
        listed = "; ".join(f'"{one}"' for one in sorted(set(known))) or "none"
        damaged = sum(one.problem is not None for one in summaries)
        also = f", and {damaged} damaged (see: transforms list)" if damaged else ""
        raise GuideError(
            f'No transform is stored for "{instruction}" and the collection {info.name!r}; stored '
            f"are: {listed}{also} (in {store.path}). Fit one with: instruct-embeddings adapt "
            f'"{instruction}" {place.flags} --collection {info.name}'
        )


def _timing(seconds: dict[str, float]) -> str:
    parts = [f"{name.replace('_', ' ')} {value * 1000:.1f} ms" for name, value in seconds.items()]
    return ", ".join(parts)
