"""The database in a folder of Chroma, read beside Chroma by a connection that cannot write."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from chromadb import Collection


@contextmanager
def segment_of(
    collection: Collection, folder: Path, scope: Literal["METADATA", "VECTOR"]
) -> Iterator[tuple[sqlite3.Connection, str | None]]:
    """A connection, and the id under which Chroma keeps that part of a collection, if it does.

    Raises:
        sqlite3.Error: Chroma keeps it in another way, or was writing for seconds.
    """
    database = (folder / "chroma.sqlite3").resolve()
    wanted = "SELECT id FROM segments WHERE collection = ? AND scope = ?"
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as opened:
        found = opened.execute(wanted, [str(collection.id), scope]).fetchone()
        yield opened, found and str(found[0])
