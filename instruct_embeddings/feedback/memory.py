"""What judges said, kept on disk, so that an instruction can be learned from it."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from instruct_embeddings._sqlite import Table
from instruct_embeddings._types import FloatArray
from instruct_embeddings.config import at_least, normal_form
from instruct_embeddings.errors import GuideError
from instruct_embeddings.protocols import CollectionInfo

FILE = "judgements.sqlite3"
_APPLICATION = 0x49454A4D
_FORMAT_VERSION = 1
_TABLE = (
    "CREATE TABLE questions (collection TEXT NOT NULL, instruction TEXT NOT NULL, "
    "judge TEXT NOT NULL, query TEXT NOT NULL, asked REAL NOT NULL, vector BLOB NOT NULL, "
    "ids TEXT NOT NULL, relevance BLOB NOT NULL, "
    "PRIMARY KEY (collection, instruction, judge, query))"
)
_SCOPE = "collection = ? AND instruction = ? AND judge = ?"
# Rows are deleted some at a time, so that not each question pays for it.
_SLACK = 100


@dataclass(frozen=True)
class Scope:
    """What judgements belong together: one collection, one instruction, one judge."""

    collection: str
    instruction: str
    judge: str

    @classmethod
    def of(cls, collection: CollectionInfo, instruction: str, judge: str) -> "Scope":
        """By the identity of the collection and the normal form of the instruction."""
        return cls(collection.fingerprint, normal_form(instruction), judge)


@dataclass(frozen=True, eq=False)
class JudgedQuestion:
    """One question with what a judge said of its candidates.

    Attributes:
        query: Its text.
        vector: Its generic unit vector, shape (d,).
        ids: Candidates in the order of the first ranking.
        relevance: What the judge said of them, in [0, 1], shape (n,).
    """

    query: str
    vector: FloatArray
    ids: tuple[str, ...]
    relevance: FloatArray


class JudgementMemory:
    """Judged questions in one SQLite file of a folder; safe for threads and for processes.

    It holds texts of queries, their vectors, and ids of rows; no texts of the collection. The
    folder must be on a local disk and is created when first used. Of more than `limit` questions
    the oldest are forgotten. Each method raises `GuideError` where the file is damaged, of another
    program, newer or not accessible.

    Usage:
        ```python
        memory = JudgementMemory("judgements")
        feedback = RelevanceFeedback(judge, memory=memory)
        memory.forget(instruction="Find the fix.")
        ```
    """

    def __init__(self, folder: str | Path, *, limit: int = 10_000) -> None:
        """Nothing is opened yet.

        Raises:
            ConfigError: The limit is no positive integer.
        """
        self.limit = at_least("limit", limit, 1, optional=False)
        self._file = Path(folder).expanduser().absolute() / FILE
        self._table = Table(
            self._file, _TABLE, _APPLICATION, _FORMAT_VERSION, "memory of judgements"
        )

    def __repr__(self) -> str:
        """`JudgementMemory('folder')`."""
        return f"JudgementMemory({str(self._file.parent)!r})"

    def __len__(self) -> int:
        """Questions of all scopes."""
        with self._open() as connection:
            return int(connection.execute("SELECT count(*) FROM questions").fetchone()[0])

    def add(self, scope: Scope, question: JudgedQuestion) -> int:
        """Keep a question, in place of an older one of the same text; how many the scope has."""
        row = (
            *(scope.collection, scope.instruction, scope.judge, question.query, time.time()),
            np.asarray(question.vector, dtype="<f4").tobytes(),
            json.dumps(question.ids),
            np.asarray(question.relevance, dtype="<f4").tobytes(),
        )
        with self._open() as connection:
            connection.execute("REPLACE INTO questions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            total = int(connection.execute("SELECT count(*) FROM questions").fetchone()[0])
            if total >= self.limit + min(_SLACK, self.limit):
                connection.execute(
                    "DELETE FROM questions WHERE rowid IN "
                    "(SELECT rowid FROM questions ORDER BY asked LIMIT ?)",
                    [total - self.limit],
                )
            return self._count(connection, scope)

    def count(self, scope: Scope) -> int:
        """Questions of a scope."""
        with self._open() as connection:
            return self._count(connection, scope)

    def read(self, scope: Scope) -> list[JudgedQuestion]:
        """The questions of a scope, the oldest first; damaged ones are left out."""
        with self._open() as connection:
            rows = connection.execute(
                "SELECT query, vector, ids, relevance FROM questions "
                f"WHERE {_SCOPE} ORDER BY asked",
                [scope.collection, scope.instruction, scope.judge],
            ).fetchall()
        found = [_question(*row) for row in rows]
        return [question for question in found if question is not None]

    def forget(self, *, instruction: str | None = None) -> int:
        """Delete the questions of an instruction, or all; how many there were."""
        with self._open() as connection:
            if instruction is None:
                return connection.execute("DELETE FROM questions").rowcount
            return connection.execute(
                "DELETE FROM questions WHERE instruction = ?", [normal_form(instruction)]
            ).rowcount

    @staticmethod
    def _count(connection: sqlite3.Connection, scope: Scope) -> int:
        found = connection.execute(
            f"SELECT count(*) FROM questions WHERE {_SCOPE}",
            [scope.collection, scope.instruction, scope.judge],
        )
        return int(found.fetchone()[0])

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._table.open() as connection:
                # A question more or less after a crash of the machine does not matter.
                connection.execute("PRAGMA synchronous = NORMAL")
                yield connection
        except (sqlite3.Error, UnicodeDecodeError, OSError) as exc:
            raise GuideError(
                f"The memory {self._file} cannot be used: {exc}. It needs a folder on a local disk "
                "that can be written. Name another folder, or delete a file that is damaged."
            ) from exc


def _question(
    query: object, vector: object, ids: object, relevance: object
) -> JudgedQuestion | None:
    """A row of the table, or None where it is damaged."""
    try:
        names = json.loads(str(ids))
        row, scores = (
            np.frombuffer(each, dtype="<f4")  # type: ignore[call-overload]
            for each in (vector, relevance)
        )
    except (ValueError, TypeError):
        return None
    whole = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not whole or len(names) != len(scores) or not isinstance(query, str):
        return None
    if not (np.isfinite(row).all() and np.isfinite(scores).all()):
        return None
    return JudgedQuestion(query, row.astype(np.float32), tuple(names), scores.astype(np.float32))
