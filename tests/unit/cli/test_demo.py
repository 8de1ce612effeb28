from pathlib import Path

import numpy as np
import pytest

from instruct_embeddings.cli.demo import label_precision
from instruct_embeddings.cli.demo_corpus import TICKET_CONSTRAINTS, Constrained, read_corpus
from instruct_embeddings.retrieval.constraints import find_constraints
from instruct_embeddings.transform.vectors import unit_rows
from tests.unit.cli.conftest import Run

LABELS = ["--guide", "labels"]


@pytest.fixture(scope="module")
def shown(run: Run, zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A first run over the zoo."""
    path = tmp_path_factory.mktemp("demo") / "made"
    ran = run("demo", *LABELS, "--corpus", zoo, "--path", path)
    assert ran.code == 0, ran.stderr
    return path, ran.stdout


def test_the_first_run_shows_everything(shown: tuple[Path, str]) -> None:
    _, text = shown
    for part in (
        "69 texts of zoo.jsonl in the Chroma collection demo-zoo-",
        "built now, by tiny",
        "taught by\nthe labels, so that its precision below is no fair figure",
        "Precision@10 by true labels: 69 texts asked; ± 95% interval",
        "What is its animal?",
        "What is its mood?",
        "A new instruction: first answer ",
        "Encoding all texts under it instead: 69 texts ",
        ", 100,000 texts ",
    ):
        assert part in text
    assert "as it says" not in text
    assert all(len(line) <= 100 for line in text.splitlines() if "→" in line or "✓ " in line)


def test_it_ends_with_two_lines_to_type(shown: tuple[Path, str]) -> None:
    adapt, query = shown[1].rstrip().splitlines()[-2:]
    assert adapt.strip().startswith('instruct-embeddings adapt "What is its animal?" --store')
    assert query.strip().endswith('--collection NAME --instruction "What is its animal?"')


def test_a_second_run_reuses_collection_and_transforms(
    shown: tuple[Path, str], run: Run, zoo: Path
) -> None:
    words = ["demo", *LABELS, "--corpus", zoo, "--path", shown[0]]
    ran = run(*words, "--json")
    assert ran.code == 0
    assert ran.json["collection_reused"] is True
    assert [one["reused"] for one in ran.json["instructions"]] == [True, True]
    assert (ran.json["rows"], ran.json["asked"]) == (69, 69)
    assert ran.json["seconds"].keys() == {"answer", "encoding", "fit"}
    assert "reused from an earlier run" in run(*words).stdout


def test_all_three_rankings_are_measured_and_shown(
    shown: tuple[Path, str], run: Run, zoo: Path
) -> None:
    ran = run(
        "demo", *LABELS, "--corpus", zoo, "--path", shown[0], "--label-key", "animal", "--json"
    )
    [taught] = ran.json["instructions"]
    precision = taught["precision"]
    assert precision["fitted"]["value"] > 0.99
    assert precision["generic"]["high"] < precision["fitted"]["low"]
    for search in ran.json["searches"]:
        assert len(search["instant"]) == len(search["generic"]) == 10
        assert {hit["metadata"]["animal"] for hit in search["fitted"]} == set(search["labels"])


def test_precision_counts_the_ten_closest_other_rows() -> None:
    vectors = unit_rows(np.repeat(np.eye(2, 4, dtype=np.float32), 12, axis=0))
    labels = [*[frozenset({"cat"})] * 12, *[frozenset({"dog"})] * 11, frozenset[str]()]
    doggish = np.tile(vectors @ vectors[-1], (23, 1))
    similar = vectors[:23] @ vectors.T
    found = label_precision(
        labels, range(23), {"generic": similar, "instant": doggish, "fitted": similar}, 10
    )
    assert found is not None
    assert found["generic"] == found["fitted"]
    # A dog finds ten of the ten other dogs and one row without a label; a cat finds ten cats.
    assert 0.9 < found["generic"]["value"] <= 1
    assert found["generic"]["low"] <= found["generic"]["value"] <= found["generic"]["high"]
    assert found["instant"]["value"] < 0.6


@pytest.mark.parametrize("asked", TICKET_CONSTRAINTS, ids=lambda one: one.instruction)
def test_constraints_are_judged_by_labels_of_the_sample_corpus(asked: Constrained) -> None:
    rows = [record.metadata for record in read_corpus(None, None, []).records]
    right = [row for row in rows if asked.on_topic(row) and asked.satisfied(row)]
    assert len(right) >= 10
    key, label = asked.named
    assert {row[key] == label for row in right} == {not asked.unwanted}
    kind = [] if asked.instruction.startswith("Find") else ["no" if asked.unwanted else "only"]
    assert [one.kind for one in find_constraints(asked.instruction)] == kind


@pytest.mark.filterwarnings("ignore::instruct_embeddings.TransformWarning")
def test_without_labels_the_encoder_teaches(run: Run, zoo: Path, tmp_path: Path) -> None:
    asked = ["-i", "Which animal is it?", "-i", "How does it feel?"]
    ran = run("demo", "--corpus", zoo, *asked, "--path", tmp_path / "demo", "--json")
    assert ran.code == 0, ran.stderr
    assert ran.json["guide"] == "encoder"
    assert [one["instruction"] for one in ran.json["instructions"]] == asked[1::2]
    assert [one["label_key"] for one in ran.json["instructions"]] == [None, None]
    assert [one["precision"] for one in ran.json["instructions"]] == [None, None]
    refused = run("demo", *LABELS, "--corpus", zoo, *asked, "--path", tmp_path / "demo")
    assert refused.code == 1
    assert "--guide labels needs labels" in refused.stderr


def test_the_sample_corpus_is_asked_with_constraints(run: Run, tmp_path: Path) -> None:
    words = ["demo", *LABELS, "--label-key", "area", "--limit", 120, "--path", tmp_path / "demo"]
    ran = run(*words, "--json")
    assert ran.code == 0, ran.stderr
    assert [one["instruction"] for one in ran.json["constraints"]] == [
        one.instruction for one in TICKET_CONSTRAINTS
    ]
    for one in ran.json["constraints"]:
        assert one["satisfied"].keys() == one["on_topic"].keys() == {"generic", "instant"}
        assert all(0 <= count <= 10 for count in one["on_topic"].values())
    text = run(*words).stdout
    first = ran.json["constraints"][0]["satisfied"]
    assert f"{first['generic']} → {first['instant']}" in text


@pytest.mark.slow
@pytest.mark.usefixtures("real_encoder")
def test_the_demo_on_real_weights(run: Run, tmp_path: Path) -> None:
    ran = run("demo", "--path", tmp_path / "demo", "--json")
    assert ran.code == 0
    assert (ran.json["rows"], ran.json["asked"], ran.json["guide"]) == (480, 480, "encoder")
    for taught in ran.json["instructions"]:
        precision = {side: one["value"] for side, one in taught["precision"].items()}
        assert precision["fitted"] > precision["generic"] + 0.03
        assert precision["instant"] > precision["generic"] - 0.02
    obeyed = ran.json["constraints"][:4]
    assert all(one["satisfied"]["instant"] > one["satisfied"]["generic"] for one in obeyed)
