"""Records into a collection, so that an interrupted run can be continued."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from instruct_embeddings._extras import require
from instruct_embeddings.cli.database import Database
from instruct_embeddings.cli.records import Record
from instruct_embeddings.errors import CollectionError, DataError, UnreachableCollectionError

if TYPE_CHECKING:
    import chromadb

    from instruct_embeddings._types import FloatArray
    from instruct_embeddings.encoder import InstructEncoder

_BATCH = 512
_EXAMPLES = 3


@dataclass
class Counts:
    """What happened to the records.

    Attributes:
        added: Stored now.
        updated: Stored under their id with another text or other metadata, and stored anew.
        changed: Stored so too, and left as they were.
        skipped: Not written, because their id was stored, the changed ones among them.
        examples: Ids of some that were changed and left.
    """

    added: int = 0
    updated: int = 0
    changed: int = 0
    skipped: int = 0
    examples: list[str] = field(default_factory=list)


class Target:
    """A collection that is created with its first rows: what fails before leaves no empty one.

    Args:
        database: Where it is, or will be.
        name: Its name.
        model: Name of the model that fills it.
        like: A collection whose distance and metadata a new one has.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        model: str,
        *,
        like: "chromadb.Collection | None" = None,
    ) -> None:
        self.found = database.find(name)
        if self.found is not None:
            database.check_index(self.found)
        self._database = database
        self._create = partial(database.create, name, model, like=like)

    def collection(self) -> "chromadb.Collection":
        """The collection, created now if there is none."""
        if self.found is None:
            self.found = self._create()
        return self.found

    def replace(self, old: "chromadb.Collection | None", name: str) -> None:
        """Give the collection its final name; the old one of that name is deleted.

        Raises:
            DataError: No row was stored; the old one is kept.
        """
        if self.found is None:
            raise DataError("The files hold no row to store. The collection was left as it is.")
        with self._database.reached():
            if old is not None:
                self._database.client().delete_collection(name)
            self.found.modify(name=name)

    def stored(self, names: Sequence[str]) -> dict[str, tuple[str | None, Mapping[str, Any]]]:
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

    Texts and metadata themselves are compared, so that it does not matter who stored them and when.

    Args:
        target: Where to.
        records: What to store; read lazily, batch by batch.
        encoder: Encodes the texts.
        largest_batch: Most rows that the client writes at once.
        on_rows: Called with the number of rows done.
        update: Store changed records anew: text, vector and metadata are then as in the record.
            Where the text is the same, nothing is encoded.

    Raises:
        CollectionError: The store refused a batch.
        UnreachableCollectionError: The server was lost on the way.
    """
    counts = Counts()
    for batch in _batches(records, min(_BATCH, largest_batch)):
        known = target.stored(list(batch))
        new = [record for name, record in batch.items() if name not in known]
        differ = [batch[name] for name, row in known.items() if _differs(batch[name], *row)]
        edited = [record for record in differ if known[record.id][0] != record.text]
        encoded = [*new, *edited] if update else new
        on_rows(len(batch) - len(encoded))
        if encoded:
            vectors = encoder.encode([one.text for one in encoded], on_batch=on_rows)
            _add(target.collection(), new, vectors[: len(new)])
            _update_texts(target.collection(), encoded[len(new) :], vectors[len(new) :])
        counts.added += len(new)
        if update and differ:
            _update_metadata(target.collection(), differ, known)
            counts.updated += len(differ)
        elif differ:
            counts.changed += len(differ)
            counts.examples += [one.id for one in differ][: _EXAMPLES - len(counts.examples)]
        counts.skipped += len(known) - (len(differ) if update else 0)
    return counts


def _differs(record: Record, text: str | None, metadata: Mapping[str, Any]) -> bool:
    return text != record.text or _typed(metadata) != _typed(record.metadata)


def _typed(metadata: Mapping[str, Any]) -> dict[str, tuple[bool, Any]]:
    """Metadata to compare: true is not 1, and 1.0 is."""
    return {key: (isinstance(value, bool), value) for key, value in metadata.items()}


def _batches(records: Iterable[Record], size: int) -> Iterator[dict[str, Record]]:
    """Batches by id; the same row twice in one batch is one."""
    rows = iter(records)
    while batch := {record.id: record for record in islice(rows, size)}:
        yield batch


def _add(collection: "chromadb.Collection", records: list[Record], vectors: "FloatArray") -> None:
    # Chroma takes None for "no metadata", and no empty mapping.
    metadatas = [record.metadata or None for record in records]
    texts = [record.text for record in records]
    names = [record.id for record in records]
    _write(collection, "add", names, embeddings=vectors, documents=texts, metadatas=metadatas)


def _update_texts(
    collection: "chromadb.Collection", records: list[Record], vectors: "FloatArray"
) -> None:
    names, texts = [record.id for record in records], [record.text for record in records]
    _write(collection, "update", names, embeddings=vectors, documents=texts)


def _update_metadata(
    collection: "chromadb.Collection",
    records: list[Record],
    stored: Mapping[str, tuple[str | None, Mapping[str, Any]]],
) -> None:
    """Chroma keeps what is not named, and drops what is None."""
    changes: dict[str, dict[str, Any]] = {}
    for record in records:
        before = stored[record.id][1]
        if _typed(before) != _typed(record.metadata):
            changes[record.id] = dict.fromkeys(before) | dict(record.metadata)
    _write(collection, "update", list(changes), metadatas=list(changes.values()))


def _write(
    collection: "chromadb.Collection",
    method: Literal["add", "update"],
    names: list[str],
    **columns: Any,
) -> None:
    """Write rows, if there are any; say which were refused, and why."""
    errors = require("chromadb.errors", extra="chroma")
    if not names:
        return
    try:
        with _reaching(collection, names):
            getattr(collection, method)(ids=names, **columns)
    except (ValueError, TypeError, errors.ChromaError) as exc:
        raise CollectionError(
            f"The collection {collection.name!r} refused {len(names)} rows, {names[0]!r} "
            f"to {names[-1]!r}: {exc}. Nothing of this batch was stored."
        ) from exc


@contextmanager
def _reaching(collection: "chromadb.Collection", names: Collection[str]) -> Iterator[None]:
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
