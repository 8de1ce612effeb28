"""Scores of rerankers that return the best texts only, or only their order."""

import numpy as np
import pytest

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.feedback import QueryForm, scores_of_ranked
from instruct_embeddings.feedback.regression import to_relevance


def test_an_order_alone_gives_ranks_and_those_left_out_share_the_ones_that_are_left() -> None:
    assert scores_of_ranked({2: None, 0: None}, 5) == [5.0, 3.0, 6.0, 3.0, 3.0]
    assert scores_of_ranked({0: None, 1: None}, 2) == [3.0, 2.0]


def test_an_order_is_never_taken_for_probabilities() -> None:
    [score] = scores_of_ranked({0: None}, 1)
    assert score is not None
    assert score > 1.0


@pytest.mark.parametrize(
    ("ranked", "below"),
    [
        ({0: 0.9, 1: 0.4}, 0.2),  # probabilities stay in their range
        ({0: 1.0, 1: 0.0}, 0.0),
        ({0: 9.0, 1: 7.0}, 6.0),
        ({0: -2.5, 1: -8.5}, -11.5),
        ({0: 8.0}, 7.0),
        ({0: 3.0, 1: 3.0}, 2.0),
    ],
)
def test_what_is_left_out_scores_below_all_that_came_back(
    ranked: dict[int, float | None], below: float
) -> None:
    scores = scores_of_ranked(ranked, 5)
    assert scores == [*ranked.values(), *[below] * (5 - len(ranked))]


def test_many_left_out_do_not_drown_what_tells_the_others_apart() -> None:
    scores = scores_of_ranked({0: 9.0, 1: 2.0}, 20)
    best, second, left = to_relevance(np.array(scores, dtype=np.float64))[:3]
    assert best - second > 0.05
    assert second > left


def test_a_text_without_a_score_among_scored_ones_was_not_judged() -> None:
    assert scores_of_ranked({1: 0.8, 0: None}, 3) == [None, 0.8, 0.4]


def test_nothing_returned_is_nothing_judged() -> None:
    assert scores_of_ranked({}, 3) == [None, None, None]


def test_a_form_writes_the_instruction_where_there_is_one() -> None:
    form = QueryForm("<Instruct>: {instruction} <Query>: {query}")
    assert form.write("a toy", "Which is red?") == "<Instruct>: Which is red? <Query>: a toy"
    assert form.write("a {toy}", None) == "a {toy}"
    with pytest.raises(ConfigError, match=r"does not hold \{query\}"):
        QueryForm("{instruction}")
