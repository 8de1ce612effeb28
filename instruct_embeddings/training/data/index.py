"""An index over files of examples, on disk: memory does not grow with the files."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from instruct_embeddings.errors import DataError

_MOST_VARIABLES = 500  # of one statement, in old builds of SQLite 999

_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA temp_store = FILE;
PRAGMA cache_size = -16000;
CREATE TABLE staged (source INT, own INT, key INT, answer INT, text INT, place INT, length INT);
CREATE TABLE withheld (source INT, text INT, PRIMARY KEY (source, text)) WITHOUT ROWID;
CREATE TABLE rows (id INTEGER PRIMARY KEY, grp INT, answer INT, text INT, place INT, length INT);
CREATE TABLE answers (id INTEGER PRIMARY KEY, grp INT, first INT, count INT);
CREATE TABLE groups (id INTEGER PRIMARY KEY, source INT, own INT, key INT);
"""

# One part for each aspect or instruction; instructions of too few rows, or of one answer, where
# nothing could be told apart, are put together.
_PARTS = """
CREATE INDEX staged_order ON staged (source, own, key, answer, text);
CREATE TABLE parts AS
    SELECT source, own, key, COUNT(*) AS rows, 0 AS held, NULL AS grp,
        own AND (COUNT(*) < :least OR COUNT(DISTINCT answer) < 2) AS mixed
    FROM staged GROUP BY source, own, key;
CREATE UNIQUE INDEX parts_order ON parts (source, own, key);
"""

_GROUPS = """
INSERT INTO groups (source, own, key)
    SELECT DISTINCT source, own, CASE WHEN mixed THEN NULL ELSE key END
    FROM parts WHERE NOT held ORDER BY 1, 2, 3;
CREATE INDEX groups_order ON groups (source, own, key);
UPDATE parts SET grp = (
    SELECT id FROM groups WHERE groups.source = parts.source AND groups.own = parts.own
        AND groups.key IS CASE WHEN mixed THEN NULL ELSE parts.key END
) WHERE NOT held;
INSERT INTO rows (grp, answer, text, place, length)
    SELECT grp, answer, text, place, length FROM parts JOIN staged USING (source, own, key)
    WHERE NOT held AND (own OR NOT EXISTS (
        SELECT 1 FROM withheld WHERE withheld.source = staged.source AND withheld.text = staged.text
    ))
    ORDER BY grp, answer, text, place;
INSERT INTO answers (grp, first, count)
    SELECT grp, MIN(id), COUNT(*) FROM rows GROUP BY grp, answer ORDER BY grp, answer;
DROP TABLE staged;
DROP TABLE parts;
"""

# Balanced over answers: the first text of each, then the second of each, ... Of an aspect only so
# many answers that each has several texts.
_PICK_ASPECT = """
SELECT place, length, text FROM (
    SELECT place, length, text, answer, DENSE_RANK() OVER (ORDER BY answer) AS label,
        ROW_NUMBER() OVER (PARTITION BY answer ORDER BY text, place) AS turn
    FROM staged WHERE source = :source AND own = 0 AND key = :key
) WHERE label <= :labels ORDER BY turn, answer LIMIT :most
"""

_PICK_OWN = """
SELECT place, length, kind FROM (
    SELECT place, length, kind, ROW_NUMBER() OVER (PARTITION BY kind ORDER BY turn, text) AS nth
    FROM (
        SELECT place, length, text, CASE WHEN mixed THEN NULL ELSE key END AS kind, ROW_NUMBER()
            OVER (PARTITION BY CASE WHEN mixed THEN NULL ELSE key END, answer ORDER BY text, place)
            AS turn
        FROM parts JOIN staged USING (source, own, key) WHERE source = :source AND own AND held
    )
) WHERE nth <= :each ORDER BY kind, nth LIMIT :most
"""


class Entry(NamedTuple):
    """An example as it is staged; numbers but for the place are hashes.

    Attributes:
        source: Number of its file.
        own: Whether the row brings an instruction of its own.
        key: That instruction, or the number of the aspect.
        answer: The answer.
        text: The text.
        place: Byte offset of the row in its file.
        length: Bytes of the row.
    """

    source: int
    own: bool
    key: int
    answer: int
    text: int
    place: int
    length: int


class Place(NamedTuple):
    """Where a row stands in its file, and the hash of its text."""

    text: int
    place: int
    length: int


class IndexGroup(NamedTuple):
    """A group as the index knows it; its answers have the numbers from `first` on.

    Attributes:
        source: Number of its file.
        own: Whether its rows bring their instructions.
        key: The instruction or the aspect; None where several instructions are mixed.
        first: Number of its first answer.
        answers: How many different answers it has.
        rows: How many rows.
    """

    source: int
    own: bool
    key: int | None
    first: int
    answers: int
    rows: int


class ExampleIndex:
    """Rows by group and answer in a temporary SQLite file, which `close` removes.

    Filled in one pass (`stage`), then divided: `part` finds the instructions, `hold_out_*` and
    `pick_*` take out what is measured on, `finish` orders the rest. Equal rows give an equal index,
    whatever the order of the lines.
    """

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="instruct-embeddings-")
        self._db = sqlite3.connect(
            Path(self._folder.name) / "index.sqlite3",
            isolation_level=None,
            check_same_thread=False,
        )
        self._open = True
        self._db.executescript(_SCHEMA)

    def stage(self, entries: Iterable[Entry]) -> None:
        """Take in examples, one after the other."""
        with self._writing():
            self._db.execute("BEGIN")
            self._db.executemany("INSERT INTO staged VALUES (?, ?, ?, ?, ?, ?, ?)", entries)
            self._db.execute("COMMIT")

    def part(self, *, least: int) -> None:
        """Divide what was staged by aspect and instruction; fewer than `least` rows are mixed."""
        with self._writing():
            # A script takes no parameters.
            self._db.executescript(_PARTS.replace(":least", str(int(least))))

    def aspects(self, source: int) -> list[int]:
        """The aspects that a source has, by their numbers."""
        found = self._db.execute(
            "SELECT key FROM parts WHERE source = ? AND NOT own ORDER BY key", (source,)
        )
        return [int(key) for (key,) in found]

    def instructions(self, source: int) -> int:
        """How many different instructions the rows of a source bring."""
        query = "SELECT COUNT(*) FROM parts WHERE source = ? AND own"
        return int(self._db.execute(query, (source,)).fetchone()[0])

    def hold_out_source(self, source: int) -> None:
        """Never train on a source."""
        self._db.execute("UPDATE parts SET held = 1 WHERE source = ?", (source,))

    def hold_out_instructions(self, source: int, count: int) -> None:
        """Never train under the `count` instructions of the smallest hashes."""
        self._db.execute(
            "UPDATE parts SET held = 1 WHERE source = :source AND own AND key IN (SELECT key FROM "
            "parts WHERE source = :source AND own ORDER BY key LIMIT :count)",
            {"source": source, "count": count},
        )

    def count(self, source: int, aspect: int) -> int:
        """How many rows have a label for the aspect."""
        query = "SELECT SUM(rows) FROM parts WHERE source = ? AND own = 0 AND key = ?"
        return int(self._db.execute(query, (source, aspect)).fetchone()[0] or 0)

    def pick_aspect(self, source: int, aspect: int, most: int) -> list[Place]:
        """At most `most` rows of an aspect, balanced over its labels; never trained on.

        Their texts are withheld from every aspect of the source.
        """
        values = {"source": source, "key": aspect, "most": most, "labels": max(2, most // 4)}
        found = self._db.execute(_PICK_ASPECT, values).fetchall()
        self._db.executemany(
            "INSERT OR IGNORE INTO withheld VALUES (?, ?)", [(source, row[2]) for row in found]
        )
        return [Place(text, place, length) for place, length, text in found]

    def pick_own(self, source: int, most: int, *, group_rows: int) -> list[tuple[Place, bool]]:
        """At most `most` rows of the held-out instructions of a source, balanced over answers.

        Returns:
            Places, and whether the row belongs to the mixed group. As many instructions as have
            room with `group_rows` rows each; with more rows each where there is room for all.
        """
        query = (
            "SELECT COUNT(DISTINCT CASE WHEN mixed THEN NULL ELSE key END) + MAX(mixed) "
            "FROM parts WHERE source = ? AND own AND held"
        )
        groups = self._db.execute(query, (source,)).fetchone()[0] or 1
        values = {"source": source, "most": most, "each": max(group_rows, most // groups)}
        found = self._db.execute(_PICK_OWN, values).fetchall()
        return [(Place(0, place, length), kind is None) for place, length, kind in found]

    def finish(self) -> list[IndexGroup]:
        """Order what is left for drawing; nothing can be staged any more."""
        with self._writing():
            self._db.executescript(_GROUPS)
        found = self._db.execute(
            "SELECT source, own, key, MIN(answers.id), COUNT(*), SUM(count) "
            "FROM answers JOIN groups ON groups.id = grp GROUP BY grp ORDER BY grp"
        )
        return [IndexGroup(row[0], bool(row[1]), *row[2:]) for row in found]

    def answers(self, numbers: Sequence[int]) -> list[tuple[int, int]]:
        """The number of the first row of each answer, and how many rows it has."""
        found = {
            row[0]: (row[1], row[2]) for row in self._by_id("id, first, count", "answers", numbers)
        }
        return [found[number] for number in numbers]

    def rows(self, numbers: Sequence[int]) -> list[Place]:
        """Where rows stand."""
        found = {
            row[0]: Place(*row[1:])
            for row in self._by_id("id, text, place, length", "rows", numbers)
        }
        return [found[number] for number in numbers]

    def close(self) -> None:
        """Remove the index."""
        self._open = False
        self._db.close()
        self._folder.cleanup()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as exc:
            raise DataError(
                f"The index of the training data cannot be written in {self._folder.name}: {exc}. "
                "It needs some hundred bytes for each row. Free some space, or name another "
                "folder in the environment variable TMPDIR."
            ) from exc

    def _by_id(self, columns: str, table: str, numbers: Sequence[int]) -> Iterator[tuple[int, ...]]:
        if not self._open:
            raise DataError(
                "The training data was closed, and a batch was asked for. Draw batches inside "
                "`with open_data(...) as data:`."
            )
        rest = iter(numbers)
        while some := list(islice(rest, _MOST_VARIABLES)):
            marks = ",".join("?" * len(some))
            yield from self._db.execute(
                f"SELECT {columns} FROM {table} WHERE id IN ({marks})", some
            )
