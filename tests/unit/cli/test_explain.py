from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run

At = Callable[..., list[str]]
QUESTION = "Which animal is it?"


def test_results_that_moved_are_told_with_their_labels(run: Run, farm: Path, at: At) -> None:
    # The query shares more words with sad rows than with dogs.
    ran = run("explain", "sad sad dog", *at(farm), "-i", QUESTION, "-k", 12, "--json")
    assert ran.code == 0
    assert (ran.json["instruction"], ran.json["query_category"]) == (QUESTION, "dog")
    hits = ran.json["hits"]
    now = [hit for hit in hits if hit["adapted_rank"] is not None and hit["adapted_rank"] <= 12]
    assert [hit["adapted_rank"] for hit in now] == list(range(1, 13))
    assert {hit["id"].split("-")[0] for hit in now} == {"dog"}
    assert {hit["category"] for hit in now} == {"dog"}
    gone = hits[12:]
    assert gone
    assert all(hit["generic_rank"] <= 12 < hit["adapted_rank"] for hit in gone)


def test_categories_are_counted(run: Run, farm: Path, at: At) -> None:
    ran = run("explain", "dog", *at(farm), "-i", QUESTION, "--json")
    counts = {category["name"]: category["count"] for category in ran.json["categories"]}
    assert counts == {"cat": 24, "dog": 24, "horse": 24}
    for category in ran.json["categories"]:
        assert category["words"][0] == category["name"]
        assert all(category["name"] in text for text in category["texts"])
        assert len(category["texts"]) == 3
    assert (ran.json["rows"], ran.json["picture"]) == (72, None)


def test_a_reader_gets_tables(run: Run, farm: Path, at: At) -> None:
    ran = run("explain", "sad sad dog", *at(farm), "-i", QUESTION, "-k", 3)
    assert ran.code == 0
    lines = ran.stdout.splitlines()
    assert lines[0] == f'"{QUESTION}"'
    assert "precision@10 on held-out rows" in ran.stdout
    assert "72 sampled rows by the label they are taken for" in ran.stdout
    assert any(line.split()[:3] == ["dog", "24", "33%"] for line in lines)
    assert any(line.startswith("taken for: dog") for line in lines)
    assert "3 of the 3 under the instruction" in lines[-1]


def test_the_map_is_drawn_into_a_file(run: Run, farm: Path, at: At, tmp_path: Path) -> None:
    file = tmp_path / "map.png"
    call = ["explain", "dog", *at(farm), "-i", QUESTION, "--sample", 20]
    ran = run(*call, "--png", file)
    assert ran.code == 0
    assert file.read_bytes()[:4] == b"\x89PNG"
    assert f"The map is in {file}" in ran.stdout.replace("\n", "")
    assert run(*call, "--png", file, "--json").json["picture"] == str(file)


def test_another_kind_of_file_is_refused_at_once(
    run: Run, farm: Path, at: At, tmp_path: Path
) -> None:
    ran = run("explain", "dog", *at(farm), "-i", "Unknown?", "--png", tmp_path / "map.gif")
    assert (ran.code, ran.stdout) == (1, "")
    assert ".png, .svg, .pdf are allowed" in ran.stderr


def test_a_filter_holds_for_the_results(run: Run, farm: Path, at: At) -> None:
    where = '{"animal": "cat"}'
    ran = run("explain", "dog", *at(farm), "-i", QUESTION, "--where", where, "--exact", "--json")
    assert {hit["id"].split("-")[0] for hit in ran.json["hits"]} == {"cat"}
    assert len(ran.json["categories"]) == 3


def test_an_instruction_that_is_not_stored_says_how_to_fit_it(run: Run, farm: Path, at: At) -> None:
    ran = run("explain", "dog", *at(farm), "--instruction", "How does it feel?", "--fitted")
    assert (ran.code, ran.stdout) == (1, "")
    assert 'instruct-embeddings adapt "How does it feel?" --store' in ran.stderr


def test_an_instruction_that_is_not_fitted_is_explained(run: Run, farm: Path, at: At) -> None:
    call = ["explain", "dog near house 3", *at(farm), "-i", "No sad animals.", "-k", 6]
    ran = run(*call, "--json")
    assert (ran.code, ran.json["ranked_by"], ran.json["report"]) == (0, "instant", None)
    [reading] = ran.json["constraints"]
    assert reading["constraint"] == {"kind": "no", "phrase": "sad animals"}
    assert reading["proposal"]["where"] == {"mood": {"$ne": "sad"}}
    assert reading["proposal"]["passing"] == 36
    lines = run(*call).stdout.splitlines()
    assert "answered by the instant query, without a fit" in lines
    assert '  {"mood": {"$ne": "sad"}}' in lines


def test_the_proposed_filter_is_one_of_the_command_line(run: Run, farm: Path, at: At) -> None:
    ran = run("query", "dog", *at(farm), "--where", '{"mood": {"$ne": "sad"}}', "--json")
    assert {hit["metadata"]["mood"] for hit in ran.json["generic"]} == {"happy"}


def test_what_is_not_fitted_has_no_map(run: Run, farm: Path, at: At, tmp_path: Path) -> None:
    ran = run("explain", "dog", *at(farm), "-i", "Unknown?", "--png", tmp_path / "map.png")
    assert (ran.code, ran.stdout) == (1, "")
    assert "no fitted transform answers it" in ran.stderr
    assert not (tmp_path / "map.png").exists()


def test_a_collection_of_another_model_is_refused(run: Run, farm: Path, at: At) -> None:
    ran = run("explain", "dog", *at(farm), "-i", QUESTION, "--model", "large")
    assert (ran.code, ran.stdout) == (1, "")
    assert "was filled by 'tiny'" in ran.stderr


@pytest.mark.parametrize(
    "extra",
    [
        [],
        ["-i", QUESTION, "-k", 0],
        ["-i", QUESTION, "--sample", 3],
        ["-i", QUESTION, "--where", "{"],
    ],
)
def test_usage_errors_exit_with_2(run: Run, farm: Path, at: At, extra: list[object]) -> None:
    assert run("explain", "dog", *at(farm), *extra).code == 2
