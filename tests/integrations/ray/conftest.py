"""Ray on this machine alone, quiet; nothing is collected where it is not installed."""

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from instruct_embeddings import InstructEncoder
from tests.models import tiny_checkpoint

if find_spec("ray") is None:  # on Python 3.10, where the pinned release is not to be had
    collect_ignore_glob = ["test_*.py"]

LOOPBACK = "127.0.0.2"  # Ray takes 127.0.0.1 for the public address of this machine
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_LOG_LEVEL": "ERROR",
    "RAY_worker_niceness": "0",  # else workers wait for all else on a busy machine
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_STORE = 80 * 2**20  # bytes of shared memory a node


@pytest.fixture(scope="session")
def folder() -> Path:
    """Of the tiny encoder, which workers load too."""
    return tiny_checkpoint()


@pytest.fixture(scope="session")
def encoder(folder: Path) -> InstructEncoder:
    """The same in this process."""
    return InstructEncoder.from_pretrained(folder)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of one node with one CPU, which this process is connected to."""
    if sys.platform != "linux":
        pytest.skip(f"{LOOPBACK} is an address on Linux alone")
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": _STORE, "node_ip_address": LOOPBACK}
    made = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
    made.another = lambda: made.add_node(**node)
    try:
        ray.init(
            address=made.address,
            log_to_driver=False,
            logging_level="ERROR",
            _node_ip_address=LOOPBACK,
        )
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield made
    finally:
        ray.shutdown()
        made.shutdown()
