import json
import urllib.error
from email.message import Message
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import pytest

from instruct_embeddings.guides.asking.failures import Kind, said, understand


class ClientError(Exception):
    """As clients of vendors raise: attributes at will."""

    def __init__(self, message: str = "", **attributes: Any) -> None:
        super().__init__(message)
        self.__dict__.update(attributes)


def with_headers(headers: dict[str, str], status: int = 429) -> ClientError:
    return ClientError(response=SimpleNamespace(status_code=status, headers=headers))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Kind.REFUSED),
        (401, Kind.STOP),
        (402, Kind.STOP),
        (403, Kind.STOP),
        (404, Kind.STOP),
        (405, Kind.STOP),
        (408, Kind.RETRY),
        (413, Kind.REFUSED),
        (422, Kind.REFUSED),
        (429, Kind.RETRY),
        (451, Kind.REFUSED),
        (500, Kind.RETRY),
        (503, Kind.RETRY),
        (529, Kind.RETRY),
        (200, Kind.RETRY),
        (302, Kind.STOP),
    ],
)
def test_the_status_decides_wherever_the_client_keeps_it(status: int, kind: Kind) -> None:
    places: list[dict[str, Any]] = [
        {"status_code": status},
        {"response": SimpleNamespace(status_code=status)},
        {"code": status},
        {"status": status},
    ]
    for attributes in places:
        failure = understand(ClientError("no", **attributes))
        assert failure.kind is kind
        assert failure.charged == (status < 400)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionResetError(), Kind.RETRY),
        (TimeoutError("no reply"), Kind.RETRY),
        (ClientError("some client"), Kind.RETRY),
        (ClientError(code=7, status=lambda: 3), Kind.RETRY),
        (json.JSONDecodeError("Expecting value", "<html>", 0), Kind.RETRY),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"), Kind.REFUSED),
        (TypeError("'NoneType' object is not subscriptable"), Kind.UNCLEAR),
        (KeyError("choices"), Kind.UNCLEAR),
        (ValueError("No API key given"), Kind.UNCLEAR),
        (ClientError(status_code=429, code="insufficient_quota"), Kind.STOP),
    ],
)
def test_without_a_status_the_type_decides(error: Exception, kind: Kind) -> None:
    assert understand(error).kind is kind


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def test_what_a_wrapper_hides_is_found_in_its_cause() -> None:
    wrapped = caused(RuntimeError("gave up"), with_headers({"Retry-After": "3"}, 503))
    failure = understand(wrapped)
    assert (failure.kind, failure.retry_after) == (Kind.RETRY, 3.0)
    assert understand(caused(ValueError("x"), ClientError(status_code=401))).kind is Kind.STOP


def test_a_loop_of_causes_ends() -> None:
    first, second = ClientError("a"), ClientError("b")
    first.__cause__, second.__cause__ = second, first
    assert understand(first).kind is Kind.RETRY


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        urllib.error.URLError(ConnectionRefusedError()),
        caused(ClientError("Connection error."), ConnectionRefusedError()),
    ],
)
def test_a_call_that_reached_no_server_is_not_charged(error: Exception) -> None:
    assert not understand(error).charged


@pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError(), ClientError("?")])
def test_a_call_whose_end_is_unknown_counts_as_charged(error: Exception) -> None:
    assert understand(error).charged


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "20"}, 20.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"Retry-After": "-5"}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 -0000"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": ""}, None),
        ({}, None),
    ],
)
def test_the_pause_that_the_server_asks_for_is_read(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert understand(with_headers(headers)).retry_after == seconds


def test_a_date_to_come_is_a_number_of_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000_000.0)
    date = formatdate(1_000_030.0, usegmt=True)
    assert understand(with_headers({"Retry-After": date})).retry_after == 30.0


def test_the_error_of_urllib_is_read() -> None:
    headers = Message()
    headers["Retry-After"] = "4"
    with urllib.error.HTTPError("http://h", 503, "Busy", headers, None) as error:
        failure = understand(error)
    assert (failure.kind, failure.retry_after, failure.charged) == (Kind.RETRY, 4.0, False)
    assert failure.message == "HTTPError: HTTP Error 503: Busy"


def test_messages_are_one_short_line_without_credentials() -> None:
    text = said(ClientError("bad key\n sk-0123456789 \t" + "x" * 400))
    assert text.startswith("ClientError: bad key [hidden] xxx")
    assert text.endswith("x ...")
    assert len(text) < 330
    assert said(TimeoutError()) == "TimeoutError"
