from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from instruct_embeddings.cli import demo
from instruct_embeddings.cli.demo import label_precision
from instruct_embeddings.cli.demo_corpus import (
    ASPECTS,
    CONSTRAINTS,
    QUESTIONS,
    Constrained,
    collection_name,
    read_tickets,
)
from instruct_embeddings.retrieval.constraints import find_constraints
from instruct_embeddings.transform.vectors import unit_rows
from tests.unit.cli.conftest import Run

ROWS = 120
pytestmark = pytest.mark.filterwarnings("ignore::instruct_embeddings.TransformWarning")


@pytest.fixture(scope="module")
def few() -> Iterator[None]:
    """Some of the tickets: tiny models need no more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "read_tickets", lambda: read_tickets()[:ROWS])
        yield


@pytest.fixture(scope="module")
def shown(few: None, run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A first run."""
    path = tmp_path_factory.mktemp("demo") / "made"
    ran = run("demo", "--path", path)
    assert ran.code == 0, ran.stderr
    return path, ran.stdout


def test_the_first_run_shows_everything(shown: tuple[Path, str]) -> None:
    _, text = shown
    for part in (
        f"{ROWS} texts of tickets.jsonl in the Chroma collection demo-tickets-",
        "built now, by tiny",
        f"Precision@10 by true labels: {ROWS} texts asked; ± 95% interval",
        *ASPECTS.values(),
        *(one.instruction for one in CONSTRAINTS),
        "(lost data; ✓: the same label)",
        "A new instruction: first answer ",
        f"Encoding all texts under it instead: {ROWS} texts ",
        ", 100,000 texts ",
    ):
        assert part in text
    assert all(len(line) <= 100 for line in text.splitlines() if "→" in line or "✓ " in line)


def test_it_ends_with_two_lines_to_type(shown: tuple[Path, str]) -> None:
    adapt, query = shown[1].rstrip().splitlines()[-2:]
    assert adapt.strip().startswith('instruct-embeddings adapt "Which part of the product')
    assert query.strip().endswith('--instruction "Which part of the product is it about?"')


def test_a_second_run_reuses_collection_and_transforms(shown: tuple[Path, str], run: Run) -> None:
    path, first = shown
    ran = run("demo", "--path", path, "--json")
    assert ran.code == 0
    found = ran.json
    assert found["collection_reused"] is True
    assert [one["reused"] for one in found["instructions"]] == [True, True, True]
    assert found["rows"] == ROWS
    assert found["seconds"].keys() == {"answer", "encoding", "fit"}
    assert [one["label_key"] for one in found["searches"]] == list(QUESTIONS)
    for search in found["searches"]:
        assert len(search["generic"]) == len(search["instant"]) == len(search["fitted"]) == 10
    for one in found["constraints"]:
        assert one["satisfied"].keys() == one["on_topic"].keys() == {"generic", "instant"}
        assert all(0 <= count <= 10 for count in one["on_topic"].values())
        said = one["satisfied"]
        assert f"{said['generic']} → {said['instant']}" in first
    for one in found["instructions"]:
        assert f"{one['precision']['fitted']['value']:.3f} ±" in first


def test_precision_counts_the_ten_closest_other_rows() -> None:
    vectors = unit_rows(np.repeat(np.eye(2, 4, dtype=np.float32), 12, axis=0))
    labels = [*["cat"] * 12, *["dog"] * 11, "none"]
    doggish = np.tile(vectors @ vectors[-1], (24, 1))
    similar = vectors @ vectors.T
    found = label_precision(labels, {"generic": similar, "instant": doggish, "fitted": similar}, 10)
    assert found["generic"] == found["fitted"]
    # A cat finds ten cats, a dog ten of ten dogs and the last row; that one finds dogs alone.
    assert 0.85 < found["generic"]["value"] <= 23 / 24
    assert found["generic"]["low"] <= found["generic"]["value"] <= found["generic"]["high"]
    assert found["instant"]["value"] < 0.6


def test_the_labels_of_the_questions_exist() -> None:
    records = read_tickets()
    assert len(records) == 480
    for key, (_, label) in QUESTIONS.items():
        assert label in {record.metadata[key] for record in records}


def test_the_content_decides_the_name() -> None:
    records = read_tickets()
    assert collection_name(records) == "demo-tickets-f86bd28c"
    assert collection_name(records[1:]) != collection_name(records)


@pytest.mark.parametrize("asked", CONSTRAINTS, ids=lambda one: one.instruction)
def test_constraints_are_judged_by_labels_of_the_tickets(asked: Constrained) -> None:
    rows = [record.metadata for record in read_tickets()]
    right = [row for row in rows if asked.on_topic(row) and asked.satisfied(row)]
    assert len(right) >= 10
    key, label = asked.named
    assert {row[key] == label for row in right} == {not asked.unwanted}
    kind = [] if asked.instruction.startswith("Find") else ["no" if asked.unwanted else "only"]
    assert [one.kind for one in find_constraints(asked.instruction)] == kind


@pytest.mark.slow
@pytest.mark.usefixtures("real_encoder")
def test_the_demo_on_real_weights(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "read_tickets", read_tickets)  # all of them
    ran = run("demo", "--path", tmp_path / "demo", "--json")
    assert ran.code == 0
    assert ran.json["rows"] == 480
    for taught in ran.json["instructions"]:
        precision = {side: one["value"] for side, one in taught["precision"].items()}
        assert precision["fitted"] > precision["generic"] + 0.03
        assert precision["instant"] > precision["generic"] - 0.02
    obeyed = ran.json["constraints"][:4]
    assert all(one["satisfied"]["instant"] > one["satisfied"]["generic"] for one in obeyed)
