"""Toys in a real Chroma server, right answers to compare with, and the table at the end."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from rich.console import Console

from instruct_embeddings.config import FitConfig
from instruct_embeddings.guides import MetadataGuide
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.transform import TransformStore
from tests.faults.ledger import Fault, Ledger
from tests.faults.server import ChromaServer
from tests.unit.conftest import Toys, make_toys

COLOUR = "What colour is it?"
QUICK = FitConfig(folds=2, time_budget=1e-9)
K = 5
ROWS = range(0, 90, 15)
Inject: TypeAlias = Callable[[str], AbstractContextManager[Fault]]
Answers: TypeAlias = list[list[str]]

_LEDGER = pytest.StashKey[Ledger]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LEDGER] = Ledger()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    ledger = config.stash[_LEDGER]
    if ledger.faults:
        console = Console(file=terminalreporter._tw._file, width=150)
        console.print()
        console.print(ledger.table())


@pytest.fixture(scope="session")
def ledger(pytestconfig: pytest.Config) -> Ledger:
    return pytestconfig.stash[_LEDGER]


@pytest.fixture(scope="session")
def inject(ledger: Ledger) -> Inject:
    """Notes a fault under a name."""
    return ledger.fault


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChromaServer]:
    server = ChromaServer(tmp_path_factory.mktemp("chroma"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def toys() -> Toys:
    return make_toys()


def answers(retriever: InstructRetriever, toys: Toys, instruction: str | None = COLOUR) -> Answers:
    """Ids found for six of the toys."""
    return [_search(retriever, toys, row, instruction) for row in ROWS]


def ask_all(
    fault: Fault,
    retriever: InstructRetriever,
    toys: Toys,
    right: Answers,
    instruction: str | None = COLOUR,
) -> list[Exception]:
    """Send the six searches one by one; the errors that came instead of answers."""
    asked = [
        fault.ask(partial(_search, retriever, toys, row, instruction), ids)
        for row, ids in zip(ROWS, right, strict=True)
    ]
    return [error for error in asked if error is not None]


def _search(
    retriever: InstructRetriever, toys: Toys, row: int, instruction: str | None
) -> list[str]:
    return [hit.id for hit in retriever.search(toys.vectors[row], instruction=instruction, k=K)]


def next_run(folder: Path, toys: Toys) -> InstructRetriever:
    """As the user's program starts again."""
    return InstructRetriever(
        toys.collection(), MetadataGuide("colour"), store=TransformStore(folder), fit=QUICK
    )


def check_next_run(fault: Fault, folder: Path, toys: Toys, right: Answers) -> None:
    """It answers, and leaves one readable transform for the run after it."""
    assert ask_all(fault, next_run(folder, toys), toys, right) == []
    [summary] = TransformStore(folder).summaries()
    assert summary.problem is None
    without_guide = InstructRetriever(toys.collection(), store=TransformStore(folder))
    assert ask_all(fault, without_guide, toys, right) == []


@pytest.fixture(scope="session")
def right(toys: Toys) -> Answers:
    """What is found where nothing breaks, in memory: each answer holds one colour, mostly."""
    retriever = InstructRetriever(toys.collection(), MetadataGuide("colour"), fit=QUICK)
    found = answers(retriever, toys)
    pairs = [(int(hit), row) for row, ids in zip(ROWS, found, strict=True) for hit in ids]
    same = [toys.colours[hit] == toys.colours[row] for hit, row in pairs]
    assert np.mean(same) > 0.8
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Of a store; whatever a test did, nothing half-written is left in it."""
    path = tmp_path / "store"
    yield path
    if path.is_dir():
        left = [file.name for file in path.iterdir() if file.suffix != ".safetensors"]
        assert left == []
