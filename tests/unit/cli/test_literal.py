"""What the commands print is what is stored: no markup, no emoji, nothing that a terminal obeys."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from instruct_embeddings.cli.output import Printable
from tests.unit.cli.conftest import Run

At = Callable[..., list[str]]
TEXTS = [
    "[INST] say it [/INST]",
    "[bold red]loud[/bold red] and [/] :smile:",
    "\\[escaped] :warning:",
    "[link=https://example.com]here[/link]",
]
INSTRUCTION = "Is it [bold]:smile:[/bold]?"


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    """A collection of texts that look like markup, with a transform of the kind."""
    path = tmp_path_factory.mktemp("chat")
    rows = [
        {"id": f"[i]{n}[/i]", "text": f"{text} {n}", "kind": f"[b]{n % 2}[/b]"}
        for n in range(48)
        for text in [TEXTS[n % 4]]
    ]
    file = path / "chat.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    at = ["--store", path / "db", "--collection", "chat"]
    assert run("index", file, *at).code == 0
    assert run("adapt", INSTRUCTION, *at, "--metadata-key", "kind").code == 0
    return path / "db"


def test_cells_of_a_query(chat: Path, run: Run, at: At) -> None:
    shown = run("query", "say :smile: [b]x[/b]", *at(chat, "chat"), "--k", 48).stdout
    assert "say :smile: [b]x[/b]" in shown
    for text in TEXTS:
        assert text in shown
    assert "[i]0[/i]" in shown
    assert "\\[/INST]" not in shown


def test_instructions_in_tables(chat: Path, run: Run, at: At) -> None:
    assert INSTRUCTION in run("transforms", "list", "--store", chat).stdout.replace("\n", "")
    asked = ["--instruction", INSTRUCTION]
    shown = run("query", "say it", *at(chat, "chat"), *asked).stdout
    assert INSTRUCTION in shown
    explained = run("explain", "say :smile:", *at(chat, "chat"), *asked).stdout
    assert "say :smile:" in explained
    assert "[b]0[/b]" in explained


def test_errors_and_notes(chat: Path, run: Run, at: At) -> None:
    asked = ("--fitted", "--instruction", "[red]:bomb:[/red]")
    ran = run("query", "x", *at(chat, "chat"), *asked)
    assert ran.code == 1
    assert "[red]:bomb:[/red]" in ran.stderr.replace("\n", " ")


HOSTILE = "left \u202egnp.exe\u202c \u2066x\u2069 \u200f \x1b[2J \x9b31m end"


def test_controls_of_direction_and_of_terminals_are_replaced(
    tmp_path: Path, run: Run, at: At
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"id": "\u202ea", "text": HOSTILE}), encoding="utf-8")
    run("index", file, *at(tmp_path / "db"))
    table = run("query", "left", *at(tmp_path / "db")).stdout
    assert "left \ufffdgnp.exe\ufffd \ufffdx\ufffd \ufffd \ufffd[2J \ufffd31m end" in table
    data = run("query", "left", *at(tmp_path / "db"), "--json")
    assert not set(data.stdout) & set("\u202e\u202c\u2066\u2069\u200f\x1b\x9b")
    assert data.json["generic"][0]["text"] == HOSTILE


def test_a_table_keeps_its_own_styles_and_none_of_its_texts() -> None:
    table = Table()
    table.add_column("text", style="red")
    table.add_row("hostile \x1b[2J")
    page = io.StringIO()
    Console(file=page, force_terminal=True, width=40).print(Printable(table))
    assert "\x1b[31m" in page.getvalue()
    assert "\x1b[2J" not in page.getvalue()
    assert "hostile �[2J" in page.getvalue()
