"""`transforms`: list, show, delete and export what was fitted."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from instruct_embeddings.cli.options import JsonOption, command
from instruct_embeddings.cli.output import finish, plain_table
from instruct_embeddings.errors import ArtefactError

if TYPE_CHECKING:
    from rich.table import Table

    from instruct_embeddings.transform.store import TransformStore, TransformSummary

transforms_app = typer.Typer(help="List, show, delete and export fitted transforms.")

KeyArgument = Annotated[str, typer.Argument(help="Key of a transform, or its first characters.")]


@transforms_app.command("list")
@command
def list_transforms(
    transforms: "TransformStore",
    as_json: JsonOption = False,
) -> None:
    """List the stored transforms, damaged ones with their problem."""
    summaries = transforms.summaries()
    document = {"store": str(transforms.path), "transforms": [as_dict(one) for one in summaries]}
    text = f"{len(summaries)} transforms in {transforms.path}"
    finish(document, *([_table(summaries)] if summaries else []), text, as_json=as_json)


@transforms_app.command("show")
@command
def show(
    key: KeyArgument,
    transforms: "TransformStore",
    as_json: JsonOption = False,
) -> None:
    """Show one transform with its report."""
    one = _named(transforms, key)
    document = as_dict(one)
    lines = [f"{name}: {value}" for name, value in document.items() if name != "report" and value]
    finish(document, *lines, *([str(one.report)] if one.report else []), as_json=as_json)


@transforms_app.command("delete")
@command
def delete(
    key: KeyArgument,
    transforms: "TransformStore",
    as_json: JsonOption = False,
) -> None:
    """Delete one transform; the collection is not touched."""
    one = _named(transforms, key)
    transforms.delete(one.key)
    document = {"deleted": one.key, "store": str(transforms.path)}
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


def as_dict(summary: "TransformSummary") -> dict[str, Any]:
    """A stored transform as plain data; of a damaged one only key, path and problem are known."""
    return {
        "key": summary.key,
        "path": str(summary.path),
        "instruction": summary.instruction,
        "guide": summary.guide,
        "collection": summary.collection.name if summary.collection else None,
        "dimension": summary.collection.dimension if summary.collection else None,
        "space": summary.collection.space if summary.collection else None,
        "created": summary.created,
        "report": summary.report.to_dict() if summary.report else None,
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
        if one.problem:
            table.add_row(one.key[:12], Text.assemble(("damaged:", "red"), f" {one.problem}"))
            continue
        table.add_row(
            one.key[:12],
            one.instruction or "",
            one.guide or "",
            one.collection.name if one.collection else "",
            one.created,
            f"{one.report.generic:.2f} → {one.report.adapted:.2f}" if one.report else "",
        )
    return table
