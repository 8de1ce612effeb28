"""Tiny models of random weights, and toys that have a colour and a shape."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from instruct_embeddings import InstructEncoder
from tests.models import new_folder, tiny_checkpoint

if sys.version_info < (3, 11):
    collect_ignore_glob = ["test_*.py"]  # mteb has no release for Python 3.10

# Read, and made, when mteb is imported.
os.environ["MTEB_CACHE"] = str(new_folder("mteb"))

COLOURS, SHAPES = ("red", "green", "blue"), ("ball", "cube", "ring")
OTHERS = "table printer paper photo invoice data billing lost vanished you".split()  # noqa: SIM905
INSTRUCTIONS = {"toys.colour": "which colour is it", "toys.shape": "which shape is it"}


@pytest.fixture(scope="session", autouse=True)
def without_bars() -> Iterator[None]:
    import datasets

    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.fixture(scope="module")
def encoder() -> Iterator[InstructEncoder]:
    with InstructEncoder.from_pretrained(tiny_checkpoint()) as encoder:
        yield encoder


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 different texts in which colours and shapes cut across each other."""
    file = tmp_path_factory.mktemp("labelled") / "toys.jsonl"
    rows = [
        {
            "text": f"{colour} {colour} {shape} {shape} {other}",
            "labels": {"colour": colour, "shape": shape},
        }
        for other in OTHERS
        for colour in COLOURS
        for shape in SHAPES
    ]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def beir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine documents, one for each colour and shape; three queries, each a colour."""
    folder = tmp_path_factory.mktemp("retrieval") / "balls"
    folder.mkdir()
    documents = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    _write(
        folder / "corpus.jsonl",
        [
            {"_id": f"{c}-{s}", "title": f"the {c}", "text": f"{s} on the table"}
            for c, s in documents
        ],
    )
    _write(folder / "queries.jsonl", [{"_id": c, "text": f"every {c}"} for c in COLOURS])
    lines = [f"{c}\t{c}-{s}\t1\n" for c, s in documents]
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    return folder


def _write(file: Path, rows: list[dict[str, str]]) -> None:
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
