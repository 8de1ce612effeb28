"""`index`: files of texts into a collection."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from instruct_embeddings.cli import encoders
from instruct_embeddings.cli.database import Database, check_model
from instruct_embeddings.cli.indexing import Target, fill
from instruct_embeddings.cli.options import CollectionOption, JsonOption, ModelOption, command
from instruct_embeddings.cli.output import finish, note, progress
from instruct_embeddings.cli.records import Reader, is_made
from instruct_embeddings.errors import CollectionMismatchError

if TYPE_CHECKING:
    from chromadb import Collection

_SHOWN = 20
# Ends the name of a collection that is to take the place of another.
_REBUILDING = "-rebuilding"


@command
def index(
    files: Annotated[
        list[Path],
        typer.Argument(exists=True, dir_okay=False, help="JSONL, CSV, TSV, TXT or MD files."),
    ],
    collection: CollectionOption,
    database: Database,
    text_key: Annotated[str, typer.Option(help="Key or column of the text.")] = "text",
    id_key: Annotated[
        str, typer.Option(help="Key or column of the id; rows without one get a stable id.")
    ] = "id",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Count bad lines instead of stopping.")
    ] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Store rows anew that have changed in the files.")
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="Store the rows of the files in a new collection that takes the place of the old "
            "one, such as one whose index is damaged.",
        ),
    ] = False,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Embed the rows of files and store them in a collection.

    Run it again to continue after an interruption: rows whose id is stored are skipped. Those that
    have changed since are counted, and stored anew with --update: text, vector and metadata are
    then as in the file. With --rebuild everything is embedded anew, and what is not in the files is
    gone. What a row holds beside text and id becomes metadata; nested keys are joined by dots,
    lists by "|". Each paragraph of a text file is a row.
    """
    reader = Reader(text_key, id_key, skip_bad)
    document = run_index(
        database,
        collection,
        list(dict.fromkeys(files)),
        reader,
        model,
        update=update,
        rebuild=rebuild,
    )
    for problem in reader.bad[:_SHOWN]:
        note(f"skipped {problem}")
    if len(reader.bad) > _SHOWN:
        note(f"... and {len(reader.bad) - _SHOWN:,} more bad lines")
    finish(document, _summary(document), as_json=as_json)


def run_index(
    database: Database,
    name: str,
    files: list[Path],
    reader: Reader,
    model: str | None,
    *,
    update: bool = False,
    rebuild: bool = False,
) -> dict[str, Any]:
    """Index files; what happened, as plain data.

    Raises:
        DataError: A file or a line cannot be read.
        CollectionMismatchError: The collection was filled by another model.
        UnreachableCollectionError: The server does not answer, or no longer.
    """
    total = reader.count(files)
    note("Loading the sentence encoder ...")
    encoder = encoders.load_encoder(model)
    client = database.client(create=True)
    stored = database.find(name)
    recorded = stored is None or check_model(stored.metadata, name, encoder.name)
    if not recorded and model is None:
        raise CollectionMismatchError(
            f"The collection {name!r} exists and does not record which model filled it. Name a new "
            "collection, or name the model that filled this one with --model."
        )
    started = time.perf_counter()
    if rebuild:
        database.drop_damaged(f"{name}{_REBUILDING}")
        target = Target(database, f"{name}{_REBUILDING}", encoder.name, like=stored)
    else:
        target = Target(database, name, encoder.name)
    with progress(f"Indexing into {name}", total) as advance:
        counts = fill(
            target,
            reader.read(files),
            encoder,
            largest_batch=client.get_max_batch_size(),
            on_rows=advance,
            update=update or rebuild,
        )
    if rebuild:
        target.replace(stored, name)
    with database.reached():
        rows = 0 if target.found is None else target.found.count()
        gone = 0 if target.found is None else _gone(target.found, reader)
    return {
        "collection": name,
        "place": str(database),
        "model": encoder.name,
        **asdict(counts),
        "unmatched": gone,
        "rebuilt": rebuild,
        "bad": len(reader.bad),
        "bad_lines": reader.bad,
        "rows": rows,
        "seconds": round(time.perf_counter() - started, 3),
    }


def _gone(collection: "Collection", reader: Reader) -> int:
    """Stored rows without an id of their own that no row of the files has."""
    if not reader.made_ids:
        return 0
    names = collection.get(include=[])["ids"]
    return sum(is_made(name) and not reader.has(name) for name in names)


def _summary(document: dict[str, Any]) -> str:
    updated = f"{document['updated']:,} updated, " if document["updated"] else ""
    lines = [
        f"{document['collection']} in {document['place']}: {document['added']:,} rows added, "
        f"{updated}{document['skipped']:,} were stored already, {document['bad']:,} bad; "
        f"{document['rows']:,} rows in all ({document['seconds']:.1f} s)."
    ]
    if document["changed"]:
        lines.append(
            f"{document['changed']:,} of those stored have changed in the files, such as "
            f"{document['examples'][0]!r}: their old texts and vectors were kept. Add --update to "
            "store them anew."
        )
    if document["unmatched"]:
        lines.append(
            f"{document['unmatched']:,} stored rows without an id of their own are not in these "
            "files: they are of other files, or were edited, and the new text is a row of its own. "
            "Give rows an id (--id-key) to have edited ones found."
        )
    return "\n".join(lines)
