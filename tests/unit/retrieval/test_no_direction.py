"""Rows of zeros rank behind every row that has a direction, in every space."""

from collections.abc import Sequence

import numpy as np
import pytest

from instruct_embeddings._types import FloatArray, Space
from instruct_embeddings.protocols import Neighbours, Rows
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.testing import InMemoryCollection
from tests.unit.conftest import COLOUR, Adapt, make_toys

SPACES: tuple[Space, ...] = ("l2", "ip", "cosine")
QUERIES = make_toys(4, seed=9).vectors
ZEROS = 60


class Spy(InMemoryCollection):
    """Knows what it was asked for."""

    asked: tuple[int, ...] = ()
    fetched: tuple[int, ...] = ()

    def search(self, vector: FloatArray, *, k: int, **options: object) -> Neighbours:
        self.asked += (k,)
        return super().search(vector, k=k, **options)  # type: ignore[arg-type]

    def fetch(self, ids: Sequence[str], **options: object) -> Rows:
        self.fetched += (len(ids),)
        return super().fetch(ids, **options)  # type: ignore[arg-type]


def mixed(space: Space, length: float = 1.0, zeros: int = ZEROS) -> Spy:
    """90 toys, and as many rows of zeros as wanted between them."""
    toys = make_toys(90).vectors * np.float32(length)
    rows = np.concatenate([toys[:30], np.zeros((zeros, 16), dtype=np.float32), toys[30:]])
    names = [f"toy{i}" for i in range(30)]
    names += [f"zero{i}" for i in range(zeros)] + [f"toy{i}" for i in range(30, 90)]
    return Spy(rows, ids=names, space=space, name="toys", id="toys-1")


@pytest.fixture
def adapted(adapt: Adapt) -> Adapt:
    """Retrievers over mixed rows, with the transform of the toys alone."""

    def make(collection: InMemoryCollection) -> InstructRetriever:
        space = collection.info().space
        page = collection.page(limit=1000, offset=0, vectors=True)
        length = float(np.linalg.norm(page.vectors, axis=1).max())
        return InstructRetriever(collection, store=adapt(mixed(space, length, 0)).store)

    return make


def ranked(retriever: InstructRetriever, query: FloatArray, **how: object) -> list[str]:
    hits = retriever.search(query, instruction=COLOUR, **how)  # type: ignore[arg-type]
    return [hit.id for hit in hits]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("length", [1.0, 3.0])
@pytest.mark.parametrize("mix", [None, 0.0])
@pytest.mark.parametrize("prefetch", [None, 90])
def test_no_row_of_zeros_displaces_another(
    adapted: Adapt, space: Space, length: float, mix: float | None, prefetch: int | None
) -> None:
    retriever, plain = adapted(mixed(space, length)), adapted(mixed(space, length, zeros=0))
    if mix is not None:
        for one in (retriever, plain):
            object.__setattr__(one.transform(COLOUR), "mix", mix)
    for query in QUERIES:
        for k in (5, 30, 90):
            found = ranked(retriever, query, k=k, prefetch=prefetch)
            assert found == ranked(plain, query, k=k, prefetch=prefetch)
        if mix is None:
            assert found == ranked(retriever, query, k=90, exact=True)


@pytest.mark.parametrize("space", SPACES)
def test_rows_of_zeros_fill_what_is_left_with_the_least_score(adapted: Adapt, space: Space) -> None:
    retriever = adapted(mixed(space))
    for how in ({"exact": True}, {"exact": False}):
        hits = retriever.search(QUERIES[0], instruction=COLOUR, k=100, **how)  # type: ignore[arg-type]
        assert all(hit.id.startswith("zero") for hit in hits[90:])
        assert [hit.score for hit in hits[90:]] == [-1.0] * 10
        assert min(hit.score for hit in hits[:90]) > -1.0


@pytest.mark.parametrize("mix", [None, 0.0])
def test_many_zeros_displace_no_row_of_an_exact_search(adapted: Adapt, mix: float | None) -> None:
    retriever, plain = adapted(mixed("cosine", zeros=600)), adapted(mixed("cosine", zeros=0))
    if mix is not None:
        for one in (retriever, plain):
            object.__setattr__(one.transform(COLOUR), "mix", mix)
    for query in QUERIES:
        found = ranked(retriever, query, k=85, exact=True)
        assert found == ranked(plain, query, k=85, exact=True)


@pytest.mark.parametrize("space", SPACES)
def test_zeros_before_a_row_of_the_least_score_stay_behind_it(space: Space) -> None:
    rows = np.array([[0, 0], [-1, 0]], dtype=np.float32)

    class Plain:
        """Ranks by the generic cosine."""

        collection = InMemoryCollection(rows, space=space).info()
        mix = 1.0

        def fold(self, vectors: FloatArray, blend: float) -> FloatArray:
            return vectors

        def score(
            self, query: FloatArray, documents: FloatArray, blend: float, *, folded: FloatArray
        ) -> FloatArray:
            return np.asarray((documents @ query.T)[:, 0], dtype=np.float32)

    from instruct_embeddings.retrieval.exact import rank_pages
    from instruct_embeddings.retrieval.ranking import FoldedQuery, WeightedRanker

    pages = [Rows(("zero",), rows[:1]), Rows(("opposite",), rows[1:])]
    query = np.array([[1, 0]], dtype=np.float32)
    plain = WeightedRanker(Plain(), "fitted")  # type: ignore[arg-type]
    found = rank_pages(pages, FoldedQuery([plain], query), 2)
    assert found.ids == ("opposite", "zero")
    assert found.scores.tolist() == [-1.0, -1.0]


def test_the_prefetch_is_widened_only_where_zeros_take_its_places(adapted: Adapt) -> None:
    clean, full = mixed("l2", zeros=0), mixed("l2", zeros=400)
    ranked(adapted(clean), QUERIES[0], k=5, prefetch=40)
    assert clean.asked == (40,)
    # Vectors come with the search, so that nothing but what is returned is read beside it.
    assert clean.fetched == ()
    ranked(adapted(full), QUERIES[0], k=80, prefetch=90)
    assert full.asked[0] == 90
    assert len(full.asked) > 1


@pytest.mark.parametrize("space", SPACES)
def test_filters_hold_while_more_is_asked_for(adapted: Adapt, space: Space) -> None:
    collection = mixed(space, zeros=200)
    names = [f"toy{i}" for i in range(90)]
    texts = [f"row {name}" for name in names]
    page = collection.fetch(names, vectors=True)
    collection.add(names, page.vectors, texts=texts, metadatas=[{"toy": True}] * 90)
    found = ranked(adapted(collection), QUERIES[0], k=40, prefetch=40, where={"toy": True})
    assert len(found) == 40
    assert all(name.startswith("toy") for name in found)
