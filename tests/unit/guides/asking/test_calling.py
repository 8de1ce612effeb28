import logging
import threading
from collections.abc import Callable, Iterable

import pytest

from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides.asking import AskedModel, Cost, Prompt
from instruct_embeddings.guides.asking.budget import Budget
from instruct_embeddings.guides.asking.calling import Caller, Outcome, Stopped

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
        self.caller = Caller(AskedModel("m", self._ask), self.budget, retries=retries, timeout=None)
        self.stop = threading.Event()
        self.pauses: list[float] = []

    def _ask(self, prompt: Prompt) -> str:
        doing = next(self._doings)
        if isinstance(doing, Exception):
            raise doing
        return doing  # type: ignore[return-value]  # some tests give what is no text

    def __call__(self, user: str = "a") -> Outcome:
        return self.caller.call(
            Prompt("", user), output_tokens=10, stop=self.stop, sleep=self.pauses.append
        )


def test_a_reply_needs_one_call() -> None:
    calls = Calls(["reply"])
    assert calls() == Outcome("reply", 1)
    assert calls.pauses == []
    assert calls.budget.spent == Cost(1, 1, 2)


def test_pauses_double_with_each_try_and_are_never_shorter_than_half() -> None:
    calls = Calls([*[StatusError(503)] * 9, "reply"], retries=9)
    assert calls() == Outcome("reply", 10)
    for pause, most in zip(calls.pauses, [0.5, 1, 2, 4, 8, 16, 30, 30, 30], strict=True):
        assert most / 2 <= pause <= most


def test_pauses_are_the_same_in_every_run_and_differ_between_prompts() -> None:
    def pauses(user: str) -> list[float]:
        calls = Calls([StatusError(503), StatusError(503), "reply"])
        calls(user)
        return calls.pauses

    assert pauses("a") == pauses("a")
    assert pauses("a") != pauses("b")


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
def test_what_no_call_can_mend_ends_everything_at_once(error: Exception) -> None:
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
    calls = Calls([StatusError(503)])
    with pytest.raises(Stopped):
        calls.caller.call(
            PROMPT, output_tokens=10, stop=calls.stop, sleep=lambda _: calls.stop.set()
        )


def timed(ask: Callable[[Prompt], str], seconds: float) -> Outcome:
    caller = Caller(AskedModel("m", ask), Budget(None, None), retries=0, timeout=seconds)
    return caller.call(PROMPT, output_tokens=1, stop=threading.Event(), sleep=lambda _: None)


def test_a_call_that_takes_too_long_counts_as_failed() -> None:
    release = threading.Event()

    def hang(_: Prompt) -> str:
        release.wait(20)
        return "too late"

    try:
        assert timed(hang, 0.05).problem == "TimeoutError: no reply within 0.05 seconds"
    finally:
        release.set()


def test_replies_and_errors_within_the_time_come_through() -> None:
    def refuse(_: Prompt) -> str:
        raise StatusError(400)

    assert timed(lambda prompt: prompt.user, 20) == Outcome("a", 1)
    assert timed(refuse, 20).problem == "StatusError: status 400"


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


@pytest.mark.parametrize("timeout", [None, 20.0])
def test_no_secret_is_in_an_error_its_chain_or_a_log(
    timeout: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    def ask(prompt: Prompt) -> str:
        refuse()
        return ""

    caller = Caller(AskedModel("m", ask), Budget(None, None), retries=0, timeout=timeout)
    try:
        caller.call(PROMPT, output_tokens=1, stop=threading.Event(), sleep=lambda _: None)
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

    caller = Caller(AskedModel("m", ask), Budget(None, None), retries=0, timeout=None)
    found: list[object] = []
    for _ in range(5):
        try:
            found.append(
                caller.call(PROMPT, output_tokens=1, stop=threading.Event(), sleep=lambda _: None)
            )
        except GuideError as exc:
            found.append((str(exc), exc.__cause__, exc.__context__))
    assert SECRETS[0] not in str(found)
    assert "bad key [hidden]" in str(found)
