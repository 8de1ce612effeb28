"""Examples in an instruction move the query at once, and little where they say little."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruct_embeddings import Instruction
from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import InstructionError
from instruct_embeddings.guides import MetadataGuide
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.retrieval.examples import PENALTY, ExampleMove
from tests.unit.retrieval.test_instant import AXES, COLOUR, PLAIN, Axes, toys

NONE = np.zeros(1, dtype=np.bool_)
EYE = np.eye(4, dtype=np.float32)


def test_a_move_by_hand() -> None:
    # All queries find the second axis alone; the instruction moves none of them.
    move = ExampleMove.of(EYE[:1], EYE[:1], EYE[2:3], EYE[3:], NONE, EYE[1:2])
    assert np.allclose(move.differences, [[0, -1, 1, 0]])
    assert np.allclose(move.common, np.array([0, -1, 1, 0]) / (PENALTY + 1))
    # The query of the example itself is moved 1 + 8 times an eleventh.
    assert np.allclose(move(EYE[0]), np.array([0, -1, 1, 0]) * 9 / (PENALTY + 1))
    far = 1 + 8 * np.exp(-4)
    assert np.allclose(move(EYE[3]), np.array([0, -1, 1, 0]) * far / (PENALTY + 1))


def test_where_texts_are_compared_only_queries_like_the_examples_move() -> None:
    move = ExampleMove.of(EYE[:1], EYE[1:2], EYE[2:3], EYE[3:], NONE, EYE[1:2], comparing=True)
    assert not move.common.any()
    assert np.allclose(move(EYE[0]), np.array([0, -1, 1, 0]) * 8 / (PENALTY + 1))
    assert np.abs(move(EYE[3])).max() < 8 * np.exp(-3.9) / (PENALTY + 1)


def test_a_bad_text_counts_three_tenths_of_what_is_found() -> None:
    move = ExampleMove.of(EYE[:1], EYE[:1], EYE[2:3], EYE[3:], ~NONE, EYE[1:2])
    assert np.allclose(move.differences, [[0, -0.7, 1, -0.3]])


@pytest.mark.parametrize(("good", "further"), [(EYE[1:2], 0.5), (EYE[:1], 0.0)])
def test_queries_go_on_at_most_half_as_far_and_never_back(good: FloatArray, further: float) -> None:
    move = ExampleMove.of(EYE[:1], EYE[1:2], good, EYE[3:], NONE, EYE[3:])
    rest = (good[0] - EYE[3]) / (PENALTY + 1)
    assert np.allclose(move.common, rest + further * (EYE[1] - EYE[0]))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_what_the_collection_holds_alone_moves_nothing(seed: int, count: int) -> None:
    """A good text that is what is found anyway is no news, however often it is said."""
    rng = np.random.default_rng(seed)
    draw = rng.normal(size=(count + 1, 8)).astype(np.float32)
    draw /= np.linalg.norm(draw, axis=1, keepdims=True)
    queries, only = draw[:count], draw[count:]
    none = np.zeros(count, dtype=np.bool_)
    good = np.repeat(only, count, axis=0)
    move = ExampleMove.of(queries, queries, good, good, none, only)
    assert np.allclose(move(queries[0]), 0, atol=1e-6)


class Words(Axes):
    """Embeds texts by their words; a query without a known word is plain."""

    def directions(self, phrases: Sequence[str]) -> FloatArray:
        self.named += phrases
        found = np.array(
            [
                np.array(PLAIN) + sum(np.array(AXES.get(w, (0,) * 4)) for w in phrase.split())
                for phrase in phrases
            ]
        )
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)


def small(*examples: tuple[str, ...]) -> Instruction:
    return Instruction(COLOUR, examples=examples or (("a car", "a small toy"),))  # type: ignore[arg-type]


def shares(retriever: InstructRetriever, asked: object, word: str, **options: object) -> float:
    hits = retriever.search(PLAIN, query="a thing", instruction=asked, k=16, **options)  # type: ignore[arg-type]
    return float(np.mean([word in (hit.text or "").split() for hit in hits]))


@pytest.mark.parametrize("exact", [False, True])
def test_examples_correct_a_search_without_a_fit(exact: bool) -> None:
    mover = Words()
    retriever = InstructRetriever(toys(), instant=mover)
    assert shares(retriever, COLOUR, "small", exact=exact) < 1
    assert shares(retriever, small(), "small", exact=exact) == 1
    hits = retriever.search(PLAIN, query="a thing", instruction=small(), exact=exact)
    assert {hit.ranked_by for hit in hits} == {"learned"}
    assert shares(retriever, COLOUR, "small", exact=exact) < 1  # without them as before


def test_texts_of_examples_are_embedded_once_and_by_what_they_are() -> None:
    mover = Words()
    retriever = InstructRetriever(toys(), instant=mover)
    for _ in range(2):
        shares(retriever, small(), "small")
    assert mover.named == ["a car", "a small toy"]
    assert shares(retriever, small(("a car", "a red toy")), "red") == 1
    assert len(mover.named) == 4


def test_examples_stand_beside_weights() -> None:
    retriever = InstructRetriever(toys(), instant=Words())
    many = small(*((f"a thing {number}", "a small toy") for number in range(4)))
    assert shares(retriever, {COLOUR: 0.5, "What is it made of?": 0.5}, "small") < 0.5
    assert shares(retriever, {many: 0.5, "What is it made of?": 0.5}, "small") == 1


def test_no_blend_no_examples() -> None:
    retriever = InstructRetriever(toys(), instant=Words())
    plain = [hit.id for hit in retriever.search(PLAIN, query="a thing")]
    found = retriever.search(PLAIN, query="a thing", instruction=small(), blend=0.0)
    assert [hit.id for hit in found] == plain


def test_a_fitted_transform_is_corrected() -> None:
    retriever = InstructRetriever(toys(), MetadataGuide("colour"), instant=Words(), force=True)
    retriever.transform(COLOUR)
    asked = small(("red", "a small red toy"), ("a red car", "a small red toy", "a red toy"))
    query = {"query": "red", "k": 8, "force": True}
    red = [1.0, 1.0, 0.0, 0.0]
    before = retriever.search(red, instruction=COLOUR, **query)  # type: ignore[arg-type]
    after = retriever.search(red, instruction=asked, **query)  # type: ignore[arg-type]
    assert {hit.ranked_by for hit in before} == {"fitted"}
    assert {hit.ranked_by for hit in after} == {"learned"}
    assert sum("small" in (h.text or "") for h in after) >= sum(
        "small" in (h.text or "") for h in before
    )


def test_examples_need_something_to_embed_them() -> None:
    retriever = InstructRetriever(toys(), MetadataGuide("colour"), force=True)
    with pytest.raises(InstructionError, match=r"nothing can embed here.*Pass instant="):
        retriever.search(PLAIN, query="a thing", instruction=small())


def test_questions_are_evaluated_with_examples() -> None:
    retriever = InstructRetriever(toys(), instant=Words())
    right = [str(i) for i in range(48) if i % 3]
    texts = {"queries": ["a thing"], "relevant": [right], "embed": lambda texts: [PLAIN]}
    plain = retriever.evaluate(instruction=COLOUR, **texts)  # type: ignore[arg-type]
    taught = retriever.evaluate(instruction=small(), **texts)  # type: ignore[arg-type]
    assert "1.000  +1.000" in str(taught)
    assert "1.000  +1.000" not in str(plain)
