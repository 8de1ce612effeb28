"""`adapt`: fit and store the transform of one instruction."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from instruct_embeddings.cli.files import split
from instruct_embeddings.cli.options import (
    CollectionOption,
    DebugOption,
    HostOption,
    JsonOption,
    PathOption,
    PortOption,
    StoreOption,
)
from instruct_embeddings.cli.output import finish, note, reported
from instruct_embeddings.cli.places import Place
from instruct_embeddings.errors import ArtefactError, DataError

if TYPE_CHECKING:
    from instruct_embeddings.config import FitConfig
    from instruct_embeddings.protocols import Guide


@reported
def adapt(
    instruction: Annotated[str, typer.Argument(help="A plain sentence, such as a question.")],
    collection: CollectionOption,
    path: PathOption = None,
    host: HostOption = None,
    port: PortOption = None,
    metadata_key: Annotated[
        str | None, typer.Option(help="Learn from this key of the stored metadata.")
    ] = None,
    separator: Annotated[
        str | None, typer.Option(help='What separates several values of that key, such as "|".')
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Learn from a JSONL or CSV: id, label."),
    ] = None,
    store: StoreOption = None,
    refit: Annotated[bool, typer.Option("--refit", help="Fit even if one is stored.")] = False,
    sample_size: Annotated[int, typer.Option(help="Rows to learn from.", min=4)] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the sample and of the fit.", min=0)] = 0,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Learn an instruction from labels, and keep the transform for `query` and the retrievers.

    The collection is not changed: a sample of its vectors is read.
    """
    from instruct_embeddings.config import FitConfig

    if (metadata_key is None) == (labels is None):
        raise typer.BadParameter("name the labels: either --metadata-key KEY or --labels FILE.")
    place = Place.given(path, host, port)
    guide = _guide(metadata_key, separator, labels)
    config = FitConfig(sample_size=sample_size, seed=seed)
    document, report = run_adapt(
        place, collection, instruction, guide, config, place.store(store), refit=refit
    )
    finish(document, *_screen(document, report), as_json=as_json)


def run_adapt(
    place: Place,
    name: str,
    instruction: str,
    guide: "Guide",
    config: "FitConfig",
    store: Path,
    *,
    refit: bool = False,
) -> tuple[dict[str, Any], str]:
    """Fit, or find, one transform; what it is as plain data, and its report for a reader.

    Raises:
        CollectionError: The collection cannot be read.
        GuideError: There is nothing to learn from.
    """
    from chroma_instruct_embeddings import ChromaVectors
    from instruct_embeddings.retrieval.retriever import InstructRetriever
    from instruct_embeddings.transform.store import TransformStore

    kept = TransformStore(store)
    vectors = ChromaVectors(place.collection(name))
    retriever = InstructRetriever(vectors, guide, store=kept, fit=config)
    try:
        known = None if refit else kept.find(instruction, guide.key, vectors.info())
    except ArtefactError as exc:
        known = None
        note(f"The stored transform is replaced: {exc}")
    if known is None:
        note(f"Fitting on a sample of at most {config.sample_size:,} rows ...")
    transform = retriever.refit(instruction) if refit else retriever.transform(instruction)
    document = {
        "key": transform.key,
        "instruction": transform.instruction,
        "guide": transform.guide,
        "collection": name,
        "place": str(place),
        "store": str(store),
        "reused": known is not None,
        "helps": transform.report.helps,
        "report": transform.report.to_dict(),
    }
    return document, str(transform.report)


def read_labels(file: Path) -> Mapping[str, str | list[str]]:
    """Labels by id from a JSONL or CSV file with `id` and `label` (one, or a list).

    Raises:
        DataError: A line cannot be read, or names an id twice.
    """
    labels: dict[str, str | list[str]] = {}
    for line, decode in split(file, "label"):
        try:
            row = decode()
            name = str(_present(row, "id"))
            if name in labels:
                raise ValueError(f"the id {name!r} was labelled before")
            label = _present(row, "label")
            labels[name] = [str(part) for part in label] if isinstance(label, list) else str(label)
        except ValueError as exc:
            raise DataError(
                f'{file}:{line}: {exc}. Each line is like {{"id": "7", "label": "billing"}}.'
            ) from exc
    return labels


def _present(row: Mapping[str, object], key: str) -> object:
    value = row.get(key)
    if value is None or value == "" or isinstance(value, dict):
        raise ValueError(f"no {key!r} (keys: {sorted(row)})")
    return value


def _guide(metadata_key: str | None, separator: str | None, labels: Path | None) -> "Guide":
    if labels is not None:
        from instruct_embeddings.guides.labels import LabelGuide

        return LabelGuide(read_labels(labels))
    from instruct_embeddings.guides.metadata import MetadataGuide

    return MetadataGuide(str(metadata_key), separator=separator)


def _screen(document: Mapping[str, Any], report: str) -> list[str]:
    found = "was stored already (--refit fits it again)" if document["reused"] else "is stored"
    lines = [f'"{document["instruction"]}" by {document["guide"]}', "", report, ""]
    if not document["helps"]:
        lines.append("Its gain may be chance, so queries keep the generic ranking.")
    return [*lines, f"The transform {found}: {document['key']} in {document['store']}"]
