import json
import logging
import threading
import urllib.error
from collections.abc import Iterable
from email.message import Message
from types import SimpleNamespace
from typing import Any

import pytest

from instruct_embeddings._printable import safe_message
from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides.chat import ChatModel, Cost, Prompt
from instruct_embeddings.guides.chat.costs import Budget
from instruct_embeddings.guides.chat.retrying import Caller, Kind, Outcome, Stopped, understand

PROMPT = Prompt("", "a")


class StatusError(Exception):
    def __init__(self, status_code: int, **headers: str) -> None:
        super().__init__(f"status {status_code}")
        self.status_code = status_code
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Calls:
    """A caller of a model that does one thing after the other, and how long it pauses."""

    def __init__(self, doings: Iterable[object], *, retries: int = 4, max_calls: int = 99) -> None:
        self._doings = iter(doings)
        self.budget = Budget(max_calls, None)
        self.pauses: list[float] = []
        model = ChatModel("m", self._ask)
        self.caller = Caller(model, self.budget, retries=retries, sleep=self.pauses.append)
        self.stop = threading.Event()

    def _ask(self, prompt: Prompt) -> str:
        doing = next(self._doings)
        if isinstance(doing, Exception):
            raise doing
        return doing  # type: ignore[return-value]  # some tests give what is no text

    def __call__(self, user: str = "a") -> Outcome:
        return self.caller.call(Prompt("", user), output_tokens=10, stop=self.stop)


def test_a_reply_needs_one_call() -> None:
    calls = Calls(["reply"])
    assert calls() == Outcome("reply", 1)
    assert calls.pauses == []
    assert calls.budget.spent == Cost(1, 1, 1)


def test_pauses_double_with_each_try_and_are_never_shorter_than_half() -> None:
    calls = Calls([*[StatusError(503)] * 9, "reply"], retries=9)
    assert calls() == Outcome("reply", 10)
    for pause, most in zip(calls.pauses, [0.5, 1, 2, 4, 8, 16, 30, 30, 30], strict=True):
        assert most / 2 <= pause <= most


def test_any_prompt_can_be_tried_again() -> None:
    assert Calls([StatusError(503), "reply"])("half \ud800 of a pair") == Outcome("reply", 2)


def test_the_pause_that_the_server_asks_for_is_made() -> None:
    calls = Calls([StatusError(429, Retry_After="20"), StatusError(429, Retry_After="0"), "reply"])
    assert calls().reply == "reply"
    assert calls.pauses[0] == 20.0
    assert 0.5 <= calls.pauses[1] <= 1.0


def test_too_long_a_pause_ends_everything() -> None:
    calls = Calls([StatusError(429, Retry_After="3600")])
    with pytest.raises(GuideError, match=r"asks to wait 3,600 seconds; at most 120 .*status 429"):
        calls()
    assert calls.pauses == []


def test_what_fails_to_the_end_is_told_with_its_tries() -> None:
    calls = Calls([StatusError(500), StatusError(500), StatusError(502)], retries=2)
    assert calls() == Outcome(None, 3, "3 tries, at last StatusError: status 502")
    assert len(calls.pauses) == 2
    assert calls.budget.spent == Cost()


def test_a_refused_prompt_is_not_tried_again() -> None:
    calls = Calls([StatusError(400), "reply"])
    assert calls() == Outcome(None, 1, "StatusError: status 400")
    assert calls() == Outcome("reply", 1)


@pytest.mark.parametrize("error", [StatusError(401), ValueError("No API key"), TypeError("x()")])
def test_an_error_that_no_call_can_fix_ends_everything_at_once(error: Exception) -> None:
    told = rf"The model m cannot be asked: .*{error.args[0][:4]}"
    with pytest.raises(GuideError, match=told) as caught:
        Calls([error])()
    # It may show what it was made of.
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_an_unclear_fault_may_pass_once_the_model_has_answered() -> None:
    calls = Calls(["first", TypeError("null choices"), "second"])
    assert [calls().reply, calls().reply] == ["first", "second"]


@pytest.mark.parametrize("reply", [None, 3, b"bytes", ["list"]])
def test_what_is_no_text_is_refused(reply: object) -> None:
    with pytest.raises(GuideError, match=f"returned {type(reply).__name__}, not text"):
        Calls([reply])()


def test_half_of_a_surrogate_pair_becomes_a_question_mark() -> None:
    assert Calls(["a\ud800b"])().reply == "a?b"


def test_five_prompts_in_vain_end_everything() -> None:
    calls = Calls(["reply", *[StatusError(500)] * 4, "reply", *[StatusError(500)] * 6], retries=0)
    replies = [calls(str(i)).reply for i in range(10)]
    assert replies == ["reply", *[None] * 4, "reply", *[None] * 4]
    with pytest.raises(GuideError, match=r"no answer to 5 prompts in a row, at last: .* 500"):
        calls()
    assert calls().reply is None  # a later run counts anew


def test_a_model_that_answers_may_refuse_any_number_of_prompts() -> None:
    calls = Calls(["reply", *[StatusError(400)] * 20])
    assert [calls().reply for _ in range(21)] == ["reply", *[None] * 20]


def test_a_model_that_refuses_the_first_prompts_is_not_asked_on() -> None:
    calls = Calls([StatusError(400)] * 5)
    for _ in range(4):
        calls()
    with pytest.raises(GuideError, match=r"5 prompts in a row, at last: .* 400"):
        calls()


def test_the_cap_holds_between_tries() -> None:
    calls = Calls([TimeoutError(), TimeoutError(), "reply"], max_calls=2)
    with pytest.raises(GuideError, match=r"next call would exceed max_calls=2; spent are 2 calls"):
        calls()


def test_calls_that_the_server_declined_do_not_count_against_the_cap() -> None:
    calls = Calls([StatusError(429), StatusError(503), "reply"], max_calls=1)
    assert calls() == Outcome("reply", 3)
    assert calls.budget.spent.calls == 1


def test_nothing_is_called_once_it_is_stopped() -> None:
    calls = Calls([])
    calls.stop.set()
    with pytest.raises(Stopped):
        calls()


def test_a_pause_ends_when_it_is_stopped() -> None:
    stop = threading.Event()
    doings = iter([StatusError(503, Retry_After="100")])

    def ask(prompt: Prompt) -> str:
        threading.Timer(0.05, stop.set).start()
        raise next(doings)

    caller = Caller(ChatModel("m", ask), Budget(None, None), retries=4)
    with pytest.raises(Stopped):
        caller.call(PROMPT, output_tokens=10, stop=stop)


SECRETS = ["sk-abcdef0123456789", "dXNlcjpodW50ZXIy", "x-api-key: 0a1b2c3d4e5f", "tok.en-5678abcd"]


class Unauthorized(Exception):
    """As clients of vendors raise: with the request, and with a cause of its own."""

    status_code = 401

    def __init__(self, body: str) -> None:
        super().__init__(f"Error code: 401 - {body}")
        self.body = body


def refuse() -> None:
    body = {"error": f"Incorrect API key provided: {SECRETS[0]}", "Authorization": SECRETS[1]}
    try:
        raise ConnectionError(f"Authorization: Basic {SECRETS[1]}", {"h": f"Bearer {SECRETS[3]}"})
    except ConnectionError as exc:
        raise Unauthorized(f"{body} {SECRETS[2]}, Bearer {SECRETS[3]}") from exc


def test_no_secret_is_in_an_error_its_chain_or_a_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def ask(prompt: Prompt) -> str:
        refuse()
        return ""

    caller = Caller(ChatModel("m", ask), Budget(None, None), retries=0)
    try:
        caller.call(PROMPT, output_tokens=1, stop=threading.Event())
    except GuideError as exc:
        logging.getLogger("app").exception("A search failed")
        chain = [exc, exc.__cause__, exc.__context__]
    assert chain[1:] == [None, None]
    assert "Unauthorized: Error code: 401" in str(chain[0])
    for secret in SECRETS:
        assert secret.rpartition(" ")[2] not in f"{caplog.text} {chain[0]!r}"


@pytest.mark.parametrize("own", [GuideError, ValueError, RuntimeError])
def test_secrets_that_a_model_of_yours_tells_are_hidden_too(own: type[Exception]) -> None:
    def ask(prompt: Prompt) -> str:
        raise own(f"bad key {SECRETS[0]}")

    caller = Caller(ChatModel("m", ask), Budget(None, None), retries=0)
    found: list[object] = []
    for _ in range(5):
        try:
            found.append(caller.call(PROMPT, output_tokens=1, stop=threading.Event()))
        except GuideError as exc:
            found.append((str(exc), exc.__cause__, exc.__context__))
    assert SECRETS[0] not in str(found)
    assert "bad key [hidden]" in str(found)


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
        ({"Retry-After": "-5"}, -5.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, 0.0),
        ({"Retry-After": "nan"}, 0.0),
        ({"Retry-After": "inf"}, 0.0),
        ({"Retry-After": ""}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_pause_that_the_server_asks_for_is_read(
    headers: dict[str, str], seconds: float
) -> None:
    assert understand(with_headers(headers)).retry_after == seconds


def test_the_error_of_urllib_is_read() -> None:
    headers = Message()
    headers["Retry-After"] = "4"
    with urllib.error.HTTPError("http://h", 503, "Busy", headers, None) as error:
        failure = understand(error)
    assert (failure.kind, failure.retry_after, failure.charged) == (Kind.RETRY, 4.0, False)
    assert failure.message == "HTTPError: HTTP Error 503: Busy"


def test_messages_are_one_short_line_without_credentials() -> None:
    text = safe_message(ClientError("bad key\n sk-0123456789 \t" + "x" * 400))
    assert text.startswith("ClientError: bad key [hidden] xxx")
    assert text.endswith("x ...")
    assert len(text) < 330
    assert safe_message(TimeoutError()) == "TimeoutError"
