"""Inner product and squared distance weigh lengths in; the adapted ranking does not."""

from dataclasses import replace
from typing import TypeAlias

import numpy as np
import pytest

from instruct_embeddings._types import FloatArray, Space
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.testing import InMemoryCollection
from tests.unit.conftest import COLOUR, INFO, Adapt, Toys, make_toys

Ranking: TypeAlias = tuple[list[str], list[float]]
QUERIES = make_toys(5, seed=9).vectors
SPACES: tuple[Space, ...] = ("ip", "l2")


def stored(toys: Toys, space: Space, lengths: FloatArray | float = 1.0) -> InMemoryCollection:
    vectors = toys.vectors * np.reshape(lengths, (-1, 1))
    return InMemoryCollection(vectors, space=space, name=INFO.name, id=INFO.id)


def lengths(spread: float) -> FloatArray:
    """90 lengths around 2; the standard deviation is `spread` of the mean."""
    return np.asarray(
        2 + 2 * spread * np.tile([-1, 1], 45)[np.random.default_rng(0).permutation(90)]
    )


def rank(
    retriever: InstructRetriever, query: FloatArray, instruction: str | None = COLOUR, **how: object
) -> Ranking:
    hits = retriever.search(query, instruction=instruction, k=90, **how)  # type: ignore[arg-type]
    return [hit.id for hit in hits], [hit.score for hit in hits]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("length", [1.0, 3.0])
@pytest.mark.parametrize("exact", [False, True])
def test_vectors_of_one_length_are_ranked_as_in_a_cosine_collection(
    adapt: Adapt, toys: Toys, space: Space, length: float, exact: bool
) -> None:
    cosine, other = adapt(stored(toys, "cosine")), adapt(stored(toys, space, length))
    for query in QUERIES:
        expected, found = rank(cosine, query), rank(other, query, exact=exact)
        assert found[0] == expected[0]
        np.testing.assert_allclose(found[1], expected[1], atol=1e-5)
        assert max(map(abs, found[1])) <= 1


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("length", [1.0, 3.0])
def test_the_folded_query_alone_gives_cosines_too(
    adapt: Adapt, toys: Toys, space: Space, length: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a space to rescore in, scores come from the index and are never fetched."""
    retriever = adapt(stored(toys, space, length))
    transform = retriever.transform(COLOUR)
    object.__setattr__(transform, "mix", 0.0)
    for query in QUERIES:
        folded = transform.query.fold(query[None])
        expected = np.sort((toys.vectors @ folded.T)[:, 0])[::-1]
        scores = rank(retriever, query)[1]
        np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_rounding_takes_no_score_of_the_index_beyond_one(adapt: Adapt, toys: Toys) -> None:
    """The folded queries themselves are stored, so each finds itself."""
    transform = adapt(toys.collection()).transform(COLOUR)
    retriever = adapt(stored(replace(toys, vectors=transform.query.fold(toys.vectors)), "cosine"))
    object.__setattr__(retriever.transform(COLOUR), "mix", 0.0)
    best = [rank(retriever, query)[1][0] for query in toys.vectors]
    assert 1 - 1e-6 < min(best) <= max(best) <= 1


@pytest.mark.parametrize("space", SPACES)
def test_generic_scores_of_unit_vectors_are_cosines_in_every_space(
    toys: Toys, space: Space
) -> None:
    cosine, other = (InstructRetriever(stored(toys, s)) for s in ("cosine", space))
    for query in QUERIES:
        expected, found = (rank(r, query, instruction=None) for r in (cosine, other))
        assert found[0] == expected[0]
        np.testing.assert_allclose(found[1], expected[1], atol=1e-5)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("mix", [0.0, 0.5])
def test_lengths_that_vary_a_little_are_rescored_exactly(
    adapt: Adapt, toys: Toys, space: Space, mix: float
) -> None:
    retriever = adapt(stored(toys, space, lengths(0.2)))
    object.__setattr__(retriever.transform(COLOUR), "mix", mix)
    assert retriever.transform(COLOUR).norms.spread == pytest.approx(0.2, abs=1e-3)
    for query in QUERIES:
        by_index, exactly = rank(retriever, query, prefetch=90), rank(retriever, query, exact=True)
        assert by_index[0] == exactly[0]
        assert by_index[1] == pytest.approx(exactly[1], abs=1e-6)
        assert max(map(abs, by_index[1])) <= 1


@pytest.mark.parametrize("space", SPACES)
def test_lengths_that_vary_much_are_refused_by_the_index_and_ranked_exactly(
    adapt: Adapt, toys: Toys, space: Space
) -> None:
    retriever = adapt(stored(toys, space, lengths(0.4)))
    with pytest.raises(ConfigError, match=rf"40% of the mean.*'{space}'.*25%.*exact=True"):
        rank(retriever, QUERIES[0])
    cosine = adapt(stored(toys, "cosine"))
    for query in QUERIES:
        expected, found = rank(cosine, query), rank(retriever, query, exact=True)
        assert found[0] == expected[0]
        np.testing.assert_allclose(found[1], expected[1], atol=1e-5)


def test_a_cosine_collection_takes_any_lengths(adapt: Adapt, toys: Toys) -> None:
    plain, varied = adapt(stored(toys, "cosine")), adapt(stored(toys, "cosine", lengths(0.4)))
    assert rank(plain, QUERIES[0])[0] == rank(varied, QUERIES[0])[0]


def test_stored_vectors_without_direction_come_last(adapt: Adapt, toys: Toys) -> None:
    retriever = adapt(toys.collection())
    broken = np.zeros((3, 16), dtype=np.float32)
    broken[1], broken[2, 0] = np.nan, np.inf
    collection = retriever.collection
    assert isinstance(collection, InMemoryCollection)
    collection.add(["zero", "nan", "inf"], broken)
    hits = retriever.search(QUERIES[0], instruction=COLOUR, k=93, exact=True)
    assert {hit.id for hit in hits[-3:]} == {"zero", "nan", "inf"}
    assert [hit.score for hit in hits[-3:]] == [-1, -1, -1]
