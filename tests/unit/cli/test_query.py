import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from chroma_instruct_embeddings.database import ChromaDatabase
from instruct_embeddings.cli.index import create
from tests.unit.cli.conftest import Run

At = Callable[..., list[str]]
QUESTION = "Which animal is it?"


def test_without_an_instruction_the_search_is_generic(run: Run, farm: Path, at: At) -> None:
    ran = run("query", "a happy dog", *at(farm), "--k", 3, "--json")
    assert ran.code == 0
    assert ran.json["adapted"] is None
    assert len(ran.json["generic"]) == 3
    assert not any(hit["adapted"] for hit in ran.json["generic"])


def test_an_instruction_ranks_by_its_aspect(run: Run, farm: Path, at: At) -> None:
    # The query shares more words with sad rows than with dogs.
    ran = run("query", "sad sad dog", *at(farm), "-k", 12, "--instruction", QUESTION, "--json")
    generic = [hit["metadata"]["animal"] for hit in ran.json["generic"]]
    adapted = [hit["metadata"]["animal"] for hit in ran.json["adapted"]]
    assert generic.count("dog") < 12
    assert adapted == ["dog"] * 12
    assert all(hit["adapted"] for hit in ran.json["adapted"])
    assert set(ran.json["seconds"]) == {"encode", "generic", "load_transform", "adapted"}


def test_blend_zero_gives_the_generic_order(run: Run, farm: Path, at: At) -> None:
    call = ["query", "sad dog 3", *at(farm), "-i", QUESTION, "--prefetch", 72, "--json"]
    ran = run(*call, "--blend", 0)
    assert [h["id"] for h in ran.json["adapted"]] == [h["id"] for h in ran.json["generic"]]


def test_a_filter_holds_on_both_sides(run: Run, farm: Path, at: At) -> None:
    where = json.dumps({"animal": "cat"})
    ran = run("query", "dog", *at(farm), "-i", QUESTION, "--where", where, "--exact", "--json")
    hits = ran.json["generic"] + ran.json["adapted"]
    assert len(hits) == 10
    assert {hit["metadata"]["animal"] for hit in hits} == {"cat"}


def test_a_filter_that_matches_nothing_gives_an_empty_table(run: Run, farm: Path, at: At) -> None:
    ran = run("query", "dog", *at(farm), "-i", QUESTION, "--where", '{"animal": "fish"}')
    assert ran.code == 0
    assert "generic" in ran.stdout


def test_both_lists_are_shown_side_by_side(run: Run, farm: Path, at: At) -> None:
    ran = run("query", "sad dog", *at(farm), "-i", QUESTION, "-k", 1)
    row = next(line for line in ran.stdout.splitlines() if "dog-sad" in line)
    assert row.count("The sad dog number") == 2


def test_an_instruction_that_is_not_stored_says_how_to_fit_it(run: Run, farm: Path, at: At) -> None:
    ran = run("query", "dog", *at(farm), "--instruction", "How does it feel?", "--fitted")
    assert (ran.code, ran.stdout) == (1, "")
    assert f'stored are: "{QUESTION}"' in ran.stderr
    assert 'instruct-embeddings adapt "How does it feel?" --store' in ran.stderr


def test_what_is_not_fitted_is_answered_by_the_instant_query(run: Run, farm: Path, at: At) -> None:
    call = ["query", "number 3", *at(farm), "-k", 4, "-i"]
    ran = run(*call, "Is it a horse?", "--json")
    assert (ran.code, ran.json["ranked_by"]) == (0, "instant")
    assert {hit["metadata"]["animal"] for hit in ran.json["adapted"]} == {"horse"}
    assert "Answered by the instant query" in run(*call, "Is it a horse?").stdout
    fitted = run(*call, QUESTION)
    assert "Answered by a fitted transform." in fitted.stdout
    assert run(*call, QUESTION, "--json").json["ranked_by"] == "fitted"


def test_without_an_instruction_nothing_is_said_to_have_answered(
    run: Run, farm: Path, at: At
) -> None:
    assert "Answered by" not in run("query", "dog", *at(farm)).stdout
    assert run("query", "dog", *at(farm), "--json").json["ranked_by"] is None


def test_a_damaged_transform_is_mentioned(run: Run, farm: Path, at: At, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(farm / "instruct-transforms", store)
    file = next(store.iterdir())
    file.write_bytes(file.read_bytes()[:100])
    call = ["query", "dog", *at(farm), "--instruction", QUESTION, "--transforms", store]
    assert run(*call, "--json").json["ranked_by"] == "instant"
    ran = run(*call, "--fitted")
    assert ran.code == 1
    assert "stored are: none, and 1 damaged" in ran.stderr


def test_a_collection_of_another_model_is_refused(run: Run, farm: Path, at: At) -> None:
    ran = run("query", "dog", *at(farm), "--model", "large")
    assert (ran.code, ran.stdout) == (1, "")
    assert "was filled by 'tiny'" in ran.stderr
    assert "'large' is about to be used" in ran.stderr


def test_prefetch_below_k_is_an_error(run: Run, farm: Path, at: At) -> None:
    ran = run("query", "dog", *at(farm), "-i", QUESTION, "-k", 5, "--prefetch", 4)
    assert ran.code == 1
    assert "prefetch" in ran.stderr


@pytest.mark.parametrize(
    "extra",
    [
        ["-k", 0],
        ["--blend", 2],
        ["--where", "{"],
        ["--where", "[]"],
        ["--where", '{"a": {"$x": 1}}'],
        ["--prefetch", 0],
    ],
)
def test_usage_errors_exit_with_2(run: Run, farm: Path, at: At, extra: list[object]) -> None:
    assert run("query", "dog", *at(farm), *extra).code == 2


def test_an_empty_collection_is_an_error(run: Run, tmp_path: Path, at: At) -> None:
    database = ChromaDatabase(f"chroma:{tmp_path}")
    database.client(create=True)
    create(database, "zoo", "tiny")
    for command in (["query", "dog"], ["adapt", QUESTION, "--metadata-key", "animal"]):
        ran = run(*command, *at(tmp_path))
        assert (ran.code, ran.stdout) == (1, "")
        assert "'zoo' holds 0 vectors" in ran.stderr


def test_a_missing_collection_names_those_that_exist(run: Run, farm: Path, at: At) -> None:
    ran = run("query", "dog", *at(farm, "circus"))
    assert ran.code == 1
    assert "It holds: zoo." in ran.stderr


def test_examples_say_what_an_instruction_means(run: Run, farm: Path, at: At) -> None:
    call = ["query", "sad sad dog", *at(farm), "-k", 8, "--exact", "-i", "How does it look?"]
    given = [f'["{query}", "happy happy cat", "sad dog"]' for query in ("sad cow", "sad pig", "a")]
    examples = [part for one in given for part in ("--example", one)]
    plain, taught = (run(*call, "--json", *more).json for more in ([], examples))
    happy = [
        sum(hit["metadata"]["mood"] == "happy" for hit in one["adapted"]) for one in (plain, taught)
    ]
    assert taught["ranked_by"] == "learned"
    assert happy[0] < happy[1]
    assert run("explain", *call[1:-5], "-i", "How?", *examples).code == 0


def test_what_is_no_example_is_refused(run: Run, farm: Path, at: At) -> None:
    call = ["query", "sad dog", *at(farm), "-i", "How does it look?"]
    assert "--example is a list such as" in run(*call, "--example", "sad | happy").stderr
    assert "An example is ['sad']" in run(*call, "--example", '["sad"]').stderr
    without = run("query", "sad dog", *at(farm), "--example", '["sad", "happy"]')
    assert "The instruction is empty" in without.stderr
