from pathlib import Path

import pytest

from instruct_embeddings.cli import encoders
from instruct_embeddings.testing import TinyEncoder
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
        "built now in",
        '"What is its animal?"',
        '"What is its mood?"',
        "generic",
        "adapted",
        "learned from 69 of 69 sampled rows",
        "Fitted now in",
        "gave the same ids in 6 of 6",
        "Taught by the labels in the metadata.",
        "Why: the first query explained",
        "The map of the texts, stored and under the instruction:",
        "Re-encoding the 69 texts for one instruction would take about",
        "measured on 64",
        "scaled",
    ):
        assert part in text


def test_it_ends_with_two_lines_to_type(shown: tuple[Path, str]) -> None:
    adapt, query = shown[1].rstrip().splitlines()[-2:]
    assert adapt.strip().startswith('instruct-embeddings adapt "What is its animal?" --path')
    assert query.strip().endswith('--collection NAME --instruction "What is its animal?"')


def test_a_second_run_reuses_collection_and_transforms(
    shown: tuple[Path, str], run: Run, zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = TinyEncoder()
    monkeypatch.setattr(encoders, "load_encoder", lambda model=None: encoder)
    ran = run("demo", *LABELS, "--corpus", zoo, "--path", shown[0], "--json")
    assert ran.code == 0
    assert ran.json["collection_reused"] is True
    assert [one["reused"] for one in ran.json["instructions"]] == [True, True]
    assert ran.json["same_ids"] is True
    assert ran.json["rows"] == 69
    assert ran.json["reencoding"]["measured_texts"] == 64
    second = run("demo", *LABELS, "--corpus", zoo, "--path", shown[0]).stdout
    assert "reused from an earlier run, nothing encoded" in second
    assert "Transform reused from an earlier run" in second


def test_adapted_hits_share_the_label_more_often(
    shown: tuple[Path, str], run: Run, zoo: Path
) -> None:
    ran = run(
        "demo", *LABELS, "--corpus", zoo, "--path", shown[0], "--label-key", "animal", "--json"
    )
    (asked,) = ran.json["instructions"]
    assert asked["matching"]["adapted"] == {"hits": 15, "of": 15}
    assert asked["matching"]["generic"]["hits"] <= 15


@pytest.mark.filterwarnings("ignore::instruct_embeddings.TransformWarning")
def test_without_labels_the_encoder_teaches(run: Run, zoo: Path, tmp_path: Path) -> None:
    asked = ["-i", "Which animal is it?", "-i", "How does it feel?"]
    ran = run("demo", "--corpus", zoo, *asked, "--path", tmp_path / "demo", "--json")
    assert ran.code == 0, ran.stderr
    assert ran.json["guide"] == "encoder"
    assert [one["instruction"] for one in ran.json["instructions"]] == asked[1::2]
    assert [one["label_key"] for one in ran.json["instructions"]] == [None, None]
    assert ran.json["same_ids"] is True
    assert ran.json["explanation"]["instruction"] == asked[1]
    assert Path(ran.json["picture"]).read_bytes().startswith(b"\x89PNG")
    refused = run("demo", *LABELS, "--corpus", zoo, *asked, "--path", tmp_path / "demo")
    assert refused.code == 1
    assert "--guide labels needs labels" in refused.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("real_encoder")
def test_the_demo_on_real_weights(run: Run, tmp_path: Path) -> None:
    ran = run("demo", "--path", tmp_path / "demo", "--json")
    assert ran.code == 0
    assert (ran.json["rows"], ran.json["same_ids"]) == (480, True)
    assert len(ran.json["instructions"]) == 3
    assert ran.json["guide"] == "encoder"
    for asked in ran.json["instructions"]:
        assert asked["report"]["adapted"] > asked["report"]["generic"] + 0.05
    marks = [asked["matching"] for asked in ran.json["instructions"]]
    hits = {side: sum(one[side]["hits"] for one in marks) for side in ("generic", "adapted")}
    assert hits["adapted"] > hits["generic"]
