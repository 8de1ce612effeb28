import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run

At = Callable[..., list[str]]


def test_the_extra_is_named_where_it_is_missing(
    run: Run, farm: Path, at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    ran = run("ui", *at(farm))
    assert ran.code == 1
    assert 'pip install "instruct-embeddings[ui]"' in ran.stderr


def test_a_store_without_a_collection_is_a_usage_error(run: Run, farm: Path) -> None:
    ran = run("ui", "--store", f"chroma:{farm}")
    assert ran.code == 2
    assert "--collection NAME" in ran.stderr
