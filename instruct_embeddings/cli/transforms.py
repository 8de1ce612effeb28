"""`adapt` fits the transform of an instruction; `transforms` manages those that are stored."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from instruct_embeddings._printable import one_line, plain_table
from instruct_embeddings._records import read_records, row_errors
from instruct_embeddings.cli import models
from instruct_embeddings.cli.options import (
    CollectionOption,
    HeaderOption,
    JsonOption,
    TimeoutOption,
    command,
)
from instruct_embeddings.cli.output import finish, fitting, note
from instruct_embeddings.cli.store import Store
from instruct_embeddings.errors import ArtefactError

if TYPE_CHECKING:
    from rich.table import Table

    from instruct_embeddings.protocols import Guide, VectorCollection
    from instruct_embeddings.transform.guide_check import GuideCheck
    from instruct_embeddings.transform.store import TransformStore, TransformSummary

_LABEL_LINE = 'Each line is like {"id": "7", "label": "billing"}'


@command
def adapt(
    instruction: Annotated[str, typer.Argument(help="A plain sentence, such as a question.")],
    collection: CollectionOption,
    store: Store,
    transforms: "TransformStore",
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
    label_names: Annotated[
        str | None,
        typer.Option(help='Name the classes, such as "perl,c,python"; the encoder assigns them.'),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="Model that teaches where there are no labels."),
    ] = None,
    refit: Annotated[bool, typer.Option("--refit", help="Fit even if one is stored.")] = False,
    sample_size: Annotated[int, typer.Option(help="Rows to learn from.", min=4)] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the sample and of the fit.", min=0)] = 0,
    as_json: JsonOption = False,
) -> None:
    """Learn an instruction, and keep the transform for `query` and the retrievers.

    Not needed to ask: the instant query answers any instruction. A transform is better where texts
    are compared in one respect, as in "How does the customer sound?".

    Without labels the encoder of the package reads a sample under the instruction. The collection
    is not changed.
    """
    from instruct_embeddings.config import FitConfig
    from instruct_embeddings.retrieval.instructions import better_form, misleads
    from instruct_embeddings.retrieval.retriever import InstructRetriever

    given = [one for one in (metadata_key, labels, label_names) if one is not None]
    if len(given) > 1 or (given and encoder and label_names is None):
        raise typer.BadParameter(
            "name one source of labels: --metadata-key, --labels or --label-names; --encoder goes "
            "with the last, or alone."
        )
    guide = _guide(metadata_key, separator, labels, label_names, encoder)
    vectors = store.collection(collection)
    if misleads(guide.key, instruction):
        note(better_form(instruction, instant=True, override="query --fitted"))
    try:
        known = None if refit else transforms.find(instruction, guide.key, vectors.info())
    except ArtefactError as exc:
        known = None
        note(f"The stored transform is replaced: {exc}")
    if known is None:
        note(f"Fitting on a sample of at most {sample_size:,} rows ...")
    config = FitConfig(sample_size=sample_size, seed=seed)
    with fitting() as on_fit:
        retriever = InstructRetriever(vectors, guide, store=transforms, fit=config, on_fit=on_fit)
        transform = retriever.refit(instruction) if refit else retriever.transform(instruction)
    document = {
        "key": transform.key,
        "instruction": transform.instruction,
        "guide": transform.guide,
        "collection": collection,
        "store": str(store),
        "folder": str(transforms.path),
        "reused": known is not None,
        "gains": transform.report.gains,
        "used": retriever.uses(transform, instruction),
        "blend": transform.report.blend,
        "report": transform.report.to_dict(),
        "alike": _read_pairs(vectors, transform.report.guide_check),
    }
    finish(document, *_screen(document, str(transform.report)), as_json=as_json)


def _read_pairs(
    collection: "VectorCollection", check: "GuideCheck | None"
) -> list[list[dict[str, str]]]:
    """The texts that the guide finds alike and the stored vectors do not, for a reader to judge."""
    pairs = check.pairs if check else ()
    rows = collection.fetch([row for pair in pairs for row in pair], records=True)
    texts = dict(zip(rows.ids, rows.texts, strict=True))
    return [[{"id": row, "text": texts.get(row) or ""} for row in pair] for pair in pairs]


def read_labels(file: Path) -> Mapping[str, str | list[str]]:
    """Labels by id from a JSONL or CSV file with `id` and `label` (one, or a list)."""
    labels: dict[str, str | list[str]] = {}
    for row, values in read_records(file, text_key="label", form=_LABEL_LINE):
        with row_errors(row, _LABEL_LINE):
            name = str(_present(values, "id"))
            if name in labels:
                raise ValueError(f"the id {name!r} was labelled before")
            label = _present(values, "label")
            labels[name] = [str(part) for part in label] if isinstance(label, list) else str(label)
    return labels


def _present(row: Mapping[str, object], key: str) -> object:
    value = row.get(key)
    if value is None or value == "" or isinstance(value, dict):
        raise ValueError(f"no {key!r} (keys: {sorted(row)})")
    return value


def _guide(
    metadata_key: str | None,
    separator: str | None,
    labels: Path | None,
    names: str | None,
    encoder: str | None,
) -> "Guide":
    from instruct_embeddings import guides

    if labels is not None:
        return guides.LabelGuide(read_labels(labels))
    if metadata_key is not None:
        return guides.MetadataGuide(metadata_key, separator=separator)
    model = models.load_instructed(encoder)
    if names is not None:
        return guides.LabelNamesGuide([name.strip() for name in names.split(",")], model)
    return guides.EncoderGuide(model)


def _screen(document: Mapping[str, Any], report: str) -> list[str]:
    found = "was stored already (--refit fits it again)" if document["reused"] else "is stored"
    lines = [f'"{document["instruction"]}" by {document["guide"]}', "", report, ""]
    if not document["used"]:
        why = "It compares texts, and" if document["gains"] else "Its gain may be chance, so"
        what = "the instruction asks for something: the" if document["gains"] else "the"
        lines.append(f"{why} {what} instant query answers instead; `query --fitted` uses it.")
    lines.append(f"The transform {found}: {document['key']} in {document['folder']}")
    if document["alike"]:
        lines += ["", "Are these alike under the instruction? If not, the guide misreads it:"]
    for pair in document["alike"]:
        lines += ["", *(f"{row['id']}: {one_line(row['text'])}" for row in pair)]
    return lines


transforms_app = typer.Typer(help="List, show, delete, export and carry fitted transforms.")

KeyArgument = Annotated[str, typer.Argument(help="Key of a transform, or its first characters.")]


@transforms_app.command("list")
@command
def list_transforms(transforms: "TransformStore", as_json: JsonOption = False) -> None:
    """List the stored transforms, damaged ones with their problem."""
    summaries = transforms.summaries()
    document = {"folder": str(transforms.path), "transforms": [as_dict(one) for one in summaries]}
    text = f"{len(summaries)} transforms in {transforms.path}"
    finish(document, *([_table(summaries)] if summaries else []), text, as_json=as_json)


@transforms_app.command("show")
@command
def show(key: KeyArgument, transforms: "TransformStore", as_json: JsonOption = False) -> None:
    """Show one transform with its report."""
    one = _named(transforms, key)
    document = as_dict(one)
    lines = [f"{name}: {value}" for name, value in document.items() if name != "report" and value]
    finish(document, *lines, *([str(one.report)] if one.report else []), as_json=as_json)


@transforms_app.command("delete")
@command
def delete(key: KeyArgument, transforms: "TransformStore", as_json: JsonOption = False) -> None:
    """Delete one transform; the collection is not touched."""
    one = _named(transforms, key)
    transforms.delete(one.key)
    document = {"deleted": one.key, "folder": str(transforms.path)}
    finish(document, f"Deleted {one.key} from {transforms.path}", as_json=as_json)


@transforms_app.command("export")
@command
def export(
    key: KeyArgument,
    target: Annotated[Path, typer.Argument(help="Where to write the copy.")],
    transforms: "TransformStore",
    as_json: JsonOption = False,
) -> None:
    """Copy one transform out of its store, to move it to another machine."""
    written = transforms.export(_named(transforms, key).key, target)
    finish({"exported": str(written)}, f"Exported to {written}", as_json=as_json)


@transforms_app.command("carry")
@command
def carry(
    source: Annotated[str, typer.Option("--from", help="Address of the store it was in.")],
    target: Annotated[str, typer.Option("--to", help="Address of the store it is in now.")],
    collection: CollectionOption,
    renamed: Annotated[
        str | None, typer.Option("--to-collection", help="Its name there, if it is another.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--transforms",
            help="Folder of the transforms of both, if it is none of those that belong to stores.",
        ),
    ] = None,
    header: HeaderOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep the transforms of a collection that moved to another store with its vectors.

    Nothing is fitted again. A sample is compared first: 95 % of its rows must be there under the
    same ids with the same vectors. Both collections are only read, and no transform is replaced.
    """
    from instruct_embeddings.retrieval.carrying import carry_over
    from instruct_embeddings.transform.store import TransformStore

    servers = [one for one in (source, target) if one.startswith("chroma://")] or [source]
    with ExitStack() as stack:
        old, new = (
            stack.enter_context(Store(one, *((header, timeout) if one in servers else ())))
            for one in (source, target)
        )
        transforms, into = (TransformStore(folder or one.transforms) for one in (old, new))
        vectors = old.collection(collection)
        info, stored = vectors.info(), transforms.summaries()
        if not any(one.collection == info and one.problem is None for one in stored):
            raise ArtefactError(
                f"No transform of {collection!r} is stored in {transforms.path}. At least one is "
                "needed. Name their folder with --transforms."
            )
        moved = new.collection(renamed or collection)
        keys = carry_over(transforms, vectors, moved, into=into)
    document = {"from": str(old), "to": str(new), "folder": str(into.path), "carried": keys}
    text = f"{len(keys)} transforms carried from {old} to {new}; they are in {into.path}"
    finish(document, text, as_json=as_json)


def as_dict(summary: "TransformSummary") -> dict[str, Any]:
    """A stored transform as plain data; of a damaged one only key, path and problem are known."""
    info = summary.collection
    return {
        "key": summary.key,
        "path": str(summary.path),
        "instruction": summary.instruction,
        "guide": summary.guide,
        "collection": info and info.name,
        "dimension": info and info.dimension,
        "space": info and info.space,
        "created": summary.created,
        "report": summary.report and summary.report.to_dict(),
        "problem": summary.problem,
    }


def _named(store: "TransformStore", key: str) -> "TransformSummary":
    """The one transform whose key begins so."""
    summaries = store.summaries()
    found = [one for one in summaries if one.key.startswith(key)]
    if len(found) == 1:
        return found[0]
    raise ArtefactError(
        f"{len(found) or 'No'} transforms in {store.path} begin with {key!r}; stored are: "
        f"{', '.join(one.key for one in summaries) or 'none'}. Name one of them."
    )


def _table(summaries: list["TransformSummary"]) -> "Table":
    from rich.text import Text

    table = plain_table()
    for head in ("key", "instruction", "guide", "collection", "created", "on held-out rows"):
        table.add_column(head, overflow="fold")
    for one in summaries:
        if one.problem or not (one.collection and one.report):
            table.add_row(one.key[:12], Text.assemble(("damaged:", "red"), f" {one.problem}"))
            continue
        gain = f"{one.report.generic:.2f} → {one.report.adapted:.2f}"
        cells = (one.instruction, one.guide, one.collection.name, one.created, gain)
        table.add_row(one.key[:12], *cells)
    return table
