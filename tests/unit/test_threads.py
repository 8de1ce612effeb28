import os
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, wait
from typing import Any

import pytest
from threadpoolctl import threadpool_info

from instruct_embeddings._threads import DaemonPool, Lately, Recent, one_thread, within

SECONDS = 30
EXIT = """
import os, threading, time
from instruct_embeddings._threads import DaemonPool, within

begun = threading.Barrier(3)

def sleep():
    begun.wait()
    time.sleep(120)

def spin():
    begun.wait()
    while True:
        sum(range(1000))

def shared():
    try:
        begun.wait()
        while True:
            time.sleep(0.01)
    finally:
        os.write(1, b"unwound\\n")

pool = DaemonPool(2, "test")
for _ in range(5):
    pool.submit({work})
begun.wait()
"""


@pytest.mark.parametrize("work", ["sleep", "spin", "shared"])
def test_no_process_waits_for_work_at_its_end(work: str) -> None:
    begin = time.monotonic()
    code = EXIT.replace("{work}", work)
    done = subprocess.run([sys.executable, "-c", code], timeout=100, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    # What can be interrupted ends in order, nothing further begins.
    assert done.stdout == ("unwound\n" * 2 if work == "shared" else "")
    assert time.monotonic() - begin < 60


def test_work_is_done_by_so_many_threads_which_end_with_it() -> None:
    pool, gate, seen = DaemonPool(3, "counted"), threading.Barrier(3), set[str]()

    def work(number: int) -> int:
        seen.add(threading.current_thread().name)
        gate.wait(SECONDS)
        return number

    done = [pool.submit(work, number) for number in range(9)]
    assert [future.result(SECONDS) for future in done] == list(range(9))
    assert len(seen) <= 3
    for thread in threading.enumerate():
        if thread.name.startswith("counted"):
            assert thread.daemon
            thread.join(SECONDS)
            assert not thread.is_alive()
    assert pool.submit(len, "again").result(SECONDS) == 5


def test_an_error_ends_its_future_and_no_thread() -> None:
    pool = DaemonPool(1, "test")
    failed, done = pool.submit(int, "x"), pool.submit(int, "1")
    with pytest.raises(ValueError, match="invalid literal"):
        failed.result(SECONDS)
    assert done.result(SECONDS) == 1


def test_work_that_has_not_begun_is_cancelled() -> None:
    pool, begun, go = DaemonPool(1, "test"), threading.Event(), threading.Event()

    def work() -> str:
        begun.set()
        go.wait(SECONDS)
        return "done"

    first, second = pool.submit(work), pool.submit(work)
    begun.wait(SECONDS)
    pool.cancel()
    go.set()
    assert first.result(SECONDS) == "done"
    with pytest.raises(CancelledError):
        second.result(SECONDS)
    assert not wait([first, second], SECONDS).not_done


def test_a_thread_that_cannot_start_ends_the_future(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = DaemonPool(2, "test")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _refuse)
        for _ in range(3):
            with pytest.raises(RuntimeError, match="can't start new thread"):
                pool.submit(len, "x").result(SECONDS)
    assert pool.submit(len, "xy").result(SECONDS) == 2


def test_where_some_threads_run_they_do_the_work_of_those_that_cannot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool, go = DaemonPool(2, "test"), threading.Event()
    first = pool.submit(go.wait, SECONDS)
    monkeypatch.setattr(threading.Thread, "start", _refuse)
    second = pool.submit(len, "xyz")
    go.set()
    wait([first, second], SECONDS)
    assert second.result(0) == 3


def _refuse(self: Any) -> None:
    raise RuntimeError("can't start new thread")


FORK = """
import os, sys, threading
from instruct_embeddings._threads import DaemonPool

pool, go = DaemonPool(1, "test"), threading.Event()
held = pool.submit(go.wait, 60)
pool._lock.acquire()
child = os.fork()
if child == 0:
    os._exit(0 if pool.submit(len, "xyz").result(30) == 3 else 1)
pool._lock.release()
go.set()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_has_threads_and_locks_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", FORK], timeout=100, check=False)
    assert done.returncode == 0


def test_a_call_that_takes_too_long_is_given_up() -> None:
    assert within(None, len, "x") == within(20.0, len, "x") == 1
    with pytest.raises(ValueError, match="invalid literal"):
        within(20.0, int, "x")
    with pytest.raises(TimeoutError, match=r"no reply within 0\.05 seconds"):
        within(0.05, time.sleep, 2)


def threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info()}


def test_overlapping_fits_share_the_limit_and_the_last_one_lifts_it() -> None:
    before = threads()
    first, second = one_thread(), one_thread()
    first.__enter__()
    second.__enter__()
    assert threads() == {1}
    first.__exit__(None, None, None)
    assert threads() == {1}
    second.__exit__(None, None, None)
    assert threads() == before


def test_what_was_used_longest_ago_is_forgotten_first() -> None:
    kept: Recent[str, int] = Recent(2)
    assert kept.put("a", 1) == 1
    kept.put("b", 2)
    assert kept.get("a") == 1
    kept.put("c", 3)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (1, None, 3)
    assert "b" not in kept
    assert sorted(kept.values()) == [1, 3]


def test_a_key_that_is_put_again_counts_once() -> None:
    kept: Recent[str, int] = Recent(2)
    for value in range(5):
        kept.put("a", value)
    kept.put("b", 9)
    assert (kept.get("a"), kept.get("b"), len(kept)) == (4, 9, 2)


def test_threads_share_it() -> None:
    kept: Recent[int, int] = Recent(50)

    def work(start: int) -> None:
        for number in range(start, start + 2000):
            kept.put(number % 200, number)
            kept.get((number * 7) % 200)
            kept.values()

    threads = [threading.Thread(target=work, args=(n * 13,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kept) == 50
    assert all(0 <= value < 2100 for value in kept.values())


def test_an_answer_is_kept_for_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("instruct_embeddings._threads.time.monotonic", lambda: now)
    answers = iter(range(10))
    kept: Lately[int] = Lately(2.0)
    assert [kept.get(lambda: next(answers)) for _ in range(2)] == [0, 0]
    now = 102.0
    assert kept.get(lambda: next(answers)) == 1
    kept.forget()
    assert kept.get(lambda: next(answers)) == 2
    each: Lately[int] = Lately(0)
    assert [each.get(lambda: next(answers)) for _ in range(2)] == [3, 4]
