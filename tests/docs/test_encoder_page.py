"""The code of the encoder's page and of the README runs; the arguments it names exist."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from instruct_embeddings.encoder import DEFAULT_MODEL, EncoderOptions, hub
from tests.models import TEXTS, tiny_checkpoint

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "encoder.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = r"```python\n(.*?)```"
BLOCKS = [
    *re.findall(BLOCK, PAGE, re.DOTALL),
    *re.findall(r"## Embeddings under an instruction\n.*?" + BLOCK, README, re.DOTALL),
]
HOSTS = {
    "batch_size",
    "callback_manager",
    "document_instruction",
    "embed_batch_size",
    "instruction",
    "query_instruction",
    "show_progress",
}


@pytest.fixture
def tiny_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny checkpoint in place of the one in the box."""
    place = hub.Location(DEFAULT_MODEL, tiny_checkpoint(), on_hub=False)
    monkeypatch.setattr(hub, "_shipped", lambda name, revision: place)


def test_both_pages_show_code() -> None:
    assert len(BLOCKS) == 3


@pytest.mark.usefixtures("tiny_default")
@pytest.mark.parametrize("number", range(3))
def test_the_code_runs(number: int) -> None:
    names: dict[str, object] = {"texts": TEXTS}
    exec(compile(BLOCKS[number], f"block {number}", "exec"), names)
    if "grid" in names:
        assert [getattr(names[n], "shape", None) for n in ("generic", "by_tone", "grid")] == [
            (len(TEXTS), 32),
            (len(TEXTS), 32),
            (2, len(TEXTS), 32),
        ]


def test_the_arguments_to_move_to_exist() -> None:
    """In the tables, names of ours stand in the second column as `name=`."""
    rows = re.findall(r"^\|(.+?)\|(.+)\|$", PAGE, re.MULTILINE)
    named = {name for _, ours in rows for name in re.findall(r"`(\w+)=", ours)}
    known = {field.name for field in fields(EncoderOptions)}
    assert {"dtype", "devices", "template"} <= named
    assert named <= known | HOSTS
