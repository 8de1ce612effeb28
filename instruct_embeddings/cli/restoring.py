"""An index that Chroma was writing when its process was killed, made again from the stored texts.

Chroma keeps records and the newest vectors in a database, safe from that, and writes its index of
older vectors in place, file by file. Cut off in the middle, these files contradict each other:
loading them ends the process, or fills the disk (chroma-core/chroma issue 7510).
"""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from instruct_embeddings._extras import require
from instruct_embeddings.cli.encoders import TextEncoder
from instruct_embeddings.errors import CollectionError

if TYPE_CHECKING:
    from chromadb import Collection

# Written last, so that any other file of an index that is newer belongs to a writing cut off.
_LAST = "index_metadata.pickle"
_END_OF_PICKLE = b"."
_SET_ASIDE = ".damaged"
# Seconds in which a process that is writing shows it.
_PATIENCE = 1.0
_PAGE = 512


def is_damaged(folder: Path, collection: "Collection") -> bool:
    """Whether the index of a collection was not written to its end, or not yet restored.

    Args:
        folder: Of the database.
        collection: The collection; nothing was asked of it yet, not even its number of rows.
    """
    index = _index(folder, collection)
    return index is not None and (_is_torn(index) or _aside(index).is_dir())


def refuse_damaged(folder: Path, collection: "Collection") -> None:
    """Stop before Chroma reads a damaged index.

    Raises:
        CollectionError: It is damaged; the message says how it is made again.
    """
    if is_damaged(folder, collection):
        raise CollectionError(
            f"The index of the collection {collection.name!r} in {str(folder)!r} is incomplete: a "
            "process was killed while Chroma wrote it. The texts are there. Run the command "
            "`instruct-embeddings index` that filled it again: it embeds them anew."
        )


def set_aside(folder: Path, collection: "Collection") -> None:
    """Move a damaged index out of Chroma's sight, which then makes another.

    Args:
        folder: Of the database.
        collection: The collection; nothing was asked of it yet, not even its number of rows.
    """
    index = _index(folder, collection)
    if index is None or not _is_torn(index):
        return
    if _aside(index).is_dir():  # what was restored before was cut off as well
        shutil.rmtree(index)
    else:
        index.rename(_aside(index))


def restore(
    folder: Path, collection: "Collection", encoder: TextEncoder, on_rows: Callable[[int], None]
) -> int:
    """Embed the stored texts again whose vectors were in an index set aside.

    Where that is interrupted, the next call goes on.

    Args:
        folder: Of the database.
        collection: The collection.
        encoder: The model that filled it.
        on_rows: Called with the number of rows looked at.

    Returns:
        Rows that were embedded again.

    Raises:
        CollectionError: Rows have no text, so that their vectors are lost.
    """
    restored, without = 0, []
    for offset in range(0, collection.count(), _PAGE):
        page = collection.get(limit=_PAGE, offset=offset, include=["documents"])
        rows = dict(zip(page["ids"], page["documents"] or [], strict=True))
        if not _has_vectors(collection, page["ids"]):
            texts = {name: text for name, text in rows.items() if text}
            without += [name for name in rows if name not in texts]
            if texts:
                vectors = encoder.encode(list(texts.values()))
                collection.upsert(ids=list(texts), embeddings=vectors)
            restored += len(texts)
        on_rows(len(rows))
    if without:
        raise CollectionError(
            f"{len(without):,} rows of {collection.name!r} have no text, such as {without[0]!r}, "
            f"and their vectors were lost when a process was killed; {restored:,} others were "
            "embedded again. Delete these rows, or add them again with their vectors."
        )
    index = _index(folder, collection)
    if index is not None:
        shutil.rmtree(_aside(index), ignore_errors=True)
    return restored


def _has_vectors(collection: "Collection", names: list[str]) -> bool:
    errors = require("chromadb.errors", extra="chroma")
    try:
        found = collection.get(ids=names, include=["embeddings"])
    except errors.InternalError:  # what Chroma raises where one is missing
        return False
    return len(found["ids"]) == len(names)


def _index(folder: Path, collection: "Collection") -> Path | None:
    """The folder of a collection's index; None where Chroma keeps it in another way."""
    database = folder / "chroma.sqlite3"
    if not database.is_file():
        return None
    wanted = "SELECT id FROM segments WHERE collection = ? AND scope = 'VECTOR'"
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as found:
            row = found.execute(wanted, [str(collection.id)]).fetchone()
    except sqlite3.Error:
        return None
    return folder / str(row[0]) if row else None


def _aside(index: Path) -> Path:
    return index.with_name(index.name + _SET_ASIDE)


def _is_torn(index: Path) -> bool:
    """Whether it is half-written, and by nobody who is still at it."""
    before = _newest(index)
    if not _looks_torn(index):
        return False
    time.sleep(_PATIENCE)
    return _looks_torn(index) and _newest(index) == before


def _looks_torn(index: Path) -> bool:
    last = index / _LAST
    if not last.is_file():
        return False  # nothing was written to its end yet: all vectors are in the database
    return _newest(index) > last.stat().st_mtime_ns or not _is_complete(last)


def _newest(index: Path) -> int:
    """When any of the files that are not the last was written."""
    return max((file.stat().st_mtime_ns for file in index.glob("*.bin")), default=0)


def _is_complete(last: Path) -> bool:
    """Whether a pickle, which is not read, ends as they do."""
    if not last.stat().st_size:
        return False
    with last.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == _END_OF_PICKLE
