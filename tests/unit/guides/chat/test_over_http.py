"""The whole way to a server that answers slowly, badly or not at all."""

import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides.chat import Answer, ChatClient, Prompt, json_object
from tests.llm_server import Call, LLMServer, PlainModel, Reply, llm_server

ROOT = Path(__file__).parents[4]
GOOD = '{"n": 1}'


def prompts(*users: str) -> list[Prompt]:
    return [Prompt("", user) for user in users]


def quick(server: LLMServer, pauses: list[float] | None = None) -> ChatClient:
    """An client that notes its pauses instead of making them."""
    return ChatClient(PlainModel(server.url), sleep=([] if pauses is None else pauses).append)


class InTurn:
    """One reply after the other, whatever is asked."""

    def __init__(self, *replies: Reply | str) -> None:
        self.replies = replies

    def __call__(self, call: Call) -> Reply | str:
        return self.replies[min(call.number, len(self.replies)) - 1]


@pytest.mark.parametrize(
    ("trouble", "calls"),
    [
        ((), 1),
        ((Reply("overloaded", 503), Reply("bad gateway", 502)), 3),
        ((Reply("slow down", 429, {"Retry-After": "0"}),), 2),
        ((Reply(GOOD, drop=40),), 2),
        ((Reply(GOOD, drop=0),), 2),
        ((Reply(body=b"<html>Gateway</html>"),), 2),
        ((Reply(body=b""),), 2),
        ((Reply('{"n": '),), 2),
        ((Reply("As a model I"),), 2),
        ((Reply(""),), 2),
        ((Reply("overloaded", 500), Reply("nonsense"), Reply("overloaded", 500)), 4),
    ],
)
def test_trouble_passes(trouble: tuple[Reply, ...], calls: int) -> None:
    with llm_server(InTurn(*trouble, GOOD)) as server:
        (answer,) = quick(server).ask_all(prompts("?"), json_object)
    assert answer == Answer({"n": 1}, GOOD, calls=calls, cached=False, problem=None)
    assert len(server.calls) == calls


def test_retry_after_is_waited_for() -> None:
    pauses: list[float] = []
    with llm_server(InTurn(Reply("slow down", 429, {"Retry-After": "17"}), GOOD)) as server:
        quick(server, pauses).ask_all(prompts("?"), json_object)
    assert pauses == [17.0]


def test_nonsense_twice_is_no_answer() -> None:
    with llm_server(InTurn("purple", "monkeys", GOOD)) as server:
        (answer,) = quick(server).ask_all(prompts("?"), json_object)
    assert (answer.value, answer.raw, answer.calls) == (None, "monkeys", 2)
    assert answer.problem == "The reply holds no JSON; it starts with 'monkeys'."


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_or_name_is_told_after_one_call_each(status: int) -> None:
    with llm_server(InTurn(Reply("no", status))) as server:
        client = ChatClient(PlainModel(server.url), concurrency=1)
        with pytest.raises(GuideError, match=f"scripted cannot be asked: HTTPError: .* {status}"):
            client.ask_all(prompts(*"abcdefgh"), json_object)
    assert len(server.calls) == 1


def test_a_server_that_always_fails_is_given_up_on() -> None:
    with (
        llm_server(InTurn(Reply("broken", 500))) as server,
        pytest.raises(GuideError, match="no answer to 5 prompts in a row, at last: HTTPError"),
    ):
        quick(server).ask_all(prompts(*map(str, range(100))), json_object)
    assert 25 <= len(server.calls) <= 45


def test_a_server_that_is_not_there_is_given_up_on() -> None:
    with llm_server(InTurn(GOOD)) as server:
        gone = quick(server)
    with pytest.raises(
        GuideError, match=r"answered none of 1 prompts; .* 5 tries, at last Connection"
    ):
        gone.ask_all(prompts("?"), json_object)
    assert gone.budget.spent.calls == 0


def test_slow_calls_run_side_by_side() -> None:
    together = threading.Barrier(4)

    def script(call: Call) -> str:
        together.wait(20)
        return GOOD

    with llm_server(script) as server:
        answers = quick(server).ask_all(prompts(*"abcdefgh"), json_object)
    assert {answer.problem for answer in answers} == {None}
    assert server.most_at_once == 4


RUN = """
import sys
from instruct_embeddings.guides.chat import ChatClient, Prompt, json_object
from tests.llm_server import PlainModel

url, cache = sys.argv[1:]
client = ChatClient(PlainModel(url), cache=cache, concurrency=2)
answers = client.ask_all([Prompt("", str(i)) for i in range(12)], json_object)
print(sum(answer.calls for answer in answers), sum(answer.cached for answer in answers))
"""


def start(url: str, cache: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", RUN, url, str(cache)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_killed_run_repeats_no_call_that_was_answered(tmp_path: Path) -> None:
    held, release = threading.Semaphore(0), threading.Event()
    answered: Counter[str] = Counter()

    def script(call: Call) -> str:
        # Two calls at once: when the 8th and 9th wait here, the first 7 are answered and kept.
        if call.number in (8, 9):
            held.release()
            release.wait(50)
            return "nobody hears this"
        answered[call.user] += 1
        return GOOD

    with llm_server(script) as server:
        killed = start(server.url, tmp_path)
        for _ in range(2):
            assert held.acquire(timeout=50)
        killed.kill()
        assert killed.communicate(timeout=50) == ("", "")
        release.set()
        resumed = start(server.url, tmp_path)
        out, errors = resumed.communicate(timeout=50)
    assert (out, errors) == ("5 7\n", "")
    assert answered == {str(i): 1 for i in range(12)}
    assert len(server.calls) == 14


def test_two_processes_share_a_cache(tmp_path: Path) -> None:
    with llm_server(lambda _: Reply(GOOD, seconds=0.05)) as server:
        both = [start(server.url, tmp_path) for _ in range(2)]
        told = [process.communicate(timeout=50) for process in both]
        assert [errors for _, errors in told] == ["", ""]
        # Each prompt was asked by one of them, or by both at the same moment.
        calls = [int(out.split()[0]) for out, _ in told]
        assert sum(calls) == len(server.calls)
        assert 12 <= len(server.calls) <= 24
        (third,) = {start(server.url, tmp_path).communicate(timeout=50)}
    assert third == ("0 12\n", "")
