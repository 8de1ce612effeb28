"""Hosts fork: a child must not wait for threads and locks that its parent had."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# Without torch, whose own state may not survive a fork: this is about what is ours.
SCRIPT = """
import os, threading
from instruct_embeddings.encoder.model_cache import models

entry = models.acquire(("a model",))
entry.worker.submit(int).result()
held, done = threading.Event(), threading.Event()

def hold():
    with entry.lock, entry._load_lock, models._lock:
        held.set()
        done.wait()

thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = os.fork()
if child == 0:
    with models.acquire(("a model",)).lock:
        answer = entry.worker.submit(lambda: entry.get(lambda: 42)).result(timeout=20)
    os._exit(0 if answer == 42 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
done.set()
thread.join()
"""


TORCH = """
import os, sys
from types import SimpleNamespace
from instruct_embeddings.encoder.model_cache import models

limits = []
sys.modules["torch"] = SimpleNamespace(set_num_threads=limits.append)

def limits_of_a_fork():
    child = os.fork()
    if child == 0:
        os._exit(sum(limits))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

print(limits_of_a_fork())
models.acquire(("a model",))
print(limits_of_a_fork())
"""
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def run(script: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        timeout=50,
        cwd=ROOT,
        check=True,
    )
    return done.stdout.split()


def test_a_forked_child_has_locks_and_a_worker_of_its_own() -> None:
    assert run(SCRIPT) == ["0"]


def test_torch_is_limited_to_one_thread_only_where_a_model_was_used_before_the_fork() -> None:
    assert run(TORCH) == ["0", "1"]
