"""Ids from all over a collection in a folder, without skipping to offsets.

Chroma finds an offset by walking over all rows before it: at a million rows half a second for each.
Its database numbers rows in the order of insertion and finds a number at once, so ids are read
there, by a connection that cannot write; the rows themselves are then read through Chroma.
"""

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
from chromadb import Collection

from chroma_instruct_embeddings.segments import segment_of

# So many numbers are looked up for each id: deleted rows, and those of other collections, are none.
_DRAWN = 4
_EMBEDDED = ("chromadb.api.rust.RustBindingsAPI", "chromadb.api.segment.SegmentAPI")


def sample_ids(collection: Collection, size: int, *, seed: int) -> list[str]:
    """At most `size` ids in the order of insertion, the same ones for the same seed.

    Fewer where there are large gaps; none where the collection is in no folder of this process, or
    Chroma keeps it in another way.
    """
    folder = _folder(collection)
    if folder is None:
        return []
    try:
        with segment_of(collection, folder, "METADATA") as (opened, segment):
            return _drawn(opened, segment, size, np.random.default_rng(seed))
    except sqlite3.Error:
        return []


def _folder(collection: Collection) -> Path | None:
    """The folder of an embedded collection, which Chroma tells nowhere else."""
    settings: Any = getattr(getattr(collection._client, "_system", None), "settings", None)
    if getattr(settings, "chroma_api_impl", None) not in _EMBEDDED or not settings.is_persistent:
        return None
    return Path(settings.persist_directory)


def _drawn(
    opened: sqlite3.Connection, segment: str | None, size: int, rng: np.random.Generator
) -> list[str]:
    rows = "FROM embeddings WHERE +segment_id = ?"  # with a plus, it does not serve as an index
    ends = [
        opened.execute(f"SELECT id {rows} ORDER BY id {order} LIMIT 1", [segment]).fetchone()
        for order in ("ASC", "DESC")
    ]
    if None in ends:
        return []
    [first], [last] = ends
    numbers = rng.integers(first, last + 1, _DRAWN * size)
    at = f"SELECT id, embedding_id {rows} AND id >= ? ORDER BY id LIMIT 1"
    asked = (opened.execute(at, [segment, number]).fetchone() for number in numbers.tolist())
    found = dict(filter(None, asked))
    chosen = rng.permutation(sorted(found))[:size]
    return [found[number] for number in sorted(chosen.tolist())]
