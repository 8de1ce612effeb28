"""Whether the files of a collection contradict each other, before Chroma loads them."""

import sqlite3
import time
from pathlib import Path

from chromadb import Collection

from chroma_instruct_embeddings.segments import segment_of

# The last file of an index to be written: where another one is newer, writing was cut off.
_LAST = "index_metadata.pickle"
_END_OF_PICKLE = b"."
# Seconds in which a process that is still writing shows it.
_PATIENCE = 1.0


def is_damaged(folder: Path, collection: Collection) -> bool:
    """Whether a process was killed while Chroma wrote the index of a collection.

    Chroma keeps records and the newest vectors in a database, safe from that, and writes its index
    of older vectors in place, file by file. Cut off in the middle, these files contradict each
    other: loading them ends the process, or fills the disk (chroma-core/chroma issue 7510). Even
    counting rows loads them; renaming and deleting the collection does not.
    """
    try:
        with segment_of(collection, folder, "VECTOR") as (_, segment):
            pass
    except sqlite3.Error:  # Chroma keeps it in another way
        return False
    if segment is None or not _looks_torn(index := folder / segment):
        return False
    before = _newest(index)
    time.sleep(_PATIENCE)
    return _looks_torn(index) and _newest(index) == before


def _looks_torn(index: Path) -> bool:
    last = index / _LAST
    if not last.is_file():
        return False  # nothing was written to its end yet: all vectors are in the database
    with last.open("rb") as pickle:  # which is not read but for its end
        pickle.seek(max(last.stat().st_size - 1, 0))
        complete = pickle.read() == _END_OF_PICKLE
    return not complete or _newest(index) > last.stat().st_mtime_ns


def _newest(index: Path) -> int:
    """When any of the files that are not the last was written."""
    return max((file.stat().st_mtime_ns for file in index.glob("*.bin")), default=0)
