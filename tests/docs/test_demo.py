"""The table at the top of the README is what the demo finds, with real weights."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from instruct_embeddings.cli.app import app
from tests.docs.pages import ROOT, blocks

_HIT = re.compile(r"(-?\d\.\d{3}) +(\w+) +(\S.*?)…")


@pytest.mark.slow
def test_the_readme_shows_what_the_demo_finds(tmp_path: Path) -> None:
    [table] = blocks(ROOT / "README.md", "text")
    words = ["demo", "--guide", "labels", "--path", str(tmp_path / "demo"), "--json"]
    ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 0, ran.output
    query, _, sides, *rows = table.code.splitlines()
    [asked] = [
        one for one in json.loads(ran.stdout)["instructions"] if f'"{one["instruction"]}"' in sides
    ]
    [search] = [one for one in asked["searches"] if one["query"] == query]
    shown = [_HIT.findall(row) for row in rows]
    for column, side in enumerate(("generic", "adapted")):
        for hit, row in zip(search[side], shown, strict=True):
            score, label, start = row[column]
            assert hit["score"] == pytest.approx(float(score), abs=0.005)
            assert hit["metadata"]["tone"] == label
            assert hit["text"].startswith(start)
