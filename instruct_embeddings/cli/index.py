"""`index`: files of texts into a collection, so that an interrupted run can be continued."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from instruct_embeddings._extras import require
from instruct_embeddings.cli import models
from instruct_embeddings.cli.models import MODEL_KEY, check_model
from instruct_embeddings.cli.options import CollectionOption, JsonOption, ModelOption, command
from instruct_embeddings.cli.output import finish, note, progress
from instruct_embeddings.cli.records import Content, Counts, Reader, Record, batches, is_made, typed
from instruct_embeddings.cli.store import Store
from instruct_embeddings.errors import (
    CollectionError,
    CollectionMismatchError,
    DataError,
    UnreachableCollectionError,
)

if TYPE_CHECKING:
    from chromadb import Collection

    from chroma_instruct_embeddings.database import ChromaDatabase
    from instruct_embeddings.encoder import InstructEncoder

_BATCH = 512
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
    store: Store,
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
    ray: Annotated[
        str | None,
        typer.Option(
            help="Encode by Ray: `local` for the processors of this machine, "
            "`auto`, HOST:PORT or ray://HOST:10001 for a cluster."
        ),
    ] = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Embed the rows of files and store them in a collection of any store.

    Run it again to continue after an interruption: rows whose id is stored are skipped. Those that
    have changed since are counted, and stored anew with --update: text, vector and metadata are
    then as in the file. With --rebuild everything is embedded anew, and what is not in the files is
    gone. What a row holds beside text and id becomes metadata; nested keys are joined by dots,
    lists by "|". Each paragraph of a text file is a row.
    """
    reader = Reader(text_key, id_key, skip_bad)
    once = list(dict.fromkeys(files))
    if ray is None and store.is_chroma:
        options = {"update": update, "rebuild": rebuild}
        document = run_index(store.chroma(), collection, once, reader, model, **options)
    else:
        from instruct_embeddings.cli.index_upsert import run_upsert

        if rebuild:
            raise typer.BadParameter(
                "--rebuild is for collections of Chroma, without --ray; fill a new collection."
            )
        document = run_upsert(store, collection, once, reader, model, ray, update=update)
    for problem in reader.bad[:_SHOWN]:
        note(f"skipped {problem}")
    if len(reader.bad) > _SHOWN:
        note(f"... and {len(reader.bad) - _SHOWN:,} more bad lines")
    finish(document, _summary(document), as_json=as_json)


def run_index(
    database: "ChromaDatabase",
    name: str,
    files: list[Path],
    reader: Reader,
    model: str | None,
    *,
    update: bool = False,
    rebuild: bool = False,
) -> dict[str, Any]:
    """Index files; what happened, as plain data."""
    total = reader.count(files)
    note("Loading the sentence encoder ...")
    encoder = models.load_encoder(model)
    client = database.client(create=True)
    stored = database.find(name)
    with database.reached():
        largest_batch = client.get_max_batch_size()
    recorded = stored is None or check_model(stored.metadata, name, encoder.name)
    if not recorded and model is None:
        raise CollectionMismatchError(
            f"The collection {name!r} exists and does not record which model filled it. Name a new "
            "collection, or name the model that filled this one with --model."
        )
    started = time.perf_counter()
    filled = f"{name}{_REBUILDING}" if rebuild else name
    if rebuild:
        _drop_damaged(database, filled)
    target = Target(database, filled, encoder.name, like=stored)
    options: dict[str, Any] = {"largest_batch": largest_batch, "update": update or rebuild}
    with progress(f"Indexing into {name}", total) as advance:
        counts = fill(target, reader.read(files), encoder, on_rows=advance, **options)
    if rebuild:
        target.replace(stored, name)
    with database.reached():
        rows = 0 if target.found is None else target.found.count()
        gone = 0 if target.found is None else _gone(target.found, reader)
    further = {"unmatched": gone, "rebuilt": rebuild}
    return outcome(name, database, encoder.name, reader, counts, rows, started) | further


def outcome(
    name: str,
    store: object,
    model: str,
    reader: Reader,
    counts: Counts,
    rows: int,
    started: float,
) -> dict[str, Any]:
    """What happened to the rows of files, as plain data; `rows` are stored now."""
    return {
        "collection": name,
        "store": str(store),
        "model": model,
        **asdict(counts),
        "unmatched": 0,
        "rebuilt": False,
        "bad": len(reader.bad),
        "bad_lines": reader.bad,
        "rows": rows,
        "seconds": round(time.perf_counter() - started, 3),
    }


def _drop_damaged(database: "ChromaDatabase", name: str) -> None:
    """Delete a collection whose index is damaged; nothing where it is not, or there is none."""
    found = database.find(name)
    if found is not None and database.is_damaged(found):
        database.client().delete_collection(name)


def create(
    database: "ChromaDatabase", name: str, model: str, *, like: "Collection | None" = None
) -> "Collection":
    """Create a collection that records its model, or open it where there is one.

    It gets the distance and the metadata of the collection `like`; cosine without one.
    """
    errors = require("chromadb.errors", extra="chroma")
    spaces = require("chroma_instruct_embeddings.spaces")
    configuration: Any = {"hnsw": {"space": spaces.space_of(like) if like else "cosine"}}
    # Settings of the index that older versions of Chroma kept there are no metadata.
    old = ((like and like.metadata) or {}).items()
    metadata = {key: value for key, value in old if not key.startswith("hnsw:")}
    with database.reached():
        try:
            return database.client().get_or_create_collection(
                name,
                embedding_function=None,
                configuration=configuration,
                metadata={**metadata, MODEL_KEY: model},
            )
        except (ValueError, errors.ChromaError) as exc:
            raise CollectionError(f"The collection {name!r} cannot be opened: {exc}") from exc


def _gone(collection: "Collection", reader: Reader) -> int:
    """Stored rows without an id of their own that no row of the files has."""
    if not reader.made_ids:
        return 0
    names = collection.get(include=[])["ids"]
    return sum(is_made(name) and not reader.has(name) for name in names)


def _summary(document: dict[str, Any]) -> str:
    updated = f"{document['updated']:,} updated, " if document["updated"] else ""
    lines = [
        f"{document['collection']} in {document['store']}: {document['added']:,} rows added, "
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


class Target:
    """A collection that is created with its first rows: what fails before leaves no empty one."""

    def __init__(
        self,
        database: "ChromaDatabase",
        name: str,
        model: str,
        *,
        like: "Collection | None" = None,
    ) -> None:
        self.found = database.find(name)
        if self.found is not None:
            database.check_index(self.found)
        self._database = database
        self._create = partial(create, database, name, model, like=like)

    def collection(self) -> "Collection":
        """The collection, created now if there is none."""
        if self.found is None:
            self.found = self._create()
        return self.found

    def replace(self, old: "Collection | None", name: str) -> None:
        """Give the collection its final name; the old one is deleted, unless no row was stored."""
        if self.found is None:
            raise DataError("The files hold no row to store. The collection was left as it is.")
        with self._database.reached():
            if old is not None:
                self._database.client().delete_collection(name)
            self.found.modify(name=name)

    def stored(self, names: Sequence[str]) -> dict[str, Content]:
        """Text and metadata of those of some rows that are stored."""
        if self.found is None:
            return {}
        with _reaching(self.found, names):
            rows = self.found.get(ids=list(names), include=["documents", "metadatas"])
        texts, metadatas = rows["documents"] or [], rows["metadatas"] or []
        entries = zip(texts, (one or {} for one in metadatas), strict=True)
        return dict(zip(rows["ids"], entries, strict=True))


def fill(
    target: Target,
    records: Iterable[Record],
    encoder: "InstructEncoder",
    *,
    largest_batch: int,
    on_rows: Callable[[int], None],
    update: bool = False,
) -> Counts:
    """Encode and store the records that are not stored yet, and find those that have changed.

    With `update` changed records are stored anew: text, vector and metadata are then as in the
    record; where the text is the same, nothing is encoded.
    """
    counts = Counts()
    for batch in batches(records, min(_BATCH, largest_batch)):
        known = target.stored(list(batch))
        new, differ = counts.compare(batch, known, update=update)
        edited = [one for one in differ if known[one.id][0] != one.text]
        on_rows(len(batch) - len(new) - len(edited))
        if new or edited:
            texts = [one.text for one in [*new, *edited]]
            vectors = encoder.encode(texts, on_batch=on_rows)
            cut = len(new)
            # Chroma takes None for "no metadata", and no empty mapping.
            metadatas = [one.metadata or None for one in new]
            first = {"embeddings": vectors[:cut], "documents": texts[:cut], "metadatas": metadatas}
            _write(target.collection(), "add", new, **first)
            changes = {"embeddings": vectors[cut:], "documents": texts[cut:]}
            _write(target.collection(), "update", edited, **changes)
        if differ:
            relabelled = [one for one in differ if typed(known[one.id][1]) != typed(one.metadata)]
            # Chroma keeps what is not named, and drops what is None.
            columns = [dict.fromkeys(known[one.id][1]) | dict(one.metadata) for one in relabelled]
            _write(target.collection(), "update", relabelled, metadatas=columns)
    return counts


def _write(
    collection: "Collection",
    method: Literal["add", "update"],
    records: Sequence[Record],
    **columns: Any,
) -> None:
    """Write rows, if there are any; say which were refused, and why."""
    if not records:
        return
    names = [record.id for record in records]
    errors = require("chromadb.errors", extra="chroma")
    try:
        with _reaching(collection, names):
            getattr(collection, method)(ids=names, **columns)
    except (ValueError, TypeError, errors.ChromaError) as exc:
        raise CollectionError(
            f"The collection {collection.name!r} refused {len(names)} rows, {names[0]!r} "
            f"to {names[-1]!r}: {exc}. Nothing of this batch was stored."
        ) from exc


@contextmanager
def _reaching(collection: "Collection", names: Sequence[str]) -> Iterator[None]:
    """Say how far it came where the server does not answer."""
    translated = require("chroma_instruct_embeddings.errors", extra="chroma").translated
    try:
        with translated(collection):
            yield
    except UnreachableCollectionError as exc:
        first, *_, last = [*names, *names]
        raise UnreachableCollectionError(
            f"The server of {collection.name!r} did not answer as Chroma does, at the rows "
            f"{first!r} to {last!r} ({exc.__cause__!r:.200}). What was stored before is kept, and "
            "these rows may be stored. Run the same command again when the server is in order: "
            "rows that are stored are skipped."
        ) from exc
