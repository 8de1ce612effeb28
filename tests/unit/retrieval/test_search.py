"""What a search may ask for, and what it gets; the transform comes from a store."""

from typing import Any

import numpy as np
import pytest

from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import (
    CollectionMismatchError,
    ConfigError,
    EmptyCollectionError,
    GuideError,
    InstructionError,
    InvalidVectorsError,
)
from instruct_embeddings.protocols import Neighbours, Rows
from instruct_embeddings.retrieval import Hit, InstructRetriever
from instruct_embeddings.testing import InMemoryCollection
from instruct_embeddings.transform.transform import DEFAULT_PREFETCH
from tests.unit.conftest import COLOUR, Adapt, Toys, make_toys
from tests.unit.retrieval.conftest import CountingCollection


def ids(hits: list[Hit]) -> list[str]:
    return [hit.id for hit in hits]


@pytest.fixture
def retriever(adapt: Adapt, toys: Toys) -> InstructRetriever:
    return adapt(toys.collection())


def test_without_an_instruction_the_search_is_the_generic_ranking(toys: Toys) -> None:
    query = make_toys(1, seed=9).vectors[0]
    hits = InstructRetriever(toys.collection()).search(query, k=5)
    cosines = toys.vectors @ query
    best = np.argsort(-cosines)[:5]
    assert ids(hits) == [str(i) for i in best]
    assert [hit.score for hit in hits] == pytest.approx(cosines[best].tolist(), abs=1e-6)
    for hit, i in zip(hits, best, strict=True):
        assert hit.text == f"a {toys.colours[i]} {toys.shapes[i]}"
        assert hit.metadata == {"colour": toys.colours[i], "shape": toys.shapes[i]}
        assert not hit.adapted


def test_an_instruction_ranks_by_its_aspect(adapt: Adapt) -> None:
    """The collection shares no row with the sample that the transform learned from."""
    new = make_toys(200, seed=1)
    retriever = adapt(new.collection())

    def share(instruction: str | None) -> float:
        right = []
        for i in range(40):
            found = retriever.search(new.vectors[i], instruction=instruction, k=11)
            others = [hit for hit in found if hit.id != str(i)][:10]
            right += [hit.metadata["colour"] == new.colours[i] for hit in others]
        return float(np.mean(right))

    assert share(None) < 0.5
    assert share(COLOUR) > 0.9


def test_adapted_hits_are_best_first_and_say_that_they_are_adapted(
    retriever: InstructRetriever, toys: Toys
) -> None:
    hits = retriever.search(toys.vectors[0], instruction=COLOUR, k=90)
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert -1 <= scores[-1] < 0.5 < scores[0] <= 1
    assert all(hit.adapted for hit in hits)
    assert len(set(ids(hits))) == 90


@pytest.mark.parametrize("k", [1, 4, 90])
@pytest.mark.parametrize("blend", [0.3, 1.0])
def test_exact_ranking_and_prefetch_agree_on_a_small_collection(
    retriever: InstructRetriever, toys: Toys, k: int, blend: float
) -> None:
    for query in make_toys(5, seed=9).vectors:
        by_index, exactly = (
            retriever.search(query, instruction=COLOUR, k=k, blend=blend, exact=exact)
            for exact in (False, True)
        )
        assert ids(by_index) == ids(exactly)
        np.testing.assert_allclose(
            [hit.score for hit in by_index], [hit.score for hit in exactly], atol=1e-6
        )


@pytest.mark.parametrize("exact", [False, True])
def test_blend_zero_gives_the_generic_ranking_and_its_scores(
    retriever: InstructRetriever, exact: bool
) -> None:
    query = make_toys(1, seed=9).vectors[0]
    blended = retriever.search(query, instruction=COLOUR, blend=0.0, exact=exact)
    plain = retriever.search(query)
    assert ids(blended) == ids(plain)
    np.testing.assert_allclose(
        [hit.score for hit in blended], [hit.score for hit in plain], atol=1e-6
    )


def test_the_length_of_the_query_does_not_matter(retriever: InstructRetriever, toys: Toys) -> None:
    short, long = (retriever.search(n * toys.vectors[3], instruction=COLOUR) for n in (0.1, 10))
    assert ids(short) == ids(long)
    assert short[0].score == pytest.approx(long[0].score, abs=1e-6)


@pytest.mark.parametrize("exact", [False, True])
def test_filters_restrict_the_answer(retriever: InstructRetriever, toys: Toys, exact: bool) -> None:
    def search(**filters: Any) -> list[Hit]:
        return retriever.search(toys.vectors[0], instruction=COLOUR, k=90, exact=exact, **filters)

    rings = search(where={"shape": "ring"})
    assert len(rings) == toys.shapes.count("ring")
    assert {hit.metadata["shape"] for hit in rings} == {"ring"}
    red = search(where_document={"$contains": " red "})
    assert len(red) == toys.colours.count("red")
    both = search(where={"shape": "ring"}, where_document={"$contains": " red "})
    assert set(ids(both)) == set(ids(rings)) & set(ids(red))


@pytest.mark.parametrize("instruction", [None, COLOUR])
@pytest.mark.parametrize("exact", [False, True])
def test_a_filter_that_matches_nothing_gives_no_hits(
    retriever: InstructRetriever, toys: Toys, instruction: str | None, exact: bool
) -> None:
    hits = retriever.search(
        toys.vectors[0], instruction=instruction, where={"shape": "cloud"}, exact=exact
    )
    assert hits == []


def test_more_hits_than_rows_give_all_rows(retriever: InstructRetriever, toys: Toys) -> None:
    assert len(retriever.search(toys.vectors[0], instruction=COLOUR, k=500)) == 90
    assert len(retriever.search(toys.vectors[0], k=500)) == 90
    assert len(retriever.search(toys.vectors[0], instruction=COLOUR, k=500_000_000)) == 90


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("instruction", [None, COLOUR])
def test_the_length_of_a_query_changes_nothing(
    retriever: InstructRetriever, toys: Toys, scale: float, exact: bool, instruction: str | None
) -> None:
    for query in toys.vectors[:5].astype(np.float64):
        plain = retriever.search(query, instruction=instruction, exact=exact, k=9)
        for form in (query * scale, (query * scale).tolist()):
            found = retriever.search(form, instruction=instruction, exact=exact, k=9)
            assert [hit.id for hit in found] == [hit.id for hit in plain]
            assert [hit.score for hit in found] == pytest.approx(
                [hit.score for hit in plain], abs=1e-5
            )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k must be an integer >= 1.*, got 0"),
        ({"k": "3"}, "k must be an integer >= 1.*, got '3'"),
        ({"k": None}, "k must be an integer .*got None"),
        ({"k": [3]}, r"k must be an integer .*got \[3\]"),
        ({"prefetch": "600"}, "prefetch must be an integer .*got '600'"),
        ({"blend": "1"}, r"blend='1' is outside \[0, 1\]"),
        ({"k": -3}, "k must be an integer .*got -3"),
        ({"k": 2.0}, r"k must be an integer .*got 2\.0"),
        ({"k": True}, "k must be an integer .*got True"),
        ({"k": 5, "prefetch": 4}, "prefetch=4 is smaller than k=5"),
        ({"prefetch": 20.5}, r"prefetch must be an integer .*got 20\.5"),
        ({"blend": -0.1}, r"blend=-0\.1 is outside \[0, 1\]"),
        ({"blend": 1.5}, r"blend=1\.5"),
        ({"blend": float("nan")}, "blend=nan"),
        ({"where": "area"}, "where must be a mapping .*got 'area'"),
        ({"where": [("area", "billing")]}, r"where must be a mapping .*got \["),
        ({"where_document": 3}, "where_document must be a mapping .*got 3"),
        ({"query": 3}, "query=3 is of type int, and the text"),
        ({"query": b"red"}, "query=b'red' is of type bytes"),
        ({"query": ["red"]}, r"query=\['red'\] is of type list"),
    ],
)
@pytest.mark.parametrize("instruction", [None, COLOUR])
def test_arguments_out_of_their_range_are_refused(
    retriever: InstructRetriever, arguments: dict[str, Any], message: str, instruction: str | None
) -> None:
    with pytest.raises(ConfigError, match=message):
        retriever.search(np.ones(16), instruction=instruction, **arguments)


@pytest.mark.parametrize("instruction", [None, COLOUR])
def test_integers_of_numpy_are_integers(
    retriever: InstructRetriever, toys: Toys, instruction: str | None
) -> None:
    plain = retriever.search(toys.vectors[0], instruction=instruction, k=3, prefetch=9)
    options: dict[str, Any] = {"k": np.int64(3), "prefetch": np.int32(9)}
    assert retriever.search(toys.vectors[0], instruction=instruction, **options) == plain


@pytest.mark.parametrize("vector", [None, 1.0, np.float32(2)])
@pytest.mark.parametrize("instruction", [None, COLOUR])
def test_a_single_number_is_no_vector(
    retriever: InstructRetriever, vector: Any, instruction: str | None
) -> None:
    with pytest.raises(InvalidVectorsError, match="must be a vector of numbers"):
        retriever.search(vector, instruction=instruction)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("x" * 10_000, "10,000 characters"),
        ("What \ud83d?", r"half of a surrogate pair, '\\ud83d' at position 5.*Repair the text"),
    ],
)
def test_an_instruction_is_a_sentence(
    retriever: InstructRetriever, text: str, message: str
) -> None:
    for ask in (retriever.transform, retriever.refit):
        with pytest.raises(InstructionError, match=message):
            ask(text)
    with pytest.raises(InstructionError, match=message):
        retriever.search(np.ones(16), instruction=text)


@pytest.mark.parametrize("query", [np.zeros(16), np.full(16, np.nan), np.full(16, np.inf)])
def test_a_query_without_direction_is_refused(
    retriever: InstructRetriever, query: FloatArray
) -> None:
    with pytest.raises(InvalidVectorsError, match="The query vector"):
        retriever.search(query, instruction=COLOUR)


@pytest.mark.parametrize("instruction", [None, COLOUR])
def test_a_query_of_another_dimension_is_refused(
    retriever: InstructRetriever, instruction: str | None
) -> None:
    with pytest.raises(CollectionMismatchError, match=r"8 dimensions|dimension 8"):
        retriever.search(np.ones(8), instruction=instruction)


def test_an_unknown_instruction_needs_a_guide(retriever: InstructRetriever) -> None:
    with pytest.raises(GuideError, match=r"no stored transform for 'What size\?' and no guide"):
        retriever.search(np.ones(16), instruction="What size?")


def test_an_empty_collection_is_said_to_be_empty() -> None:
    with pytest.raises(EmptyCollectionError):
        InstructRetriever(InMemoryCollection()).search([1.0, 0.0], instruction=COLOUR)


class Recording(CountingCollection):
    """Remembers how many rows were wanted, of how many candidates, and whether with vectors."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.asked: list[tuple[int, int | None]] = []
        self.with_vectors: list[bool] = []
        super().__init__(*arguments, **options)

    def search(self, vector: FloatArray, *, k: int, **options: Any) -> Neighbours:
        self.asked.append((k, options.get("candidates")))
        self.with_vectors.append(options.get("vectors", False))
        return super().search(vector, k=k, **options)


def test_the_index_is_asked_for_the_prefetch(adapt: Adapt, toys: Toys) -> None:
    collection = Recording(toys.vectors)
    retriever = adapt(collection)
    retriever.search(toys.vectors[0], instruction=COLOUR, k=5, prefetch=20)
    retriever.search(toys.vectors[0], instruction=COLOUR, k=5)
    retriever.search(toys.vectors[0], instruction=COLOUR, k=300)
    retriever.search(toys.vectors[0], k=7)
    wanted = [(20, 20), (30, DEFAULT_PREFETCH), (600, 900), (7, None)]
    assert collection.asked == wanted


@pytest.mark.parametrize(("prefetch", "rescored"), [(None, 30), (20, 20), (60, 60), (90, 90)])
def test_all_of_a_prefetch_that_is_asked_for_is_rescored(
    adapt: Adapt, toys: Toys, prefetch: int | None, rescored: int
) -> None:
    collection = Recording(toys.vectors)
    retriever = adapt(collection)
    collection.fetched.clear()
    hits = retriever.search(toys.vectors[0], instruction=COLOUR, k=5, prefetch=prefetch)
    # Vectors come with the search, and records unless they are many.
    assert collection.asked == [(rescored, prefetch or DEFAULT_PREFETCH)]
    assert collection.with_vectors == [True]
    assert collection.fetched == ([5] if prefetch == 90 else [])
    if prefetch == len(toys.vectors):  # nothing is left out
        exactly = retriever.search(toys.vectors[0], instruction=COLOUR, k=5, exact=True)
        assert ids(hits) == ids(exactly)


def test_exact_searches_read_the_collection_once_and_see_changes(adapt: Adapt, toys: Toys) -> None:
    collection = CountingCollection(toys.vectors)
    retriever = adapt(collection)
    collection.handed_out = 0

    def best() -> str:
        return retriever.search(toys.vectors[0], instruction=COLOUR, k=1, exact=True)[0].id

    first = best()
    assert collection.handed_out == 1 + 90  # the last row tells whether new ones came
    assert best() == first
    assert collection.handed_out == 2 + 90
    collection.delete([first])
    assert best() != first
    assert collection.handed_out == 4 + 90 + 89
    retriever.refresh()
    best()
    assert collection.handed_out == 5 + 90 + 2 * 89


class Haunted(InMemoryCollection):
    """Its index still knows a row that was deleted."""

    def search(self, vector: FloatArray, *, k: int, **filters: Any) -> Neighbours:
        found = super().search(vector, k=k, **filters)
        if filters.get("records"):  # what it has no record of cannot be read
            return found.take(range(1, len(found)))
        scores = np.concatenate([[1], found.scores]).astype(np.float32)
        return Neighbours(Rows(("ghost", *found.ids), found.vectors), scores)


@pytest.mark.parametrize("instruction", [None, COLOUR])
def test_deleted_rows_are_never_returned(adapt: Adapt, toys: Toys, instruction: str | None) -> None:
    retriever = adapt(Haunted(toys.vectors))
    hits = retriever.search(toys.vectors[0], instruction=instruction)
    assert len(hits) >= 3
    assert "ghost" not in ids(hits)
