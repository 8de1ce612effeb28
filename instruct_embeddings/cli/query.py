"""`query`: generic and adapted hits side by side."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from instruct_embeddings.cli.comparison import Comparison, one_line
from instruct_embeddings.cli.options import (
    BlendOption,
    CollectionOption,
    DebugOption,
    ExactOption,
    FittedOption,
    JsonOption,
    ModelOption,
    StoreOption,
    WhereOption,
)
from instruct_embeddings.cli.output import finish, reported
from instruct_embeddings.cli.placed import placed
from instruct_embeddings.cli.places import Place
from instruct_embeddings.cli.searching import open_retriever, read_filter


@reported
@placed
def query(
    text: Annotated[str, typer.Argument(help="What to look for.")],
    collection: CollectionOption,
    place: Place,
    instruction: Annotated[
        str | None, typer.Option("--instruction", "-i", help="A plain sentence; fitted or not.")
    ] = None,
    k: Annotated[int, typer.Option("--k", "-k", help="Results wanted.", min=1)] = 5,
    where: WhereOption = None,
    blend: BlendOption = None,
    prefetch: Annotated[
        int | None, typer.Option(help="Candidates fetched before they are rescored.", min=1)
    ] = None,
    exact: ExactOption = False,
    fitted: FittedOption = False,
    store: StoreOption = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Ask a collection, without and under an instruction.

    What `adapt` has fitted answers where it is better than the stored vectors; else the instant
    query does, for which nothing is fitted.
    """
    options = {"k": k, "where": read_filter(where)}
    adapted = {"blend": blend, "prefetch": prefetch, "exact": exact}
    comparison, seconds = run_query(
        place,
        collection,
        text,
        instruction,
        place.store(store),
        model,
        options,
        adapted,
        fitted=fitted,
    )
    document = {**comparison.to_dict(), "collection": collection, "seconds": seconds}
    title = f"{text}" if instruction is None else f"{text}\n{instruction}"
    table = comparison.table(title, lambda hit: (hit.id, one_line(hit.text)), "id", "text")
    finish(document, table, *comparison.answered(), _timing(seconds), as_json=as_json)


def run_query(
    place: Place,
    name: str,
    text: str,
    instruction: str | None,
    store: Path,
    model: str | None,
    options: dict[str, Any],
    adapted_options: dict[str, Any],
    *,
    fitted: bool = False,
) -> tuple[Comparison, dict[str, float]]:
    """Search without and, where one is given, under an instruction.

    Args:
        place: The database.
        name: Name of the collection.
        text: The query.
        instruction: An instruction, or None.
        store: Folder of the transforms.
        model: Name of the sentence encoder, None for the default one.
        options: Options of both searches.
        adapted_options: Options of the adapted search only.
        fitted: Whether its transform has to be stored.

    Returns:
        The hits, and the seconds of encoding, of the generic and of the adapted search.

    Raises:
        EmptyCollectionError: Nothing is stored.
        CollectionMismatchError: Another model filled the collection.
        GuideError: No transform is stored for the instruction though it has to be, or the instant
            query does not reach the space of the collection.
    """
    retriever, encoder = open_retriever(place, name, store, model, instruction, fitted=fitted)
    clock = _Clock()
    vector = encoder.encode([text])[0]
    clock.lap("encode")
    generic = retriever.search(vector, **options)
    clock.lap("generic")
    adapted = []
    if instruction is not None:
        retriever.fitted(instruction, wait=fitted)
        clock.lap("load_transform")
        under: dict[str, Any] = {"query": text, "instruction": instruction}
        adapted = retriever.search(vector, **under, **options, **adapted_options)
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


def _timing(seconds: dict[str, float]) -> str:
    parts = [f"{name.replace('_', ' ')} {value * 1000:.1f} ms" for name, value in seconds.items()]
    return ", ".join(parts)
