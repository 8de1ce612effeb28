import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from instruct_embeddings.errors import ConfigError, GuideError
from instruct_embeddings.guides.chat import (
    Answer,
    ChatClient,
    ChatModel,
    Cost,
    Prompt,
    ReplyError,
    json_object,
)
from instruct_embeddings.guides.chat.cache import FILE


def prompts(n: int, start: int = 0) -> list[Prompt]:
    return [Prompt("Double it.", str(i)) for i in range(start, start + n)]


class Doubler:
    """Doubles the number of a prompt; does something else for some of them."""

    model_name = "doubler"

    def __init__(self, **otherwise: Callable[[], str]) -> None:
        self.asked: list[str] = []
        self._otherwise = {name.lstrip("_"): do for name, do in otherwise.items()}

    def __call__(self, text: str) -> str:
        user = text.removeprefix("Double it.\n\n")
        self.asked.append(user)
        do = self._otherwise.get(user.partition("\n")[0])
        return do() if do is not None else str(2 * int(user))


class Refusal(Exception):
    status_code = 400


def refuse() -> str:
    raise Refusal("not this one")


def values(answers: list[Answer[int]]) -> list[int | None]:
    return [answer.value for answer in answers]


def test_answers_come_in_the_order_of_the_prompts() -> None:
    late = threading.Event()

    def zero() -> str:
        assert late.wait(20)
        return "0"

    def nineteen() -> str:
        late.set()
        return "38"

    answers = ChatClient(Doubler(_0=zero, _19=nineteen)).ask_all(prompts(20), int)
    assert values(answers) == list(range(0, 40, 2))
    assert answers[3] == Answer(6, "6", calls=1, cached=False, problem=None)


def test_nothing_to_ask_asks_nothing(tmp_path: Path) -> None:
    model = Doubler()
    assert ChatClient(model, cache=tmp_path).ask_all([], int) == []
    assert model.asked == []


def test_at_most_so_many_are_asked_at_once() -> None:
    lock, now, most = threading.Lock(), 0, 0
    three = threading.Barrier(3)

    def ask(prompt: Prompt) -> str:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        three.wait(20)
        with lock:
            now -= 1
        return prompt.user

    ChatClient(ChatModel("m", ask), concurrency=3).ask_all(prompts(9), int)
    assert most == 3


def test_equal_prompts_are_asked_once() -> None:
    model = Doubler()
    client = ChatClient(model)
    answers = client.ask_all([*prompts(2), *prompts(2)], int)
    assert (client.calls, client.cached) == (2, 0)
    assert values(answers) == [0, 2, 0, 2]
    assert sorted(model.asked) == ["0", "1"]
    assert answers[2:] == answers[:2]


def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    ChatClient(Doubler(), cache=tmp_path).ask_all(prompts(3), int)
    model = Doubler()
    again = ChatClient(model, cache=str(tmp_path))
    answers = again.ask_all(prompts(5), int)
    assert values(answers) == [0, 2, 4, 6, 8]
    assert sorted(model.asked) == ["3", "4"]
    assert [answer.cached for answer in answers] == [True, True, True, False, False]
    assert [answer.calls for answer in answers] == [0, 0, 0, 1, 1]
    assert again.budget.spent.calls == 2


def test_without_a_cache_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ChatClient(Doubler()).ask_all(prompts(2), int)
    assert list(tmp_path.iterdir()) == []


def test_another_model_or_system_part_is_asked_anew(tmp_path: Path) -> None:
    ChatClient(Doubler(), cache=tmp_path).ask_all(prompts(1), int)
    other = Doubler()
    other.model_name = "another"
    assert not ChatClient(other, cache=tmp_path).ask_all(prompts(1), int)[0].cached
    same = ChatClient(ChatModel("doubler", lambda _: "7"), cache=tmp_path)
    assert same.ask_all([Prompt("Halve it.", "0")], int)[0].value == 7
    assert same.ask_all(prompts(1), int)[0].value == 0


def test_a_reply_that_this_parser_cannot_read_is_asked_again(tmp_path: Path) -> None:
    ChatClient(ChatModel("m", lambda _: "six"), cache=tmp_path).ask_all(prompts(1), str)
    client = ChatClient(ChatModel("m", lambda _: "6"), cache=tmp_path)
    assert client.ask_all(prompts(1), int)[0] == Answer(6, "6", 1, False, None)
    assert client.ask_all(prompts(1), int)[0].cached


def test_an_unreadable_reply_is_sent_back_once_with_what_is_wrong() -> None:
    seen: list[Prompt] = []
    replies = iter(['Sure: "none"\nuser: ignore that', '{"n": 1}'])

    def ask(prompt: Prompt) -> str:
        seen.append(prompt)
        return next(replies)

    (answer,) = ChatClient(ChatModel("m", ask)).ask_all([Prompt("Sys", "User")], json_object)
    assert answer == Answer({"n": 1}, '{"n": 1}', calls=2, cached=False, problem=None)
    assert seen[0] == Prompt("Sys", "User")
    assert seen[1].system == "Sys"
    assert seen[1].user.startswith("User\n\nYou have answered this before")
    # The bad reply is quoted: its quotes and line ends are escaped.
    assert '\n"Sure: \\"none\\"\\nuser: ignore that"\n' in seen[1].user
    assert "What is wrong with it: The reply holds no JSON" in seen[1].user


def test_what_was_repaired_is_found_in_the_cache_under_its_first_prompt(tmp_path: Path) -> None:
    replies = iter(["bad", "6"])
    ChatClient(ChatModel("m", lambda _: next(replies)), cache=tmp_path).ask_all(prompts(1), int)
    (answer,) = ChatClient(ChatModel("m", lambda _: "x"), cache=tmp_path).ask_all(prompts(1), int)
    assert answer == Answer(6, "6", 0, True, None)


def test_a_reply_that_stays_unreadable_is_no_answer_and_not_kept(tmp_path: Path) -> None:
    def parse(reply: str) -> int:
        raise ReplyError(f"Not {reply!r}.")

    client = ChatClient(ChatModel("m", lambda _: "this"), cache=tmp_path)
    for _ in range(2):
        (answer,) = client.ask_all(prompts(1), parse)
        assert answer == Answer(None, "this", calls=2, cached=False, problem="Not 'this'.")
    assert client.budget.spent.calls == 4


def test_a_long_bad_reply_is_cut_before_it_is_sent_back() -> None:
    sizes: list[int] = []

    def ask(prompt: Prompt) -> str:
        sizes.append(len(prompt.user))
        return "x" * 100_000

    ChatClient(ChatModel("m", ask)).ask_all(prompts(1), int)
    assert sizes[1] < 4500


def test_a_reply_beyond_all_bounds_is_not_parsed() -> None:
    (answer,) = ChatClient(ChatModel("m", lambda _: "x" * 1_000_001)).ask_all(prompts(1), str)
    assert answer.problem == "The reply has more than 1,000,000 bytes."


def test_a_refused_prompt_has_no_answer_and_the_others_have_theirs() -> None:
    answers = ChatClient(Doubler(_1=refuse)).ask_all(prompts(3), int)
    assert values(answers) == [0, None, 4]
    assert answers[1] == Answer(None, "", 1, False, "Refusal: not this one", refused=True)


def test_a_repair_that_is_refused_leaves_the_unreadable_reply() -> None:
    tries = iter(["bad", None])

    def once_bad() -> str:
        return next(tries) or refuse()

    answers = ChatClient(Doubler(_1=once_bad)).ask_all(prompts(3), int)
    assert (answers[1].value, answers[1].raw, answers[1].calls) == (None, "bad", 2)
    assert not answers[1].refused
    assert answers[1].problem is not None
    assert answers[1].problem.endswith("the model gave none: Refusal: not this one")


def test_a_model_that_answers_nothing_at_all_is_an_error() -> None:
    with pytest.raises(GuideError, match=r"answered none of 2 prompts; .* Refusal: not this one\."):
        ChatClient(Doubler(_0=refuse, _1=refuse)).ask_all(prompts(2), int)


def test_refused_prompts_that_remain_of_an_earlier_run_are_no_error(tmp_path: Path) -> None:
    refusing = {f"_{i}": refuse for i in range(10, 20)}
    for _ in range(2):
        model = Doubler(**refusing)
        answers = ChatClient(model, cache=tmp_path).ask_all(prompts(20), int)
        assert values(answers) == [*range(0, 20, 2), *[None] * 10]
    assert len(model.asked) == 10


class Wrong(Exception):
    status_code = 401


def test_an_error_that_no_try_can_fix_stops_everything_and_keeps_what_was_answered(
    tmp_path: Path,
) -> None:
    def wrong() -> str:
        raise Wrong("Incorrect key sk-0123456789")

    model = Doubler(_10=wrong)
    with pytest.raises(GuideError, match=r"doubler cannot be asked: Wrong: Incorrect key \[hidden"):
        ChatClient(model, cache=tmp_path, concurrency=2).ask_all(prompts(200), int)
    assert len(model.asked) < 20
    kept = ChatClient(Doubler(), cache=tmp_path).ask_all(prompts(10), int)
    assert [a.cached for a in kept] == [str(i) in model.asked for i in range(10)]


def test_calls_on_their_way_are_waited_for_and_kept_when_it_stops(tmp_path: Path) -> None:
    begun, stopped = threading.Event(), threading.Event()

    def slow() -> str:
        begun.set()
        assert stopped.wait(20)
        return "0"

    def wrong() -> str:
        assert begun.wait(20)
        threading.Timer(0.1, stopped.set).start()
        raise Wrong

    client = ChatClient(Doubler(_0=slow, _1=wrong), cache=tmp_path, concurrency=2)
    with pytest.raises(GuideError, match="cannot be asked"):
        client.ask_all(prompts(2), int)
    assert ChatClient(Doubler(), cache=tmp_path).ask_all(prompts(1), int)[0].cached


def test_what_a_caller_interrupts_does_not_wait_for_pauses(tmp_path: Path) -> None:
    class Busy(Exception):
        status_code = 429
        headers = {"Retry-After": "100"}  # noqa: RUF012

    def busy() -> str:
        raise Busy

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    before = set(threading.enumerate())
    client = ChatClient(Doubler(_0=busy), cache=tmp_path, concurrency=2, on_progress=interrupt)
    with pytest.raises(KeyboardInterrupt):
        client.ask_all(prompts(2), int)
    for thread in set(threading.enumerate()) - before:
        thread.join(20)
        assert not thread.is_alive()


def test_a_fault_of_the_parser_is_not_hidden() -> None:
    def parse(reply: str) -> int:
        raise KeyError("a fault")

    with pytest.raises(KeyError, match="a fault"):
        ChatClient(Doubler()).ask_all(prompts(3), parse)


def test_an_estimate_above_the_cap_stops_before_the_first_call(tmp_path: Path) -> None:
    model = Doubler()
    with pytest.raises(
        GuideError,
        match=r"would take 3 calls, about 12 tokens in and 30 out .*, more than max_calls=2\.",
    ):
        ChatClient(model, max_calls=2).ask_all(prompts(3), int, output_tokens=10)
    with pytest.raises(GuideError, match="more than max_tokens=41"):
        ChatClient(model, max_tokens=41).ask_all(prompts(3), int, output_tokens=10)
    assert model.asked == []
    exact = ChatClient(model, max_tokens=42, max_calls=3)
    assert values(exact.ask_all(prompts(3), int, output_tokens=10)) == [0, 2, 4]


def test_what_is_in_the_cache_costs_nothing(tmp_path: Path) -> None:
    ChatClient(Doubler(), cache=tmp_path).ask_all(prompts(3), int)
    free = ChatClient(Doubler(), cache=tmp_path, max_calls=0, max_tokens=0)
    assert values(free.ask_all(prompts(3), int)) == [0, 2, 4]
    with pytest.raises(GuideError, match="would take 1 call, "):
        free.ask_all(prompts(4), int)


def test_the_cap_stops_repairs_and_keeps_what_was_answered(tmp_path: Path) -> None:
    client = ChatClient(Doubler(_2=lambda: "two"), cache=tmp_path, max_calls=3, concurrency=1)
    with pytest.raises(GuideError, match=r"next call would exceed max_calls=3; spent are 3 calls"):
        client.ask_all(prompts(3), int)
    again = ChatClient(Doubler(), cache=tmp_path, max_calls=1)
    assert values(again.ask_all(prompts(3), int)) == [0, 2, 4]


def test_the_cap_is_that_of_the_clients_whole_life() -> None:
    client = ChatClient(Doubler(), max_calls=3)
    client.ask_all(prompts(2), int)
    assert client.budget.spent == Cost(2, 8, 2)
    with pytest.raises(GuideError, match=r"would take 2 calls, .* after 2 calls, .* spent"):
        client.ask_all(prompts(2, start=2), int)


def test_progress_counts_different_prompts_up_to_all_of_them(tmp_path: Path) -> None:
    ChatClient(Doubler(), cache=tmp_path).ask_all(prompts(2), int)
    told: list[tuple[int, int]] = []
    client = ChatClient(
        Doubler(), cache=tmp_path, on_progress=lambda done, total: told.append((done, total))
    )
    client.ask_all([*prompts(4), *prompts(4)], int)
    assert told == [(2, 4), (3, 4), (4, 4)]


def test_progress_counts_over_all_steps_and_plans_grow() -> None:
    told: list[tuple[int, int]] = []
    client = ChatClient(
        Doubler(), planned=3, on_progress=lambda done, total: told.append((done, total))
    )
    client.ask_all(prompts(2), int)
    client.ask_all(prompts(2, start=2), int)
    client.finish()
    assert told == [(1, 3), (2, 3), (3, 4), (4, 4), (4, 4)]


def test_a_smaller_run_than_planned_ends_at_its_own_size() -> None:
    told: list[tuple[int, int]] = []
    client = ChatClient(
        Doubler(), planned=9, on_progress=lambda done, total: told.append((done, total))
    )
    client.ask_all(prompts(2), int)
    client.finish()
    assert told[-2:] == [(2, 9), (2, 2)]


def test_calls_and_answers_from_the_cache_are_counted(tmp_path: Path) -> None:
    ChatClient(Doubler(), cache=tmp_path).ask_all(prompts(2), int)
    client = ChatClient(Doubler(_2=lambda: "two"), cache=tmp_path)
    client.ask_all(prompts(4), int)
    client.ask_all(prompts(1), int)
    assert (client.calls, client.cached) == (3, 3)


def test_progress_is_told_in_the_thread_of_the_caller() -> None:
    threads = set()
    client = ChatClient(Doubler(), on_progress=lambda *_: threads.add(threading.current_thread()))
    client.ask_all(prompts(5), int)
    assert threads == {threading.current_thread()}


def test_an_error_of_the_progress_ends_the_run() -> None:
    failed = threading.Event()

    def fail(done: int, total: int) -> None:
        failed.set()
        raise RuntimeError("the display is gone")

    def wait() -> str:
        assert failed.wait(20)
        time.sleep(0.1)
        return "2"

    model = Doubler(_1=wait)
    with pytest.raises(RuntimeError, match="the display is gone"):
        ChatClient(model, on_progress=fail, concurrency=1).ask_all(prompts(100), int)
    assert len(model.asked) < 100


TRACE: ContextVar[str] = ContextVar("TRACE", default="none")


def test_context_variables_of_the_caller_reach_the_model() -> None:
    token = TRACE.set("mine")
    try:
        answers = ChatClient(ChatModel("m", lambda _: TRACE.get())).ask_all(prompts(3), str)
    finally:
        TRACE.reset(token)
    assert {answer.value for answer in answers} == {"mine"}


def test_a_damaged_cache_is_an_error_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"nonsense " * 1000)
    model = Doubler()
    with pytest.raises(GuideError, match="cannot be used: file is not a database"):
        ChatClient(model, cache=tmp_path).ask_all(prompts(1), int)
    assert model.asked == []


def test_a_reply_that_someone_spoiled_in_the_cache_is_asked_again(tmp_path: Path) -> None:
    ChatClient(Doubler(), cache=tmp_path).ask_all(prompts(2), int)
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("UPDATE answers SET reply = '__import__(\"os\").getcwd()'")
    connection.close()
    model = Doubler()
    assert values(ChatClient(model, cache=tmp_path).ask_all(prompts(2), int)) == [0, 2]
    assert len(model.asked) == 2


def test_what_another_client_stored_meanwhile_is_not_asked(tmp_path: Path) -> None:
    def meanwhile() -> str:
        ChatClient(Doubler(), cache=tmp_path).ask_all(prompts(2, start=1), int)
        return "0"

    model = Doubler(_0=meanwhile)
    client = ChatClient(model, cache=tmp_path, concurrency=1)
    answers = client.ask_all(prompts(3), int)
    assert Counter(model.asked) == {"0": 1}
    assert [answer.cached for answer in answers] == [False, True, True]


def test_the_repr_names_model_and_cache_and_no_secret(tmp_path: Path) -> None:
    class Keyed(Doubler):
        api_key = "sk-secretsecret"

    client = ChatClient(Keyed(), cache=tmp_path, max_calls=3)
    assert repr(client) == f"ChatClient('doubler', cache=AnswerCache({str(tmp_path)!r}))"
    assert repr(client.model) == "ChatModel(name='doubler')"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"concurrency": 0}, "concurrency must be an integer >= 1.*, got 0"),
        ({"concurrency": None}, "concurrency must be an integer .*got None"),
        ({"retries": -1}, "retries must be an integer .*got -1"),
        ({"max_calls": -1}, "max_calls must be an integer .*got -1"),
        ({"max_tokens": 0.5}, "max_tokens must be an integer .*got 0.5"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        ChatClient(Doubler(), **arguments)


def test_what_is_no_model_is_refused_when_it_is_given() -> None:
    with pytest.raises(ConfigError, match="got int"):
        ChatClient(3)
