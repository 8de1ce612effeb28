"""The notebooks run beside a server of Milvus, or where there is none, without."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from scripts import with_milvus

TOLD = "import os, sys; sys.exit(os.environ.get('MILVUS_ADDRESS') != sys.argv[1])"


def exit_code(expected: str) -> int:
    return with_milvus.main([sys.executable, "-c", TOLD, expected])


def test_a_server_that_is_named_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(with_milvus.ADDRESS, "http://theirs:19530")
    assert exit_code("http://theirs:19530") == 0
    assert exit_code("another") == 1


def test_one_is_started_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []

    @contextmanager
    def server() -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(address="http://ours:1")
        ended.append(True)

    monkeypatch.delenv(with_milvus.ADDRESS, raising=False)
    monkeypatch.setattr(with_milvus, "milvus_server", server)
    assert (exit_code("http://ours:1"), ended) == (0, [True])


def test_where_none_is_installed_the_command_runs_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def nowhere() -> None:
        pytest.skip("no server here")

    monkeypatch.delenv(with_milvus.ADDRESS, raising=False)
    monkeypatch.setattr(with_milvus, "milvus_server", nowhere)
    assert with_milvus.main([sys.executable, "-c", "raise SystemExit(3)"]) == 3
    assert "no server here" in capfd.readouterr().err
