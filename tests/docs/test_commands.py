"""Commands of the README and of the documentation run; their data files can be read."""

import importlib
import json
import re
import shlex
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from typer.main import get_group
from typer.testing import CliRunner

from instruct_embeddings import InstructEncoder
from instruct_embeddings.cli import models
from instruct_embeddings.cli.app import app
from instruct_embeddings.testing import TinyEncoder
from instruct_embeddings.training.tables import PARSER
from tests.docs.conftest import METADATA, TEXTS
from tests.docs.pages import PAGES, ROOT, blocks, name_of, pages_with
from tests.models import tiny_checkpoint

FAQ = ROOT / "docs" / "faq.md"  # its commands are mistakes, which test_errors.py makes
TOML = importlib.import_module(PARSER)
PROJECT = TOML.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = set(PROJECT["optional-dependencies"])
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
EXAMPLES = [
    {"text": text, "instruction": f"{wording} {aspect}?", "answer": labels[aspect]}
    for text, labels in zip(TEXTS, METADATA, strict=True)
    for aspect in ("tone", "problem")
    for wording in ("What is the", "Which", "Tell the", "Name the")
]


@pytest.fixture
def workplace(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with what the commands read, and tiny models."""
    rows = zip(TEXTS, METADATA, strict=True)
    lines = [
        json.dumps({"id": f"t{place}", "text": text, **metadata})
        for place, (text, metadata) in enumerate(rows)
    ]
    Path("tickets.jsonl").write_text("\n".join(lines), encoding="utf-8")
    asked = {"query": "it ate my photos", "relevant": ["t0", "t2"]}
    Path("questions.jsonl").write_text(json.dumps(asked), encoding="utf-8")
    Path("FOLDER").mkdir()
    train = [json.dumps(example) for example in EXAMPLES]
    (Path("FOLDER") / "train.jsonl").write_text("\n".join(train), encoding="utf-8")
    monkeypatch.setattr(models, "load_encoder", lambda model=None: TinyEncoder())
    with InstructEncoder.from_pretrained(tiny_checkpoint()) as checkpoint:
        monkeypatch.setattr(models, "load_instructed", lambda model=None: checkpoint)
        yield folder


@pytest.mark.filterwarnings("ignore::instruct_embeddings.TransformWarning")
@pytest.mark.usefixtures("workplace", "tiny_models")
@pytest.mark.parametrize("page", [p for p in pages_with("bash") if p != FAQ], ids=name_of)
def test_the_commands_of_a_page_run(page: Path) -> None:
    for block in blocks(page, "bash"):
        for line in block.code.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                KNOWN[words[0]](words[1:])


def ours(words: list[str]) -> None:
    """A command of this package; training is planned and not done."""
    if words[0] == "train" and "--list" not in words:
        words = [word for word in words if word != "--measure"]
        words += [] if "--dry-run" in words else ["--dry-run"]
    ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 0, ran.output


def launched(words: list[str]) -> None:
    """`accelerate launch ... -m module ...`, of which the module's own words are run."""
    place = words.index("-m")
    assert words[place + 1] == "instruct_embeddings.cli"
    ours(words[place + 2 :])


def installed(words: list[str]) -> None:
    """`pip install`, with extras that exist."""
    assert words[0] == "install"
    asked = re.findall(r"instruct-embeddings\[(.+?)\]", " ".join(words))
    assert asked
    assert {extra for group in asked for extra in group.split(",")} <= EXTRAS


def made(words: list[str]) -> None:
    """`make`, with a target that exists."""
    assert words[0] in TARGETS


def python(words: list[str]) -> None:
    """`python -m module` or `python FILE`, which exists, or `python -c` code."""
    if words[0] == "-c":
        compile(words[1], "-c", "exec")
        return
    assert find_spec(words[1]) if words[0] == "-m" else (ROOT / words[0]).is_file()


# What follows a prompt needs a network, so it is only read as the command line would read it.
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", pages_with("console"), ids=name_of)
def test_commands_that_need_a_network_are_understood(page: Path) -> None:
    commands = get_group(app).commands
    Path("instructions.json").write_text("{}", encoding="utf-8")
    for block in blocks(page, "console"):
        for line in block.code.replace("\\\n", " ").splitlines():
            prompt, program, name, *words = shlex.split(line)
            assert (prompt, program) == ("$", "instruct-embeddings")
            commands[name].make_context(name, words)


KNOWN: dict[str, Callable[[list[str]], None]] = {
    "accelerate": launched,
    "instruct-embeddings": ours,
    "make": made,
    "pip": installed,
    "python": python,
}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_data_files_of_a_page_can_be_read(page: Path) -> None:
    for block in blocks(page, "json"):
        assert [json.loads(line) for line in block.code.splitlines()]
    for block in blocks(page, "toml"):
        assert TOML.loads(block.code)
    for block in blocks(page, "yaml"):
        assert yaml.safe_load(block.code)
