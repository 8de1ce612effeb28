"""Judges of graded skill, ways to move a query, and what their figures come to."""

import sys
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import (
    environment,
    judge,
    judge_cost,
    judge_grid,
    judge_judges,
    judge_moves,
    judge_page,
    judge_sets,
    judge_summary,
)
from benchmarks.judge_contestants import (
    GENERIC,
    INSTANT,
    REFINED,
    RERANKED,
    TWICE,
    measure_set,
    until_untrusted,
)
from benchmarks.judge_judges import ENCODER, GUESS, TRUTH, WORDS, GuessingJudge, TruthJudge
from benchmarks.judge_moves import RIDGE
from benchmarks.report import tabulate
from instruct_embeddings.testing import TinyEncoder
from instruct_embeddings.transform.vectors import unit_rows
from tests.movers import TinyInstant

COLOURS, SHAPES, OWNERS = ("red", "blue", "green"), ("cup", "hat", "ball", "key"), range(12)
INSTRUCTION = "What colour is it?"


@pytest.fixture(scope="module")
def toys() -> judge_sets.JudgedSet:
    """Toys; those of its colour answer a toy, which does not answer itself."""
    kinds = list(product(COLOURS, SHAPES, OWNERS))
    texts = tuple(f"{colour} {shape} of owner{owner}" for colour, shape, owner in kinds)
    vectors = TinyEncoder().encode(texts)
    queries = tuple(
        judge_sets.JudgedQuery(
            texts[row],
            INSTRUCTION,
            vectors[row],
            frozenset(str(i) for i, kind in enumerate(kinds) if kind[0] == kinds[row][0])
            - {str(row)},
            frozenset({str(row)}),
            row,
        )
        for row in range(0, len(texts), 12)
    )
    return judge_sets.JudgedSet("toys", "labels", texts, vectors, queries)


@pytest.fixture(scope="module")
def candidates() -> tuple[Any, Any, Any]:
    """A query, twenty candidates, and which of them are relevant."""
    rng = np.random.default_rng(0)
    relevance = (np.arange(20) % 3 == 0).astype(np.float32)
    rows = rng.normal(size=(20, 16)) + 0.8 * np.outer(relevance, np.eye(16)[1])
    return unit_rows(rng.normal(size=(1, 16)))[0], unit_rows(rows), relevance


def test_recall_counts_no_more_answers_than_could_be_found() -> None:
    relevant = frozenset(str(number) for number in range(200))
    assert judge_sets.figures([str(number) for number in range(100)], relevant) == (
        pytest.approx(1),
        1,
    )
    half = [str(number) for pair in zip(range(50), range(300, 350), strict=True) for number in pair]
    ndcg, recall = judge_sets.figures(half, relevant)
    assert recall == 0.5
    assert 0.5 < ndcg < 0.7
    assert judge_sets.figures(["x", "a"], frozenset("a")) == (pytest.approx(1 / np.log2(3)), 1.0)


def test_what_is_hidden_is_not_found_and_its_place_is_filled(toys: judge_sets.JudgedSet) -> None:
    collection = judge_sets.HidingCollection(toys.vectors, texts=toys.documents, name="toys")
    whole = collection.search(toys.vectors[3], k=6, vectors=True)
    collection.hidden = frozenset({"3", whole.ids[2]})
    found = collection.search(toys.vectors[3], k=4, vectors=True)
    assert found.ids == tuple(row for row in whole.ids if row not in collection.hidden)
    np.testing.assert_array_equal(found.vectors, toys.vectors[[int(row) for row in found.ids]])


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3])
def test_a_share_of_verdicts_is_flipped_and_always_the_same(
    toys: judge_sets.JudgedSet, noise: float
) -> None:
    knows, errs = TruthJudge.of(toys), TruthJudge.of(toys, noise)
    wrong = []
    for query in toys.queries:
        said, true = (
            each.relevance(query.text, INSTRUCTION, toys.documents) for each in (errs, knows)
        )
        assert said[::-1] == errs.relevance(query.text, INSTRUCTION, toys.documents[::-1])
        wrong += [one != other for one, other in zip(said, true, strict=True)]
    assert np.mean(wrong) == pytest.approx(noise, abs=0.04)


def test_who_knows_the_answers_says_them(toys: judge_sets.JudgedSet) -> None:
    said = TruthJudge.of(toys).relevance(toys.queries[0].text, INSTRUCTION, toys.documents)
    assert {str(row) for row in np.flatnonzero(said)} == toys.queries[0].relevant


def test_guesses_are_uniform_and_differ_by_query() -> None:
    texts = [f"text {number}" for number in range(500)]
    one, other = (GuessingJudge().relevance(query, None, texts) for query in ("a", "b"))
    assert np.mean(one) == pytest.approx(0.5, abs=0.05)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.15


def test_words_in_common_are_marks_and_no_probabilities() -> None:
    texts = ["red cup", "blue hat", "green cup"]
    marks = judge_judges.WordJudge(texts).relevance("cup", "Which red one?", texts)
    assert marks[0] > marks[2] > 1 > marks[1] == 0


@pytest.mark.parametrize("name", judge_moves.moves())
def test_every_way_moves_towards_what_is_relevant(name: str, candidates: Any) -> None:
    query, documents, relevance = candidates
    moved = judge_moves.moves()[name](query, documents, relevance)
    assert np.linalg.norm(moved) == pytest.approx(1, abs=1e-5)

    def apart(vector: Any) -> float:
        cosines = documents @ vector
        return float(cosines[relevance > 0.5].mean() - cosines[relevance < 0.5].mean())

    assert apart(moved) > apart(query) + 0.01


def test_newton_steps_reach_the_minimum(candidates: Any) -> None:
    """No small step from there makes divergence and length together smaller."""
    query, documents, relevance = (np.asarray(each, dtype=np.float64) for each in candidates)
    wanted = judge_moves._softmax(relevance / judge_moves._TEACHER)

    def loss(weights: Any) -> float:
        have = judge_moves._softmax(
            documents @ (query + documents.T @ weights) / judge_moves._STUDENT
        )
        stay = 0.5 * judge_moves._STAY * weights @ (documents @ documents.T) @ weights
        return float(wanted @ np.log(wanted / have) * judge_moves._STUDENT + stay)

    found = judge_moves._minimum(documents, documents @ query, wanted)
    rng = np.random.default_rng(0)
    for step in 1e-3 * rng.normal(size=(20, 20)):
        assert loss(found) < loss(found + step)


@pytest.fixture(scope="module")
def measured(toys: judge_sets.JudgedSet) -> Any:
    judges = judge.judges(toys, GuessingJudge(1), seed=0)  # type: ignore[arg-type]
    ways = {RIDGE: judge_moves.ridge, judge_moves.ADAM: judge_moves.adam_published}
    return measure_set(toys, judges, None, ways, TinyInstant(), {ENCODER}, 5)


def test_every_judge_and_method_is_measured(measured: Any) -> None:
    asked = len(measured.own.queries)
    for name in (TRUTH, GUESS, WORDS):
        for method in (RERANKED, REFINED, TWICE):
            assert len(measured.outcomes[name, method].ndcg) == asked
    assert (ENCODER, TWICE) not in measured.outcomes
    assert len(measured.outcomes[TRUTH, RIDGE].ms) == 5
    first, reranked, refined = (
        np.mean(measured.outcomes[key].ndcg)
        for key in (("", INSTANT), (TRUTH, RERANKED), (TRUTH, REFINED))
    )
    assert first < reranked <= refined
    assert np.mean(measured.outcomes["", GENERIC].ndcg) < 1


def test_the_verdicts_are_those_of_the_product(measured: Any) -> None:
    """No candidate is the query itself, and the truth is what answers."""
    for query, case in zip(measured.own.queries, measured.cases, strict=True):
        assert len(case.rows) == 20
        assert not {str(row) for row in case.rows} & query.itself
        np.testing.assert_array_equal(case.verdicts[TRUTH] > 0.5, case.relevant[case.rows])


def test_a_guessing_judge_is_found_out(measured: Any) -> None:
    asked, lost = until_untrusted(measured)
    assert asked is None or 0 < asked <= len(measured.own.queries)
    assert abs(lost) < 1


def test_the_grid_ranks_as_the_product_does(measured: Any) -> None:
    """The setting of the package reaches about what the package reaches."""
    found = judge_grid.grid_of(measured)
    assert sum(map(judge_grid.is_product, found)) == 2
    ours = found[judge_grid.PRODUCT.name()]
    for name in (TRUTH, GUESS):
        outcome = measured.outcomes[name, REFINED]
        assert ours[name] == pytest.approx(
            [np.mean(outcome.ndcg), np.mean(outcome.recall)], abs=2e-3
        )
    rows = judge_grid.summarise([found, found, found])
    assert rows[0]["chosen on"] == rows[0]["apart"]


def test_tables_say_what_was_missed(
    measured: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ways = [RIDGE, judge_moves.ADAM]
    environments = {"environment": {"seed": 0}}
    cost = {"median": 3.0, "p95": 4.0}
    results: dict[str, Any] = {
        "quality": {
            **environments,
            "remark": "Both cores were busy.",
            "sizes": {"queries": 12, "compared": 5},
            "models": {"generic": "a"},
            "sets": [{"set": "toys"}],
            "overall": judge_summary.overall([measured, measured], 0),
            "by set": judge_summary.by_set(measured, 0),
            "moves": judge_summary.moves([measured], ways),
            "skill": judge_summary.skill([measured]),
            "grid": judge_grid.summarise([judge_grid.grid_of(measured)]),
        },
        "cost": {
            **environments,
            "rows": [
                {
                    "n": 1000,
                    "ranked by": "instant query",
                    **dict.fromkeys((judge_cost.PLAIN, judge_cost.FIRST, judge_cost.INDEX), cost),
                    judge_cost.REFINEMENT: {"median": 30.0, "p95": 40.0},
                }
            ],
        },
    }
    results["goals"] = judge_summary.goals(results)
    assert [goal["met"] for goal in results["goals"]][-1] is False
    monkeypatch.setattr(environment, "RESULTS", tmp_path)
    assert judge_page.section(tabulate, lambda known: f"Seed {known['seed']}.") == []
    assert judge_page.figures() == []
    environment.save("judge", results)
    assert "one who guesses changes nDCG@10 by" in judge_page.figures()[0]
    page = "\n\n".join(judge_page.section(tabulate, lambda known: f"Seed {known['seed']}."))
    assert "| 30.0 ms | MISSED |" in page
    assert "**Both cores were busy.**" in page
    assert "Cost, measured apart: Seed 0." in page
    assert "| 1,000 | instant query | 3.0 (4.0) | 3.0 (4.0) | 3.0 (4.0) | 30.0 (40.0) |" in page
    assert f"{judge_grid.PRODUCT.name()} (ours)" in page


def test_a_quick_run_keeps_nothing(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    toys: judge_sets.JudgedSet,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From the command line to the tables, on toys and without weights."""
    kept = SimpleNamespace(name="tiny", read=lambda texts, instruction: None)
    models = SimpleNamespace(from_pretrained=lambda *given: TinyInstant())
    monkeypatch.setattr(environment, "RESULTS", tmp_path)
    monkeypatch.setattr(judge, "load_judged", lambda *given: iter([toys]))
    monkeypatch.setattr(judge, "InstructEncoder", models)
    monkeypatch.setattr(judge, "RememberingInstant", models)
    monkeypatch.setattr(judge, "encoder_judge", lambda: (GuessingJudge(1), kept))
    monkeypatch.setattr(sys, "argv", ["judge", "--data", "x", "--quick", "--parts", "quality"])
    judge.main()
    assert "means over sets" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
