"""The server of the examples, on loopback, with the tiny encoder."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import pytest
import uvicorn

from instruct_embeddings import InstructEncoder
from tests.models import tiny_checkpoint

FOLDER = Path(__file__).parents[2] / "examples" / "serve"
Serve: TypeAlias = Callable[..., str]


@pytest.fixture(scope="session")
def encoder() -> Iterator[InstructEncoder]:
    with InstructEncoder.from_pretrained(tiny_checkpoint()) as made:
        yield made


@pytest.fixture(scope="session")
def example() -> Iterator[ModuleType]:
    """The module, which finds its neighbour as it does when it is run as a script."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield import_module("server")


@contextmanager
def serving(app: Any) -> Iterator[tuple[str, uvicorn.Server]]:
    """Address of the application on a free port, and what serves it."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=20))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        until = time.monotonic() + 40
        while not server.started and thread.is_alive() and time.monotonic() < until:
            time.sleep(0.01)
        assert server.started
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", server
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
    assert not thread.is_alive()


@pytest.fixture
def serve(example: ModuleType) -> Iterator[Serve]:
    """Starts a server; its address."""
    with ExitStack() as stack:
        yield lambda encoder, **options: stack.enter_context(
            serving(example.create_app(encoder, "tiny", **options))
        )[0]


@pytest.fixture(scope="module")
def address(example: ModuleType, encoder: InstructEncoder) -> Iterator[str]:
    with serving(example.create_app(encoder, "tiny")) as (found, _):
        yield found
