"""A transform measures how many candidates its index has to be asked for."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from instruct_embeddings import FitConfig, InstructRetriever, MetadataGuide
from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.protocols import Neighbours
from instruct_embeddings.testing import InMemoryCollection

ROWS = 2000
SIDE = "Which side?"


class Hasty(InMemoryCollection):
    """An index that misses one of the ten best rows, unless it looks for `thorough` of them."""

    thorough = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.asked: list[int] = []
        super().__init__(*arguments, **options)

    def search(
        self, vector: FloatArray, *, k: int, candidates: int | None = None, **options: Any
    ) -> Neighbours:
        looked = candidates or k
        self.asked.append(looked)
        found = super().search(vector, k=k + 1, **options)
        kept = [i for i in range(len(found)) if i != 4 or looked >= self.thorough][:k]
        return found.take(kept)


def hasty(thorough: int, space: Any = "cosine", lengths: float = 0.0) -> Hasty:
    rng = np.random.default_rng(0)
    sides = rng.integers(0, 2, ROWS)
    vectors = rng.standard_normal((ROWS, 8)).astype(np.float32)
    vectors[:, 0] += 2 * sides - 1
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors *= 1 + lengths * rng.random((ROWS, 1)).astype(np.float32)
    metadatas = [{"side": "left" if side else "right"} for side in sides]
    collection = Hasty(vectors, metadatas=metadatas, space=space)
    collection.thorough = thorough
    return collection


def fitted(collection: Hasty, **settings: Any) -> InstructRetriever:
    fit = FitConfig(sample_size=200, **settings)
    return InstructRetriever(collection, MetadataGuide("side"), fit=fit, force=True)


@pytest.mark.parametrize(("thorough", "learned"), [(0, 30), (120, 150), (600, 600), (1000, 1200)])
def test_the_least_prefetch_that_finds_the_best_is_learned(thorough: int, learned: int) -> None:
    collection = hasty(thorough)
    retriever = fitted(collection)
    assert retriever.transform(SIDE).prefetch == learned
    collection.asked.clear()
    retriever.search(np.eye(8)[0], instruction=SIDE, k=5)
    assert collection.asked == [learned]


def test_a_lower_recall_is_content_with_less() -> None:
    # One of the ten best is missed unless 1,000 are asked for.
    assert fitted(hasty(1000), recall=0.85).transform(SIDE).prefetch == 30


@pytest.mark.parametrize("recall", [0, 1.1, "all", True])
def test_a_recall_is_a_share(recall: Any) -> None:
    with pytest.raises(ConfigError, match=r"recall=.* is no share of the ten best rows"):
        FitConfig(recall=recall)


def test_more_results_ask_for_more() -> None:
    collection = hasty(0)
    retriever = fitted(collection)
    retriever.transform(SIDE)
    collection.asked.clear()
    retriever.search(np.eye(8)[0], instruction=SIDE, k=100)
    assert collection.asked == [300]


def test_what_was_not_measured_asks_for_many() -> None:
    # Filters and lengths make another search of it.
    collection = hasty(0)
    retriever = fitted(collection)
    retriever.transform(SIDE)
    collection.asked.clear()
    retriever.search(np.eye(8)[0], instruction=SIDE, where={"side": "left"})
    unequal = fitted(hasty(0, "ip", lengths=0.1))
    assert collection.asked == [600]
    assert unequal.transform(SIDE).prefetch == 600


def test_several_instructions_ask_for_what_the_most_demanding_needs() -> None:
    collection = hasty(0)
    retriever = fitted(collection)
    library = retriever._library
    demanding = replace(retriever.transform(SIDE), instruction="Which?", prefetch=200)
    library.remember("Which?", demanding, collection.info())
    collection.asked.clear()
    retriever.search(np.eye(8)[0], instruction={SIDE: 1, "Which?": 1})
    assert collection.asked == [200]
