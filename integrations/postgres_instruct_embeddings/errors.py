"""What PostgreSQL raises, in the words of this project; everything unknown passes through."""

import re

import psycopg
from psycopg import errors

from instruct_embeddings._printable import redact, safe_message
from instruct_embeddings.adapters import unreachable, wrong_dimension
from instruct_embeddings.errors import (
    ConfigError,
    InstructEmbeddingsError,
    StaleCollectionError,
    UnreachableCollectionError,
    UnsupportedCollectionError,
)

_DIMENSIONS = re.compile(r"different (?:half)?vec(?:tor)? dimensions (\d+) and (\d+)")


def translate(error: Exception, table: str) -> InstructEmbeddingsError | None:
    """The error to raise instead of one of the client's; None where its own should pass.

    It hides credentials in the error.
    """
    if isinstance(error, UnicodeError):
        return _unreadable(table, error)
    if not isinstance(error, psycopg.Error):
        return None
    redact(error)
    why = safe_message(error)
    if dimensions := _DIMENSIONS.search(str(error)):
        return wrong_dimension(f"table {table!r}", *map(int, dimensions.groups()))
    if isinstance(error, errors.UndefinedTable | errors.UndefinedColumn):
        return StaleCollectionError(
            f"The table {table!r} is no longer what was opened: it was dropped or changed "
            f"({why}). A search needs the columns that were there. Open it again."
        )
    if isinstance(error, errors.InsufficientPrivilege):
        return UnsupportedCollectionError(
            f"The table {table!r} may not be read ({why}). Reading needs SELECT on it. "
            "GRANT SELECT on the table, and USAGE on its schema, to the user of the connection."
        )
    if isinstance(error, errors.UndefinedObject | errors.UndefinedFunction):
        return UnsupportedCollectionError(
            f"The types of pgvector are not found from the connection to {table!r} "
            f"({why}). Their schema must be on its search path. Add it, as in "
            "postgresql://…?options=-csearch_path%3Dpublic,extensions."
        )
    if isinstance(error, errors.QueryCanceled):
        return UnreachableCollectionError(
            f"The server stopped a request on the table {table!r} ({why}). It must end "
            "within the statement_timeout of the connection. Raise it, narrow the filter, or index "
            "what it asks for; nothing was changed."
        )
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return unreachable(f"table {table!r}", why)
    return _unreadable(table, error) if isinstance(error, psycopg.DataError) else None


def _unreadable(table: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"PostgreSQL does not take a value that was sent to the table {table!r} "
        f"({safe_message(error)}). Allowed are numbers, and texts without NUL characters or halves "
        "of surrogate pairs. Look at the filter and the ids."
    )
