"""Replies on disk, so that nothing is paid for twice."""

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides.chat.models import Prompt

FILE = "answers.sqlite3"
MAX_REPLY_BYTES = 1_000_000
_APPLICATION = 0x49454153
_FORMAT_VERSION = 1
_TABLE = "CREATE TABLE answers (key TEXT PRIMARY KEY, reply TEXT NOT NULL) WITHOUT ROWID"
_SECONDS = 30.0
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

    def __repr__(self) -> str:
        """`AnswerCache('folder')`."""
        return f"AnswerCache({str(self._file.parent)!r})"

    def prepare(self) -> None:
        """Make sure that replies can be stored, before any is paid for."""
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")

    def get(self, keys: Sequence[str]) -> dict[str, str]:
        """The replies that are stored; those that are no text are left out."""
        found: dict[str, str] = {}
        with self._open() as connection:
            for start in range(0, len(keys), _KEYS_AT_ONCE):
                some = {key.encode(): key for key in keys[start : start + _KEYS_AT_ONCE]}
                rows = connection.execute(
                    "SELECT key, reply FROM answers WHERE length(CAST(reply AS BLOB)) <= ? "
                    f"AND key IN ({','.join('?' * len(some))})",
                    [MAX_REPLY_BYTES, *some.values()],
                )
                for key, reply in rows:
                    # A damaged file may answer with a row that nobody asked for.
                    text = _decoded(reply) if key in some else None
                    if text is not None:
                        found[some[key]] = text
        return found

    def put(self, key: str, reply: str) -> None:
        """Store a reply, replacing one of the same key."""
        with self._open() as connection:
            connection.execute(
                "INSERT INTO answers VALUES (?, ?) "
                "ON CONFLICT (key) DO UPDATE SET reply = excluded.reply",
                (key, reply),
            )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection for one use: they are cheap beside a model and must not cross threads."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with closing(
                sqlite3.connect(self._file, timeout=_SECONDS, isolation_level=None)
            ) as connection:
                connection.text_factory = bytes
                # Nothing that a file of another program defines may run.
                connection.execute("PRAGMA trusted_schema = OFF")
                connection.execute("PRAGMA synchronous = FULL")
                if _is_new(connection):
                    _create(connection)
                self._check(connection)
                yield connection
        except (sqlite3.OperationalError, OSError) as exc:
            raise GuideError(
                f"The cache {self._file} cannot be used: {exc}. It needs a folder on a local disk "
                "that can be written. Name another folder, or free this one."
            ) from exc
        except (sqlite3.DatabaseError, UnicodeDecodeError) as exc:
            # SQLite quotes a damaged schema in bytes that Python cannot decode.
            raise self._not_ours(str(exc)) from exc

    def _check(self, connection: sqlite3.Connection) -> None:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if application == _APPLICATION and version > _FORMAT_VERSION:
            raise GuideError(
                f"The cache {self._file} has format {version}; this version reads "
                f"{_FORMAT_VERSION}. Upgrade the package, or name another folder."
            )
        # No more of a file is read than distinguishes it from ours.
        tables = connection.execute(
            "SELECT substr(sql, 1, ?) FROM sqlite_master LIMIT 2", [len(_TABLE) + 1]
        ).fetchall()
        if application != _APPLICATION or tables != [(_TABLE.encode(),)]:
            raise self._not_ours("it holds other tables")

    def _not_ours(self, why: str) -> GuideError:
        return GuideError(
            f"{self._file} is damaged or is no cache of answers: {why}. Delete it, and what it "
            "held is asked again; or name another folder."
        )


def _is_new(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None


def _create(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            # Otherwise threads that write would keep out those that read.
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError:
            # SQLite does not wait here for another process that creates the same file.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    connection.execute("BEGIN IMMEDIATE")
    if _is_new(connection):  # another process may have been first
        connection.execute(_TABLE)
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {_FORMAT_VERSION}")
    connection.execute("COMMIT")


def _decoded(reply: object) -> str | None:
    try:
        return reply.decode("utf-8") if isinstance(reply, bytes) else None
    except UnicodeDecodeError:
        return None
