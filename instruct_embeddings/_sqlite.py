"""One table of ours in one SQLite file, which threads and processes may share."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_SECONDS = 30.0


@dataclass(frozen=True)
class Table:
    """A file with one table, and the marks that tell it from the files of other programs.

    Attributes:
        file: Its path, on a local disk; made when first used.
        create: `CREATE TABLE ...`.
        application: `application_id` of the file.
        version: Of its format.
        holds: What it holds, for messages.
    """

    file: Path
    create: str
    application: int
    version: int
    holds: str

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """A connection for one use: they are cheap, and must not cross threads.

        Raises:
            sqlite3.Error, UnicodeDecodeError, OSError: The file cannot be used, or is not ours.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with closing(
            sqlite3.connect(self.file, timeout=_SECONDS, isolation_level=None)
        ) as connection:
            self._check(connection)
            yield connection

    def _check(self, connection: sqlite3.Connection) -> None:
        """Make a new file ours; refuse one that is not, as its triggers and views would run."""
        # What SQLite itself makes beside a table, such as the index of its key, has no statement.
        # No more of the others is read than tells them from ours.
        tables = connection.execute(
            "SELECT substr(sql, 1, ?) FROM sqlite_master WHERE sql IS NOT NULL LIMIT 2",
            [len(self.create) + 1],
        ).fetchall()
        if not tables:
            # Writers keep out no readers. Another process that makes the same file does it too.
            with suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(
                f"BEGIN IMMEDIATE; {self.create.replace('TABLE', 'TABLE IF NOT EXISTS', 1)};"
                f"PRAGMA application_id = {self.application};"
                f"PRAGMA user_version = {self.version}; COMMIT"
            )
            return
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if application == self.application and version > self.version:
            raise sqlite3.DatabaseError(
                f"it has format {version}, of a newer version of this package"
            )
        if application != self.application or tables != [(self.create,)]:
            raise sqlite3.DatabaseError(f"it is damaged or is no {self.holds}")
