"""Connections to a server, kept while nobody uses them."""

from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar
from weakref import finalize

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from instruct_embeddings._printable import safe_message
from instruct_embeddings._threads import make_anew_after_fork
from instruct_embeddings.errors import ConfigError

Connection: TypeAlias = psycopg.Connection[Any]
_Answer = TypeVar("_Answer")
_DEFAULTS = {"connect_timeout": "10", "application_name": "instruct-embeddings"}


class Connections:
    """As many connections to one database as are in use at once; safe to share by threads."""

    def __init__(self, source: str | Callable[[], Connection]) -> None:
        """`source` is an address or makes a connection; nothing is connected yet."""
        if isinstance(source, str):
            try:
                options = conninfo_to_dict(source)
            except psycopg.ProgrammingError as error:
                # Of an address with a password libpq may quote that.
                why = "" if "@" in source else f" ({safe_message(error)})"
                raise ConfigError(
                    f"The address is none of PostgreSQL{why}. Allowed are "
                    "postgresql://user@host:5432/database and libpq's key=value pairs. Correct it."
                ) from None  # the cause holds the address, and so may hold a password
            missing = {name: value for name, value in _DEFAULTS.items() if name not in options}
            address = make_conninfo(source, **missing)
            self._connect: Callable[[], Connection] = lambda: psycopg.connect(address)
        elif callable(source):
            self._connect = source
        else:
            raise ConfigError(
                f"source={type(source).__name__} is no database. Allowed is an address such as "
                "postgresql://user@host/database, or a function that makes a psycopg.Connection. "
                "Pass one of these."
            )
        self._free: deque[Connection] = deque()
        self._end = finalize(self, _close, self._free)
        make_anew_after_fork(self)

    def make_anew(self) -> None:
        """Leave the connections to the parent of a forked process: one of both reads answers."""
        self._end.detach()
        self._of_parent, self._free = self._free, deque()
        self._end = finalize(self, _close, self._free)

    def ask(self, read: Callable[[Connection], _Answer]) -> _Answer:
        """What `read` makes of a connection; again with a new one where a kept one had broken."""
        while True:
            kept = _taken(self._free)
            connection = kept or self._new()
            try:
                answer = read(connection)
            except BaseException as error:
                broken = connection.broken
                connection.close()
                if broken and kept is not None and isinstance(error, Exception):
                    self.close()  # a server that was restarted has forgotten all of them
                    continue
                raise
            self._free.append(connection)
            return answer

    def close(self) -> None:
        """End the connections that nobody uses."""
        _close(self._free)

    def _new(self) -> Connection:
        connection = self._connect()
        connection.autocommit = True
        return connection


def _taken(kept: deque[Connection]) -> Connection | None:
    try:
        return kept.pop()
    except IndexError:  # another thread may have taken the last
        return None


def _close(kept: deque[Connection]) -> None:
    while (connection := _taken(kept)) is not None:
        connection.close()
