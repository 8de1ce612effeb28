"""Candidates reordered by constraints."""

import numpy as np
import pytest

from instruct_embeddings.retrieval.constraints import Constraint, Direction, Kind, obey

# Two axes that cross: how close to the query (first), and whether it is about games (second).
DOCUMENTS = np.array(
    [[0.8, 0.6, 0.0], [0.8, 0.0, 0.6], [0.6, 0.8, 0.0], [0.6, 0.0, 0.8]] * 3, dtype=np.float32
)
SCORES = DOCUMENTS[:, 0].copy()
GAMES = np.array([0.0, 1.0, 0.0], dtype=np.float32)
IS_GAME = DOCUMENTS[:, 1] > 0


def direction(kind: Kind, vector: "np.ndarray" = GAMES) -> Direction:
    return Direction(Constraint(kind, "games"), vector)


@pytest.mark.parametrize("kind", ["only", "prefer"])
def test_what_is_wanted_comes_first(kind: Kind) -> None:
    order = np.argsort(-obey(SCORES, DOCUMENTS, [direction(kind)]), kind="stable")
    assert IS_GAME[order[:6]].all()
    # Among those, the topic decides as before.
    assert (SCORES[order[:3]] > SCORES[order[3:6]]).all()


def test_what_is_not_wanted_comes_last() -> None:
    order = np.argsort(-obey(SCORES, DOCUMENTS, [direction("no")]), kind="stable")
    assert not IS_GAME[order[:6]].any()
    assert (SCORES[order[:3]] > SCORES[order[3:6]]).all()


def test_what_is_not_wanted_raises_nothing() -> None:
    assert (obey(SCORES, DOCUMENTS, [direction("no")]) <= SCORES + 1e-6).all()


def test_what_no_candidate_speaks_of_changes_nothing() -> None:
    strange = np.array([0.1, 0.1, -0.99], dtype=np.float32)
    for kind in ("only", "no", "prefer"):
        same = obey(SCORES, np.abs(DOCUMENTS), [direction(kind, strange)])  # type: ignore[arg-type]
        np.testing.assert_allclose(same, SCORES, atol=1e-6)


def test_a_constraint_that_repeats_the_query_changes_no_order() -> None:
    query = np.array([1.0, 0.0, 0.0], dtype=np.float32)
    found = obey(SCORES, DOCUMENTS, [direction("no", query)])
    np.testing.assert_allclose(found, SCORES, atol=1e-5)


def test_one_candidate_or_none_stays() -> None:
    for count in (0, 1):
        same = obey(SCORES[:count], DOCUMENTS[:count], [direction("only")])
        np.testing.assert_array_equal(same, SCORES[:count])
