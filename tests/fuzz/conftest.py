"""Limits of memory, and how long the long version of each target runs."""

import gc
import os
import time
from collections.abc import Iterator

import pytest

_MEMORY = 2 * 1024**3


@pytest.fixture
def limited_memory() -> Iterator[None]:
    """Two gigabytes more than now: what asks for more gets a MemoryError, and fails."""
    resource = pytest.importorskip("resource")
    if not os.path.exists("/proc/self/statm"):
        yield
        return
    gc.collect()
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + _MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture
def seconds() -> float:
    """For each target: FUZZ_SECONDS, or a minute."""
    return float(os.environ.get("FUZZ_SECONDS", "60"))


@pytest.fixture
def start() -> int:
    """The first seed: FUZZ_SEED, or the time, so that every run tries something else."""
    return int(os.environ.get("FUZZ_SEED", str(int(time.time()))))
