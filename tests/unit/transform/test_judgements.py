"""Toys again: a user asks for toys of one colour, and judges what the search finds."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import GuideError
from instruct_embeddings.supervision import Pairs
from instruct_embeddings.transform import InstructionTransform, QueryTransform, judgements
from instruct_embeddings.transform.judgements import (
    PENALTY,
    Feedback,
    Metric,
    calibrate,
    find_couples,
    low_rank,
    pair_kernel,
    pair_scores,
    predict_for_new_queries,
    predict_left_out,
    refine,
    ridge_inverse,
)
from instruct_embeddings.transform.store import from_bytes, to_bytes
from instruct_embeddings.transform.vectors import unit_rows
from tests.unit.conftest import INFO, Toys, hand_made, make_toys, small_rows

NONE = np.zeros((1, 16), dtype=np.float32)
GENERIC = hand_made(
    collection=INFO,
    query=QueryTransform(1.0, NONE, np.zeros(1, dtype=np.float32), NONE, "linear"),
    mix=0.0,
)


def judged(toys: Toys, queries: int, each: int, seed: int = 0) -> Pairs:
    """The best `each` other toys of some queries, relevant if the colour is the same."""
    rng = np.random.default_rng(seed)
    asked = np.repeat(rng.permutation(len(toys.vectors))[:queries], each)
    scores = toys.vectors @ toys.vectors.T - 9 * np.eye(len(toys.vectors))
    found = np.argsort(-scores[asked[::each]], axis=1)[:, :each].ravel()
    colours = np.array(toys.colours)
    return Pairs(toys.vectors[asked], toys.vectors[found], colours[asked] == colours[found])


def precision(transform: InstructionTransform, queries: FloatArray, asked: Toys, of: Toys) -> float:
    scores = transform.query.fold(queries) @ of.vectors.T
    best = np.argsort(-scores, axis=1)[:, :10]
    return float((np.array(of.colours)[best] == np.array(asked.colours)[:, None]).mean())


@pytest.fixture(scope="module")
def others() -> Toys:
    return make_toys(200, seed=1)


def test_twenty_judgements_improve_what_the_judged_queries_find(toys: Toys, others: Toys) -> None:
    known = judged(toys, queries=4, each=5)
    better = refine(GENERIC, known)
    report = better.report.judgements
    assert report is not None
    assert (report.judged, report.queries, report.used) == (20, 4, True)
    asked = np.unique(known.queries, axis=0)
    places = [int((toys.vectors == row).all(axis=1).argmax()) for row in asked]
    few = Toys(asked, [toys.colours[i] for i in places], [toys.shapes[i] for i in places])
    before = precision(GENERIC, asked, few, others)
    assert precision(better, asked, few, others) > before + 0.1


def test_hundreds_of_judgements_improve_other_queries_too(toys: Toys, others: Toys) -> None:
    better = refine(GENERIC, judged(toys, queries=60, each=10))
    report = better.report.judgements
    assert report is not None
    assert report.everywhere
    assert report.generic == pytest.approx(report.before)
    assert report.new_queries > report.before + 0.05
    before = precision(GENERIC, others.vectors, others, others)
    assert precision(better, others.vectors, others, others) > before + 0.05


def test_the_figures_are_of_judgements_that_were_held_out(toys: Toys) -> None:
    """Judgements by tossing a coin: what was learned orders them, what is held out does not."""
    rng = np.random.default_rng(5)
    known = judged(toys, queries=40, each=8)
    known = replace(known, relevant=rng.random(320) < 0.5)
    feedback = Feedback.of(GENERIC, known)
    trial = feedback.attempt(True)
    base = replace(GENERIC.query, correction=feedback.correction(trial))
    learned = pair_scores(replace(GENERIC, query=base), known, feedback.groups)
    before = float(feedback.by_query(feedback.scores[feedback.couples]).mean())
    assert float(feedback.by_query(learned[feedback.couples]).mean()) > before + 0.3
    assert abs(float(trial.same.mean())) < 0.1
    assert abs(float(trial.new.mean())) < 0.1


def test_judgements_that_contradict_themselves_change_nothing(toys: Toys) -> None:
    """The same documents are judged the other way round for the same queries, again and again."""
    once = judged(toys, queries=6, each=6)
    twice = Pairs(
        np.vstack([once.queries, once.queries]),
        np.vstack([once.documents, once.documents]),
        np.concatenate([once.relevant, ~once.relevant]),
    )
    once_moved, twice_moved = (
        np.abs(refine(GENERIC, one).query.fold(toys.vectors) - toys.vectors).max()
        for one in (once, twice)
    )
    assert twice_moved < 0.1 < once_moved


def test_a_transform_that_is_not_corrected_stays_as_it_was(
    toys: Toys, by_colour: InstructionTransform
) -> None:
    """Judgements by drawing lots, which help held-out ones by chance only, half of the times."""
    rng = np.random.default_rng(0)
    known = judged(toys, queries=30, each=6)
    lots = [replace(known, relevant=rng.permutation(known.relevant)) for _ in range(6)]
    results = [refine(by_colour, one) for one in lots]
    kept = [one for one in results if one.report.judgements and not one.report.judgements.used]
    assert len(kept) >= 2
    assert all(one.query == by_colour.query for one in kept)
    assert all("kept as it was" in str(one.report) for one in kept)


def test_the_guide_and_nothing_else_changes(toys: Toys, by_colour: InstructionTransform) -> None:
    better = refine(by_colour, judged(toys, 4, 5), guide="judgements:1:metadata:colour")
    assert better.guide == "judgements:1:metadata:colour"
    assert better.key != by_colour.key
    assert refine(by_colour, judged(toys, 4, 5)).guide == by_colour.guide
    assert (better.space, better.mix, better.norms) == (
        by_colour.space,
        by_colour.mix,
        by_colour.norms,
    )
    assert replace(better.report, judgements=None) == by_colour.report


def test_corrections_add_up(toys: Toys) -> None:
    """Ten queries in two rounds; the second round sees what the first one left to do."""
    first, second = judged(toys, 5, 8, seed=1), judged(toys, 5, 8, seed=2)
    once = refine(GENERIC, first)
    twice = refine(once, second)
    assert twice.report.judgements is not None
    assert twice.report.judgements.used
    assert once.query.correction is not None
    assert twice.query.correction is not None
    assert len(once.query.correction.queries) == 5
    assert len(twice.query.correction.queries) == 10
    alone = Feedback.of(once, second)
    step = alone.correction(alone.attempt(twice.report.judgements.everywhere))
    expected = once.query.correction.move(toys.vectors) + step.move(toys.vectors)
    np.testing.assert_allclose(twice.query.correction.move(toys.vectors), expected, atol=1e-4)


def test_a_corrected_transform_can_be_stored(toys: Toys, by_colour: InstructionTransform) -> None:
    better = refine(by_colour, judged(toys, 6, 8))
    back = from_bytes(to_bytes(better))
    assert to_bytes(back) == to_bytes(better)
    assert back.report == better.report
    np.testing.assert_array_equal(
        back.score(toys.vectors[:1], toys.vectors), better.score(toys.vectors[:1], toys.vectors)
    )


def test_the_same_judgements_give_the_same_correction(toys: Toys) -> None:
    known = judged(toys, 8, 50)  # more couples than are looked at
    first, again = (replace(refine(GENERIC, known), created="") for _ in range(2))
    assert to_bytes(first) == to_bytes(again)


def test_the_learned_move_adds_the_kernel_to_the_score(toys: Toys) -> None:
    """What is added to the score of a judged pair is its similarities times the coefficients."""
    known = judged(toys, 4, 5)
    feedback = Feedback.of(GENERIC, known)
    for everywhere in (True, False):
        trial = feedback.attempt(everywhere)
        moves = feedback.correction(trial).move(known.queries)
        added = (moves * known.documents).sum(axis=1)
        kernel = pair_kernel(known, feedback.metric, everywhere)
        np.testing.assert_allclose(added, kernel @ trial.coefficients, atol=1e-4)


def test_only_the_last_judgements_count_where_there_are_many(
    toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = judged(toys, 8, 5)
    last = Pairs(many.queries[-20:], many.documents[-20:], many.relevant[-20:])
    monkeypatch.setattr(judgements, "MAX_PAIRS", 20)
    few, all_of_them = (replace(refine(GENERIC, one), created="") for one in (last, many))
    assert to_bytes(few) == to_bytes(all_of_them)


def test_moves_of_the_last_queries_are_kept(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judgements, "MAX_QUERIES", 6)
    once = refine(GENERIC, judged(toys, 5, 8, seed=1))
    twice = refine(once, judged(toys, 5, 8, seed=2))
    assert twice.report.judgements is not None
    assert twice.report.judgements.used
    assert once.query.correction is not None
    assert twice.query.correction is not None
    assert len(twice.query.correction.queries) == 6
    np.testing.assert_array_equal(
        twice.query.correction.queries[0], once.query.correction.queries[-1]
    )


@pytest.mark.parametrize("relevant", [[True] * 4, [False] * 4, [True, False, False, False]])
def test_two_judgements_of_each_kind_are_needed(toys: Toys, relevant: list[bool]) -> None:
    pairs = Pairs(toys.vectors[:4], toys.vectors[4:8], np.array(relevant))
    with pytest.raises(GuideError, match="at least two relevant and two irrelevant"):
        refine(GENERIC, pairs)


def test_pairs_of_another_model_are_refused(toys: Toys) -> None:
    pairs = Pairs(toys.vectors[:4, :8], toys.vectors[4:8, :8], np.array([True, True, False, False]))
    with pytest.raises(GuideError, match=r"8 dimensions, the transform of 'toys' has 16"):
        refine(GENERIC, pairs)


def test_one_judgement_for_each_of_four_queries_is_enough_to_run(toys: Toys) -> None:
    pairs = Pairs(toys.vectors[:4], toys.vectors[4:8], np.array([True, True, False, False]))
    report = refine(GENERIC, pairs).report.judgements
    assert report is not None
    assert report.queries == 4
    assert report.same_queries == report.new_queries


def test_calibration_has_the_share_of_relevant_pairs() -> None:
    """Three of four pairs with the same score are relevant: c is nearly log 3 - 10 s."""
    likely = calibrate(np.full(400, 0.7), np.arange(400) < 300)
    np.testing.assert_allclose(likely, 0.75, atol=0.01)


def test_calibration_is_larger_for_larger_scores() -> None:
    likely = calibrate(np.array([-1.0, 0.1, 0.2, 1.0]), np.array([False, True, False, True]))
    assert (np.diff(likely) > 0).all()
    assert likely[2] / (1 - likely[2]) == pytest.approx(np.e * likely[1] / (1 - likely[1]))


def test_low_rank_keeps_the_largest_weights_of_either_sign() -> None:
    form = np.diag([1.0, -3.0, 2.0]).astype(np.float32)
    axes, weights = low_rank(form, 2)
    assert weights.tolist() == pytest.approx([-3, 2])
    np.testing.assert_allclose(np.abs(axes), [[0, 1, 0], [0, 0, 1]], atol=1e-6)


def test_low_rank_of_nothing_is_nothing() -> None:
    axes, weights = low_rank(np.zeros((3, 3), dtype=np.float32), 2)
    assert axes.shape == (0, 3)
    assert weights.shape == (0,)


@given(rows=small_rows(3, 3))
def test_a_form_of_full_rank_comes_back(rows: FloatArray) -> None:
    form = rows + rows.T
    axes, weights = low_rank(form, 3)
    np.testing.assert_allclose((axes.T * weights) @ axes, form, atol=1e-3)
    np.testing.assert_allclose(axes @ axes.T, np.eye(len(axes)), atol=1e-5)


FLAT = Metric(np.zeros((1, 2), dtype=np.float32), 0.0)
SEVERAL = small_rows(5, 3).map(unit_rows)


def pairs(queries: object, documents: object) -> Pairs:
    return Pairs(
        unit_rows(np.asarray(queries)),
        unit_rows(np.asarray(documents)),
        np.ones(len(np.asarray(queries)), dtype=np.bool_),
    )


def test_without_directions_documents_are_compared_as_stored() -> None:
    vectors = np.array([[0.6, 0.8]], dtype=np.float32)
    np.testing.assert_array_equal(FLAT.lift(vectors), vectors)
    assert Metric.of(np.zeros((1, 2), dtype=np.float32), vectors).square == 0


def test_half_of_the_comparison_is_what_the_transform_sees() -> None:
    """D looks at the first coordinate, of 0.6 and -1 here: the mean square is (0.36 + 1) / 2."""
    directions = np.array([[3, 0]], dtype=np.float32)
    documents = np.array([[0.6, 0.8], [-1, 0]], dtype=np.float32)
    metric = Metric.of(directions, documents)
    assert metric.square == pytest.approx(9 * 0.68)
    inner = metric.lift(documents) @ documents.T
    assert inner[0, 0] == pytest.approx((1 + 0.36 / 0.68) / 2)
    assert inner[0, 1] == pytest.approx((-0.6 - 0.6 / 0.68) / 2)


def test_near_pairs_are_alike_if_both_sides_are() -> None:
    """Queries at right angles are alike to exp(-4); documents by their cosine, 0.6."""
    kernel = pair_kernel(pairs([[1, 0], [1, 0], [0, 1]], [[1, 0], [3, 4], [1, 0]]), FLAT, False)
    far = np.exp(-4)
    expected = [[1, 0.6, far], [0.6, 1, 0.6 * far], [far, 0.6 * far, 1]]
    np.testing.assert_allclose(kernel, expected, atol=1e-6)


def test_everywhere_also_compares_by_cosines_and_with_sides_swapped() -> None:
    """The second pair is the first with its sides swapped: 0.6 * 0.6 and 1 * 1, halved."""
    kernel = pair_kernel(pairs([[1, 0], [3, 4]], [[3, 4], [1, 0]]), FLAT, True)
    near = np.exp(4 * (0.6 - 1))
    assert kernel[0, 1] == pytest.approx(near * 0.6 + (0.36 + 1) / 2)
    assert kernel[0, 0] == pytest.approx(1 + (1 + 0.36) / 2)


@given(queries=SEVERAL, documents=SEVERAL, directions=small_rows(2, 3), everywhere=st.booleans())
def test_kernels_are_symmetric_and_positive(
    queries: FloatArray, documents: FloatArray, directions: FloatArray, everywhere: bool
) -> None:
    kernel = pair_kernel(pairs(queries, documents), Metric.of(directions, documents), everywhere)
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-5)
    assert np.linalg.eigvalsh(kernel).min() > -1e-4


@given(
    queries=SEVERAL,
    documents=SEVERAL,
    values=st.lists(st.integers(-3, 3), min_size=5, max_size=5),
    rows=st.sets(st.integers(0, 4), min_size=1, max_size=4).map(sorted),
)
def test_left_out_predictions_are_those_of_a_regression_on_the_others(
    queries: FloatArray, documents: FloatArray, values: list[int], rows: list[int]
) -> None:
    kernel = pair_kernel(pairs(queries, documents), FLAT_3, True)
    found = predict_left_out(ridge_inverse(kernel), np.array(values, float), np.array(rows))
    others = np.setdiff1d(np.arange(5), rows)
    system = kernel[np.ix_(others, others)] + PENALTY * np.eye(len(others))
    expected = kernel[np.ix_(rows, others)] @ np.linalg.solve(system, np.array(values)[others])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


FLAT_3 = Metric(np.zeros((1, 3), dtype=np.float32), 0.0)


def test_couples_are_of_one_query_where_one_was_judged_both_ways() -> None:
    relevant = np.array([True, False, True, True, False])
    groups = np.array([0, 0, 0, 1, 2])
    assert find_couples(relevant, groups, 0).tolist() == [[0, 1], [2, 1]]


def test_couples_are_of_any_queries_where_none_was_judged_both_ways() -> None:
    relevant, groups = np.array([True, False, True]), np.array([0, 1, 2])
    assert find_couples(relevant, groups, 0).tolist() == [[0, 1], [2, 1]]


def test_a_thousand_couples_are_enough() -> None:
    relevant = np.arange(100) < 50
    chosen = find_couples(relevant, np.zeros(100, dtype=np.int64), 0)
    assert len(chosen) == len(np.unique(chosen, axis=0)) == 1000
    assert relevant[chosen[:, 0]].all()
    assert not relevant[chosen[:, 1]].any()
    np.testing.assert_array_equal(chosen, find_couples(relevant, np.zeros(100, dtype=np.int64), 0))
    assert not np.array_equal(chosen, find_couples(relevant, np.zeros(100, dtype=np.int64), 1))


def test_couples_are_predicted_without_themselves_or_without_their_queries() -> None:
    rng = np.random.default_rng(0)
    judged = pairs(rng.standard_normal((6, 3)), rng.standard_normal((6, 3)))
    inverse = ridge_inverse(pair_kernel(judged, FLAT_3, True))
    values, groups = rng.standard_normal(6), np.array([0, 0, 0, 1, 1, 2])
    found = np.array([[0, 1], [3, 5]])
    same = predict_left_out(inverse, values, found)
    np.testing.assert_allclose(same[0], predict_left_out(inverse, values, np.array([0, 1])))
    new = predict_for_new_queries(inverse, values, found, groups)
    np.testing.assert_allclose(new[0], predict_left_out(inverse, values, np.arange(3))[:2])
    last = predict_left_out(inverse, values, np.array([3, 4, 5]))
    np.testing.assert_allclose(new[1], last[[0, 2]])
