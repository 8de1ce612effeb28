"""Records into a collection, so that an interrupted run can be continued."""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from instruct_embeddings._extras import require
from instruct_embeddings.cli.encoders import TextEncoder
from instruct_embeddings.cli.records import Record
from instruct_embeddings.errors import CollectionError, UnreachableCollectionError

if TYPE_CHECKING:
    import chromadb

    from instruct_embeddings._types import FloatArray

_BATCH = 512


@dataclass
class Counts:
    """What happened to the records.

    Attributes:
        added: Stored now.
        skipped: Not stored, because their id already was.
    """

    added: int = 0
    skipped: int = 0


def fill(
    collection: "chromadb.Collection",
    records: Iterable[Record],
    encoder: TextEncoder,
    *,
    largest_batch: int,
    on_rows: Callable[[int], None],
) -> Counts:
    """Encode and store the records whose ids are not stored yet.

    Args:
        collection: Where to.
        records: What to store; read lazily, batch by batch.
        encoder: Encodes the texts.
        largest_batch: Most rows that the client writes at once.
        on_rows: Called with the number of rows done.

    Raises:
        CollectionError: The store refused a batch.
        UnreachableCollectionError: The server was lost on the way.
    """
    counts = Counts()
    for batch in _batches(records, min(_BATCH, largest_batch)):
        with _reaching(collection, batch):
            known = set(collection.get(ids=list(batch), include=[])["ids"])
        new = [record for name, record in batch.items() if name not in known]
        on_rows(len(known))
        counts.skipped += len(known)
        if new:
            vectors = encoder.encode([record.text for record in new], on_batch=on_rows)
            _store(collection, new, vectors)
            counts.added += len(new)
    return counts


def _batches(records: Iterable[Record], size: int) -> Iterator[dict[str, Record]]:
    """Batches by id; the same row twice in one batch is one."""
    rows = iter(records)
    while batch := {record.id: record for record in islice(rows, size)}:
        yield batch


def _store(collection: "chromadb.Collection", records: list[Record], vectors: "FloatArray") -> None:
    errors = require("chromadb.errors", extra="chroma")
    # Chroma takes None for "no metadata", and no empty mapping.
    metadatas: Any = [record.metadata or None for record in records]
    names = [record.id for record in records]
    try:
        with _reaching(collection, names):
            collection.add(
                ids=names,
                embeddings=vectors,
                documents=[record.text for record in records],
                metadatas=metadatas,
            )
    except (ValueError, TypeError, errors.ChromaError) as exc:
        raise CollectionError(
            f"The collection {collection.name!r} refused {len(names)} rows, {names[0]!r} "
            f"to {names[-1]!r}: {exc}. Nothing of this batch was stored."
        ) from exc


@contextmanager
def _reaching(collection: "chromadb.Collection", names: Collection[str]) -> Iterator[None]:
    """Say how far it came where the server does not answer."""
    translated = require("chroma_instruct_embeddings.translation", extra="chroma").translated
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
