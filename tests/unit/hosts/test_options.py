"""Results that are near enough and not all alike."""

from typing import Any

import numpy as np
import pytest

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.hosts import SearchOptions
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.retrieval.ranking import Hit
from instruct_embeddings.testing import InMemoryCollection

# Six copies of one text, and four others that are less and less like the query.
COPY = [1.0, 0.0, 0.0, 0.0, 0.0]
OTHERS = [[0.8, 0.6, 0, 0, 0], [0.7, 0, 0.7, 0, 0], [0.6, 0, 0, 0.8, 0], [0.5, 0, 0, 0, 0.87]]
ROWS = InMemoryCollection(np.array([COPY] * 6 + OTHERS, dtype=np.float32))


def asked(options: SearchOptions) -> list[Hit]:
    return options.search(InstructRetriever(ROWS), COPY, None)


def copies(hits: list[Hit]) -> int:
    return sum(hit.score > 0.999 for hit in hits)


def test_copies_fill_the_results_unless_they_must_differ() -> None:
    assert copies(asked(SearchOptions(5))) == 5
    spread = asked(SearchOptions(5, lambda_mult=0.5))
    assert (len(spread), copies(spread)) == (5, 1)
    assert spread[0].score == pytest.approx(1)
    assert copies(asked(SearchOptions(5, lambda_mult=1.0))) == 5
    assert copies(asked(SearchOptions(5, lambda_mult=0.0))) == 1


def test_the_order_is_that_of_the_formula() -> None:
    units = np.array(COPY)[None] @ np.array(OTHERS).T / np.linalg.norm(OTHERS, axis=1)
    [first, *rest] = asked(SearchOptions(3, lambda_mult=0.4, fetch_k=10))
    chosen = [np.array(COPY)]
    for hit in rest:
        vectors = np.array(OTHERS) / np.linalg.norm(OTHERS, axis=1, keepdims=True)
        values = 0.4 * units[0] - 0.6 * np.max([vectors @ one for one in chosen], axis=0)
        free = [i for i in range(4) if not any(np.allclose(vectors[i], one) for one in chosen)]
        best = max(free, key=lambda i: values[i])
        assert hit.score == pytest.approx(units[0][best], abs=1e-5)
        chosen.append(vectors[best])
    assert first.score == pytest.approx(1)


@pytest.mark.parametrize(
    ("least", "count"), [(None, 10), (-1.0, 10), (0.75, 7), (0.999, 6), (0.55, 9)]
)
def test_only_what_is_near_enough_is_shown(least: float | None, count: int) -> None:
    found = asked(SearchOptions(10, score_threshold=least))
    assert len(found) == count
    assert all(hit.score >= (least or -1) for hit in found)
    together = asked(SearchOptions(10, score_threshold=least, lambda_mult=0.5))
    assert {hit.id for hit in together} == {hit.id for hit in found}


def test_as_many_hits_are_asked_for_as_are_chosen_among() -> None:
    assert SearchOptions(3).candidates() == 3
    assert SearchOptions(3, lambda_mult=0.5).candidates() == 20
    assert SearchOptions(30, lambda_mult=0.5).candidates() == 150
    assert SearchOptions(3, lambda_mult=0.5, fetch_k=7).candidates() == 7
    assert SearchOptions(9, lambda_mult=0.5, fetch_k=7).candidates() == 9
    assert SearchOptions(3, lambda_mult=0.5, prefetch=10).candidates() == 10
    assert SearchOptions(3, prefetch=2).candidates() == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k must be an integer .*got 0"),
        ({"k": "3"}, "k must be an integer .*got '3'"),
        ({"k": 3, "score_threshold": 1.5}, r"similarity_cutoff\)=1.5 is not a number in \[-1, 1\]"),
        ({"k": 3, "score_threshold": "high"}, "'high' is not a number"),
        ({"k": 3, "score_threshold": float("nan")}, "nan is not a number"),
        ({"k": 3, "lambda_mult": -0.1}, r"mmr_threshold\)=-0.1 is not a number in \[0, 1\]"),
        ({"k": 3, "lambda_mult": True}, "True is not a number"),
        ({"k": 3, "fetch_k": 0}, r"mmr_prefetch_k\) must be an integer .*got 0"),
    ],
)
def test_what_is_out_of_range_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SearchOptions(**arguments)
