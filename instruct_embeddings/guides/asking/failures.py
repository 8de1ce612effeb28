"""What an exception of a model's client means for the asking.

Clients differ; they are understood by what their exceptions carry: an HTTP status, a response with
headers, or the type of a builtin.
"""

import json
import math
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timezone
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any

from instruct_embeddings._redaction import said

_PASSING = (408, 409, 425, 429)
_ABOUT_THIS_PROMPT = (400, 413, 422, 451)
_NO_MONEY = ("insufficient_quota", "billing_hard_limit_reached")
_FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    NotImplementedError,
    TypeError,
    ValueError,
)
_MOST_CAUSES = 4


class Kind(Enum):
    """What to do about a failed call."""

    RETRY = "retry"
    """It may pass: rate limits, trouble of the server, lost connections."""
    REFUSED = "refused"
    """The model does not take this prompt; others may do."""
    STOP = "stop"
    """No call can succeed: wrong key, unknown model, no money left."""
    UNCLEAR = "unclear"
    """A fault of the program, or a client that stumbled over nonsense: it may pass if the model
    answered before."""


@dataclass(frozen=True)
class Failure:
    """One failed call.

    Attributes:
        kind: What to do.
        message: What the client said, short and without credentials.
        charged: Whether the call may have been charged for: it may have reached the server, which
            did not say that it failed.
        retry_after: Seconds that the server asks to wait, or None.
    """

    kind: Kind
    message: str
    charged: bool
    retry_after: float | None


def understand(error: Exception) -> Failure:
    """Read what an exception, or what caused it, carries."""
    status = next(filter(None, map(_status, _causes(error))), None)
    waits = [_retry_after(exc) for exc in _causes(error)]
    return Failure(
        kind=_kind(error, status),
        message=said(error),
        charged=not _unsent(error) if status is None else status < 400,
        retry_after=next((seconds for seconds in waits if seconds is not None), None),
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__


def _kind(error: Exception, status: int | None) -> Kind:
    if any(_code(exc) in _NO_MONEY for exc in _causes(error)):
        return Kind.STOP
    if status is not None:
        return _kind_of_status(status)
    if isinstance(error, UnicodeError):
        return Kind.REFUSED
    # A body that is no JSON comes from a proxy or a server in trouble.
    if isinstance(error, (OSError, EOFError, json.JSONDecodeError)):
        return Kind.RETRY
    if isinstance(error, _FAULTS):
        return Kind.UNCLEAR
    return Kind.RETRY


def _kind_of_status(status: int) -> Kind:
    if status in _PASSING or status >= 500 or status < 300:
        return Kind.RETRY
    return Kind.REFUSED if status in _ABOUT_THIS_PROMPT else Kind.STOP


def _unsent(error: Exception) -> bool:
    reason = getattr(error, "reason", None)  # of urllib, which tells no cause
    unsent = (ConnectionRefusedError, socket.gaierror)
    return any(isinstance(exc, unsent) for exc in (*_causes(error), reason))


def _status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    places = (
        getattr(error, "status_code", None),
        getattr(response, "status_code", None),
        getattr(error, "code", None),
        getattr(error, "status", None),
    )
    return next((x for x in places if isinstance(x, int) and 100 <= x < 600), None)


def _code(error: BaseException) -> str | None:
    code = getattr(error, "code", None)
    return code if isinstance(code, str) else None


def _retry_after(error: BaseException) -> float | None:
    for place in (getattr(error, "response", None), error):
        headers = getattr(place, "headers", None)
        if callable(getattr(headers, "get", None)):
            milliseconds = _seconds(_header(headers, "Retry-After-Ms"))
            if milliseconds is not None:
                return milliseconds / 1000
            seconds = _seconds(_header(headers, "Retry-After"))
            if seconds is not None:
                return seconds
    return None


def _header(headers: Any, name: str) -> object:
    return headers.get(name) or headers.get(name.lower())


def _seconds(value: object) -> float | None:
    """A number of seconds, or an HTTP date as seconds from now; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except (TypeError, ValueError):
            return None
        date = date if date.tzinfo else date.replace(tzinfo=timezone.utc)
        seconds = date.timestamp() - time.time()
    return max(0.0, seconds) if math.isfinite(seconds) else None
