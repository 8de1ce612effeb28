"""Whether Chroma was killed while it wrote the index of a collection.

Chroma keeps records and the newest vectors in a database, safe from that, and writes its index of
older vectors in place, file by file. Cut off in the middle, these files contradict each other:
loading them ends the process, or fills the disk (chroma-core/chroma issue 7510). Even counting
rows loads them; renaming and deleting the collection does not.
"""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chromadb import Collection

# Written last, so that any other file of an index that is newer belongs to a writing cut off.
_LAST = "index_metadata.pickle"
_END_OF_PICKLE = b"."
# Seconds in which a process that is writing shows it.
_PATIENCE = 1.0


def is_damaged(folder: Path, collection: "Collection") -> bool:
    """Whether the index of a collection is half-written, and by nobody who is still at it.

    Args:
        folder: Of the database.
        collection: The collection; nothing was asked of it yet, not even its number of rows.
    """
    index = _index(folder, collection)
    if index is None or not _looks_torn(index):
        return False
    before = _newest(index)
    time.sleep(_PATIENCE)
    return _looks_torn(index) and _newest(index) == before


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
