"""Replies on disk, so that nothing is paid for twice."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from instruct_embeddings._sqlite import Table
from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides.chat.models import Prompt

FILE = "answers.sqlite3"
MAX_REPLY_BYTES = 1_000_000
_APPLICATION = 0x49454153
_FORMAT_VERSION = 1
_TABLE = "CREATE TABLE answers (key TEXT PRIMARY KEY, reply TEXT NOT NULL) WITHOUT ROWID"
_KEYS_AT_ONCE = 500


def answer_key(model: str, prompt: Prompt) -> str:
    """Digest of a model's name and of both parts of a prompt."""
    return sha256(json.dumps([model, prompt.system, prompt.user]).encode()).hexdigest()


class AnswerCache:
    """Replies by key in one SQLite file of a folder; safe for threads and for processes.

    A reply is on the disk when `put` returns. The folder must be on a local disk and is created
    when first used. Prompts are not stored, only their digests; replies are stored as they came and
    may quote your texts. Each method raises `GuideError` where the file is damaged, of another
    program, newer or not accessible.
    """

    def __init__(self, folder: str | Path) -> None:
        self._file = Path(folder).expanduser() / FILE
        self._table = Table(self._file, _TABLE, _APPLICATION, _FORMAT_VERSION, "cache of answers")

    def __repr__(self) -> str:
        """`AnswerCache('folder')`."""
        return f"AnswerCache({str(self._file.parent)!r})"

    def prepare(self) -> None:
        """Make sure that replies can be stored, before any is paid for."""
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")

    def get(self, keys: Sequence[str]) -> dict[str, str]:
        """The replies that are stored; those that are no text are left out."""
        found: dict[str, str] = {}
        with self._open() as connection:
            for start in range(0, len(keys), _KEYS_AT_ONCE):
                some = keys[start : start + _KEYS_AT_ONCE]
                rows = connection.execute(
                    "SELECT key, reply FROM answers WHERE typeof(reply) = 'text' "
                    "AND length(CAST(reply AS BLOB)) <= ? "
                    f"AND key IN ({','.join('?' * len(some))})",
                    [MAX_REPLY_BYTES, *some],
                )
                # A damaged file may answer with a row that nobody asked for.
                found |= {key: reply for key, reply in rows if key in some}
        return found

    def put(self, key: str, reply: str) -> None:
        """Store a reply, replacing one of the same key."""
        with self._open() as connection:
            connection.execute("REPLACE INTO answers VALUES (?, ?)", (key, reply))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._table.open() as connection:
                yield connection
        # SQLite quotes a damaged schema in bytes that Python cannot decode.
        except (sqlite3.Error, UnicodeDecodeError, OSError) as exc:
            raise GuideError(
                f"The cache {self._file} cannot be used: {exc}. It needs a folder on a local disk "
                "that can be written. Name another folder, or free this one; delete a file that is "
                "damaged, and what it held is asked again."
            ) from exc
