"""Several instructions in one search."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings._types import FloatArray
from instruct_embeddings.config import FitConfig, check_instructions
from instruct_embeddings.errors import InstructionError
from instruct_embeddings.guides import GuideByInstruction, MetadataGuide
from instruct_embeddings.protocols import Rows
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.retrieval.ranking import FoldedQuery, WeightedRanker
from instruct_embeddings.testing import InMemoryCollection
from tests.calls import recorded_calls
from tests.unit.conftest import COLOUR, Toys, hand_made
from tests.unit.retrieval.conftest import CountingCollection

SHAPE = "What shape is it?"
QUICK = FitConfig(folds=2, time_budget=1e-9)


def unmixed(axis: int) -> WeightedRanker:
    """Looks at one of two coordinates, without rescoring."""
    only = np.eye(2, dtype=np.float32)[[axis]]
    plain = hand_made(mix=0.0)
    ranker = replace(plain, query=replace(plain.query, gates=only, directions=only))
    return WeightedRanker(ranker, "fitted", weight=0.5)


def rows_of(vectors: FloatArray) -> Rows:
    return Rows(tuple(map(str, range(len(vectors)))), vectors)


def test_weights_add_up_to_one() -> None:
    assert check_instructions(" One? ") == {"One?": 1.0}
    assert check_instructions({"One?": 3, " Two? ": 1}) == {"One?": 0.75, "Two?": 0.25}


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ((10**100, 10**100), (0.5, 0.5)),
        ((1e100, 1e100 / 3), (0.75, 0.25)),
        ((1e-100, 3e-100), (0.25, 0.75)),
        ((1e50, 1e-50), (1.0, 0.0)),
    ],
)
def test_weights_of_any_size_add_up_to_one(
    weights: tuple[float, float], shares: tuple[float, float]
) -> None:
    found = check_instructions(dict(zip(("One?", "Two?"), weights, strict=True)))
    assert tuple(found.values()) == pytest.approx(shares)
    # A default is checked when it is set, and again when it is asked.
    assert check_instructions(found) == pytest.approx(found)
    assert min(found.values()) > 0


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"One?": 10**400}, "1000.*, not a positive number of at most"),
        ({}, "Got 0 instructions; 1 to 16"),
        ({f"Question {i}?": 1.0 for i in range(17)}, "Got 17 instructions"),
        ({"One?": 0.0}, r"weight of 'One\?' is 0.0, not a positive"),
        ({"One?": -1}, "is -1, not a positive"),
        ({"One?": float("nan")}, "is nan, not a positive"),
        ({"One?": float("inf")}, "is inf, not a positive"),
        ({"One?": True}, "is True, not a positive"),
        ({"One?": "much"}, "is 'much', not a positive"),
        ({"One?": 1.0, "one ": 1.0}, r"'One\?' and 'one ' are one instruction"),
        ({"": 1.0}, "is empty"),
    ],
)
def test_what_cannot_be_combined_is_said(asked: dict[str, float], message: str) -> None:
    with pytest.raises(InstructionError, match=message):
        check_instructions(asked)


def test_folded_queries_are_added_up() -> None:
    """(0.6, 0.8) folds to (1, 0) by the one and (0, 1) by the other: together to the diagonal."""
    both = FoldedQuery((unmixed(0), unmixed(1)), np.array([[0.6, 0.8]], dtype=np.float32))
    assert both.vector == pytest.approx([0.5**0.5, 0.5**0.5])
    documents = np.array([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32)
    assert both.score(rows_of(documents)) == pytest.approx([0.5, 0.5, 0.7])
    assert not both.is_rescored


def test_a_part_that_does_not_help_leaves_its_share_to_the_generic_vectors() -> None:
    rankers = (unmixed(0), replace(unmixed(1), ranked_by="generic", blend=0.0))
    query = np.array([[0.6, 0.8]], dtype=np.float32)
    scores = FoldedQuery(rankers, query).score(rows_of(np.eye(2, dtype=np.float32)))
    assert scores == pytest.approx([0.5 * 1.0 + 0.5 * 0.6, 0.5 * 0.8])


@given(st.floats(0.05, 0.95), st.integers(0, 2**32 - 1))
def test_one_instruction_twice_is_that_instruction(weight: float, seed: int) -> None:
    one = hand_made()
    twice = [WeightedRanker(one, "fitted", 1.0, part) for part in (weight, 1 - weight)]
    rows = np.random.default_rng(seed).standard_normal((6, 2)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    scores = FoldedQuery(twice, rows[:1]).score(rows_of(rows[1:]))
    assert scores == pytest.approx(one.score(rows[:1], rows[1:]), abs=1e-5)


@pytest.fixture(scope="module")
def guide() -> GuideByInstruction:
    return GuideByInstruction({COLOUR: MetadataGuide("colour"), SHAPE: MetadataGuide("shape")})


def test_two_instructions_find_what_answers_both(toys: Toys, guide: GuideByInstruction) -> None:
    collection = CountingCollection(
        toys.vectors,
        metadatas=[
            {"colour": c, "shape": s} for c, s in zip(toys.colours, toys.shapes, strict=True)
        ],
    )
    retriever = InstructRetriever(collection, guide, fit=QUICK, force=True)
    wanted = {"colour": toys.colours[0], "shape": toys.shapes[0]}
    both = toys.colours.count(wanted["colour"]), toys.shapes.count(wanted["shape"])
    hits = retriever.search(toys.vectors[0], instruction={COLOUR: 1, SHAPE: 1}, k=5)
    assert min(both) > 5
    assert [hit.metadata for hit in hits].count(wanted) >= 4
    before = collection.calls["fetch"]
    with recorded_calls() as calls:
        retriever.search(toys.vectors[0], instruction={COLOUR: 0.9, SHAPE: 0.1})
    assert collection.calls["fetch"] - before <= 2  # vectors to rescore, then the hits
    assert calls.of("QueryTransform.fold") == 2  # once for each


def test_the_weight_decides(toys: Toys, guide: GuideByInstruction) -> None:
    retriever = InstructRetriever(toys.collection(), guide, fit=QUICK, force=True)

    def share(weight: float) -> float:
        hits = retriever.search(
            toys.vectors[1], instruction={COLOUR: weight, SHAPE: 1 - weight}, k=20
        )
        return [hit.metadata["colour"] for hit in hits].count(toys.colours[1]) / 20

    assert share(0.95) > share(0.05)
    alone = retriever.search(toys.vectors[1], instruction=COLOUR)
    assert retriever.search(toys.vectors[1], instruction={COLOUR: 7}) == alone


def test_where_no_instruction_helps_the_generic_ranking_is_kept() -> None:
    vectors = np.repeat(np.eye(4, dtype=np.float32), 12, axis=0)
    metadatas = [{"a": str(i // 12), "b": "wxyz"[i // 12]} for i in range(48)]
    guides = GuideByInstruction({"A?": MetadataGuide("a"), "B?": MetadataGuide("b")})
    retriever = InstructRetriever(InMemoryCollection(vectors, metadatas=metadatas), guides)
    with pytest.warns(match="the generic ranking is kept"):
        hits = retriever.search([0.9, 0.5, 0.1, 0.0], instruction={"A?": 0.5, "B?": 0.5})
    assert hits == retriever.search([0.9, 0.5, 0.1, 0.0])
