"""`index` by upsert: into the stores beside Chroma, and into all where Ray encodes."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from instruct_embeddings._extras import require
from instruct_embeddings.cli import models
from instruct_embeddings.cli.index import Target, outcome
from instruct_embeddings.cli.output import note, progress
from instruct_embeddings.cli.records import Content, Counts, Reader, Record, batches
from instruct_embeddings.cli.store import Store
from instruct_embeddings.errors import (
    CollectionError,
    CollectionMismatchError,
    EmptyCollectionError,
    UnreachableCollectionError,
)
from instruct_embeddings.writing import Records, Writer

if TYPE_CHECKING:
    from instruct_embeddings.encoder import InstructEncoder
    from instruct_embeddings.protocols import CollectionInfo, Rows, VectorCollection

# Rows that are read, compared with those stored, encoded and written together.
_BATCH = 512
# Stored rows that tell by their vectors whether the same model made them, and how alike they are.
_PROBES, _ALIKE = 4, 0.99
# Read when Ray is imported. Its own log files are kept.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_LOG_LEVEL": "ERROR",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}


def run_upsert(
    store: Store,
    name: str,
    files: list[Path],
    reader: Reader,
    model: str | None,
    ray: str | None,
    *,
    update: bool = False,
) -> dict[str, Any]:
    """Index files, encoded here or by the cluster at `ray`; what happened, as plain data.

    For Ray and for the folders of embedded stores all files are read before anything is encoded.
    """
    if ray is not None and store.options:
        raise typer.BadParameter(
            "--header and --timeout do not go with --ray, whose workers connect by themselves. "
            "Credentials of Chroma come from CHROMA_CLIENT_AUTH_CREDENTIALS on each machine."
        )
    from instruct_embeddings.encoder import BASE_MODEL

    total, counts = reader.count(files), Counts()
    with ExitStack() as stack:
        stored = stack.enter_context(closing(_Stored(store, name)))
        writer = stack.enter_context(closing(stored.writer))
        note("Loading the sentence encoder ...")
        encoder = models.load_encoder(model)
        started = time.perf_counter()
        stored.check_filled_by(encoder, model)
        if ray is not None:
            note(f"Connecting to Ray ({ray}) ...")
            os.environ.update(_QUIET | os.environ)
            cluster = require("ray_instruct_embeddings.cluster", extra="ray")
            stack.enter_context(cluster.connected(ray))
        advance = stack.enter_context(progress(f"Indexing into {name}", total))
        blocks = _chosen(reader.read(files), stored, counts, advance, update=update)
        if ray is not None or writer.one_process:
            blocks = iter([*blocks])
            stored.close()  # an embedded store has one writer or reader
        if ray is None:
            _write(blocks, encoder, writer, advance)
        elif counts.added + counts.updated:
            if store.is_chroma:  # which records its model
                database = store.chroma()
                database.client(create=True)
                Target(database, name, encoder.name).collection()
            rows = ([(row.id, row.text, row.metadata) for row in block] for block in blocks)
            cluster.embed_into(store.address, name, rows, model or BASE_MODEL, advance)
        else:
            writer.finish()
    there = stored.found or counts.added
    found = store.collection(name).count() if there else 0
    return outcome(name, store, encoder.name, reader, counts, found, started)


class _Stored:
    """The rows of a collection that are stored already; none where there is no collection yet.

    Attributes:
        found: Whether the collection is there.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._name, self._address = name, store.address
        self._collection: VectorCollection | None = None
        self._info: CollectionInfo | None = None
        try:
            self._collection = store.collection(name)
            self._info = self._collection.info()
        except EmptyCollectionError:
            pass
        except UnreachableCollectionError:
            raise
        except CollectionError:  # one that is there may not be written over unread
            self.close()
            if self.writer.exists():
                raise
        self.found = self._collection is not None

    @cached_property
    def writer(self) -> Writer:
        """Of the collection."""
        return Writer(self._address, self._name)

    def check_filled_by(self, encoder: "InstructEncoder", model: str | None) -> None:
        """Refuse an encoder that did not fill the collection, unless the user has named it."""
        if self._collection is None or models.is_recorded(self._collection, self._name, encoder):
            return
        if self._info is None:
            return
        models.check_dimension(encoder, self._info)
        if model is None and not _is_of(self._collection.sample(_PROBES, seed=0), encoder):
            raise CollectionMismatchError(
                f"The collection {self._name!r} exists, and was not filled by {encoder.name!r}, or "
                "has no texts by which that could be seen. Name a new collection, or name the "
                "model that filled this one with --model."
            )

    def among(self, names: Iterable[str]) -> dict[str, Content]:
        """Text and metadata of those of some rows that are stored."""
        if self._collection is None or self._info is None:
            return {}
        given = {self.writer.stored_id(name): name for name in names}
        rows = self._collection.fetch(list(given), records=True)
        entries = zip(rows.ids, rows.texts, rows.metadatas, strict=True)
        return {given[one]: (text, metadata) for one, text, metadata in entries}

    def close(self) -> None:
        """End the connection."""
        if (close := getattr(self._collection, "close", None)) is not None:
            close()
        self._collection = None


def _is_of(rows: "Rows", encoder: "InstructEncoder") -> bool:
    """Whether the encoder makes the vectors that are stored from the texts beside them."""
    places = [place for place, text in enumerate(rows.read_texts) if text]
    if not places:
        return False
    own = encoder.encode([rows.read_texts[place] or "" for place in places])
    stored = rows.vectors[places]
    lengths = np.linalg.norm(own, axis=1) * np.linalg.norm(stored, axis=1)
    return bool(((own * stored).sum(axis=1) >= _ALIKE * lengths).all())


def _chosen(
    records: Iterable[Record],
    stored: _Stored,
    counts: Counts,
    on_rows: Callable[[int], None],
    *,
    update: bool,
) -> Iterator[list[Record]]:
    """Batches of the records to write: new ones, and with `update` those that have changed."""
    before: set[str] = set()
    for batch in batches(records, _BATCH):
        # The same row further up in the files.
        again = before & batch.keys()
        counts.skipped += len(again)
        fresh = {name: record for name, record in batch.items() if name not in again}
        new, changed = counts.compare(fresh, stored.among(fresh), update=update)
        rows = [*new, *changed]
        before.update(row.id for row in rows)
        on_rows(len(batch) - len(rows))
        if rows:
            yield rows


def _write(
    blocks: Iterable[list[Record]],
    encoder: "InstructEncoder",
    writer: Writer,
    on_rows: Callable[[int], None],
) -> None:
    for rows in blocks:
        texts = [row.text for row in rows]
        vectors = encoder.encode(texts, on_batch=on_rows)
        writer.write(
            Records([row.id for row in rows], vectors, texts, [row.metadata for row in rows])
        )
    writer.finish()
