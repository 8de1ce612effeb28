from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides import LabelGuide
from instruct_embeddings.guides.annotations import Judgement, JudgementGuide
from instruct_embeddings.protocols import Guide, Rows
from instruct_embeddings.supervision import Pairs
from instruct_embeddings.transform import InstructionTransform
from instruct_embeddings.transform.judgements import refine
from tests.unit.conftest import Toys

TRIPLES = [("left", "a", True), ("right", "b", True), ("left", "c", False)]
SAMPLE = Rows(("c", "x", "a"), np.array([[3, 3], [9, 9], [1, 1]], dtype=np.float32))


def embed(texts: Sequence[str]) -> FloatArray:
    known = {"left": [-1, 0], "right": [1, 0]}
    return np.array([known[text] for text in texts], dtype=np.float32)


GUIDE = JudgementGuide(TRIPLES, embed)


def test_judgements_about_sampled_rows_are_pairs_in_the_order_given() -> None:
    guide: Guide = GUIDE
    pairs = guide.judge("Which side?", SAMPLE)
    assert isinstance(pairs, Pairs)
    assert pairs.queries.tolist() == [[-1, 0], [-1, 0]]
    assert pairs.documents.tolist() == [[1, 1], [3, 3]]
    assert pairs.relevant.tolist() == [True, False]


def test_each_query_is_embedded_once_and_only_if_it_is_needed() -> None:
    asked: list[list[str]] = []

    def count(texts: Sequence[str]) -> FloatArray:
        asked.append(list(texts))
        return embed(texts)

    JudgementGuide(TRIPLES, count).judge("Which side?", SAMPLE)
    assert asked == [["left"]]


def test_only_judged_rows_are_wanted() -> None:
    assert GUIDE.ids() == ["a", "b", "c"]
    with pytest.raises(GuideError, match=r"None of the 1 .* like \['x'\], judged ids like \['a'"):
        GUIDE.judge("Which side?", SAMPLE.take([1]))


def test_lists_of_numbers_are_vectors_too() -> None:
    guide = JudgementGuide(TRIPLES, lambda texts: embed(texts).tolist())
    assert guide.judge("Which side?", SAMPLE).queries.dtype == np.float32


@pytest.mark.parametrize("given", [np.ones((1, 3)), np.ones((2, 2)), np.ones(2), [[np.nan, 1]]])
def test_vectors_of_another_shape_are_refused(given: Any) -> None:
    guide = JudgementGuide(TRIPLES, lambda texts: given)
    with pytest.raises(GuideError, match=r"on 1 texts: it returned shape.*, shape \(1, 2\)"):
        guide.judge("Which side?", SAMPLE)


def test_the_later_of_two_judgements_holds_and_counts_as_new() -> None:
    changed = GUIDE.with_judgements([("left", "a", False)])
    assert changed.judgements == (
        Judgement("right", "b", True),
        Judgement("left", "c", False),
        Judgement("left", "a", False),
    )
    assert GUIDE.judgements[0] == Judgement("left", "a", True)


def test_more_judgements_keep_start_and_embedding() -> None:
    start = LabelGuide({"a": "x"})
    more = JudgementGuide(TRIPLES, embed, start=start).with_judgements([("right", "a", False)])
    assert more.start is start
    assert len(more.judgements) == 4
    assert more.judge("Which side?", SAMPLE).queries.tolist() == [[-1, 0], [-1, 0], [1, 0]]


def test_the_key_names_judgements_and_start_in_any_order() -> None:
    assert GUIDE.key == JudgementGuide(reversed(TRIPLES), embed).key
    start = LabelGuide({"a": "x"})
    keys = {
        JudgementGuide(TRIPLES[:2], embed).key,
        GUIDE.with_judgements([("left", "a", False)]).key,
        JudgementGuide(TRIPLES, embed, start=start).key,
    }
    assert len({GUIDE.key, *keys}) == 4
    assert JudgementGuide(TRIPLES, embed, start=start).key.endswith(f":{start.key}")
    assert GUIDE.key.startswith("judgements:")


def test_triples_tuples_and_numbers_of_tables_are_judgements() -> None:
    given: list[Any] = [Judgement("left", "a", True), ["left", "b", 0], ("left", "c", np.bool_(1))]
    assert [one.relevant for one in JudgementGuide(given, embed).judgements] == [True, False, True]


@pytest.mark.parametrize(
    "wrong",
    [
        ("left", "a"),
        ("left", 3, True),
        (3, "a", True),
        ("left", "a", "yes"),
        "abc",
        7,
        ("left", "a", None),
        ("left", "a", 0.5),
    ],
)
def test_what_is_no_judgement_is_refused(wrong: Any) -> None:
    with pytest.raises(GuideError, match="is not a judgement"):
        JudgementGuide([wrong], embed)


def test_no_judgements_are_refused() -> None:
    with pytest.raises(GuideError, match="wants judgements, got none"):
        JudgementGuide([], embed)


def test_queries_are_not_shown() -> None:
    assert repr(GUIDE) == "JudgementGuide(<3 judgements>, start=None)"


@given(
    triples=st.lists(
        st.tuples(st.sampled_from("lr"), st.sampled_from("abc"), st.booleans()), min_size=1
    )
)
def test_what_was_said_last_about_a_query_and_an_id_is_kept_once(
    triples: list[tuple[str, str, bool]],
) -> None:
    guide = JudgementGuide(triples, embed)
    last = {(query, row): relevant for query, row, relevant in triples}
    assert {(one.query, one.id): one.relevant for one in guide.judgements} == last
    assert len(guide.judgements) == len(last)
    assert guide.key == guide.with_judgements(triples[-1:]).key


def test_judgements_correct_the_transform_of_another_guide(
    toys: Toys, by_colour: InstructionTransform
) -> None:
    """A user wants balls of any colour where colours were learned."""
    collection = toys.collection()
    query = toys.vectors[toys.shapes.index("ball")]
    scores = by_colour.score(query[None], toys.vectors)
    shown = [str(i) for i in np.argsort(-scores)[1:21]]
    triples = [("a ball, please", row, toys.shapes[int(row)] == "ball") for row in shown]
    guide = JudgementGuide(triples, lambda texts: np.array([query] * len(texts)))
    rows = collection.fetch(guide.ids(), vectors=True)
    better = refine(by_colour, guide.judge(by_colour.instruction, rows), guide=guide.key)
    assert better.guide == guide.key
    unseen = [i for i in range(90) if str(i) not in shown]
    balls = np.array([toys.shapes[i] == "ball" for i in unseen])

    def found(transform: InstructionTransform) -> float:
        best = np.argsort(-transform.score(query[None], toys.vectors[unseen]))[:10]
        return float(balls[best].mean())

    assert found(better) > found(by_colour) + 0.15  # of ten rows, two more are balls


def test_marks_within_queries_and_ids_do_not_make_keys_equal() -> None:
    one = JudgementGuide([("a\x1fb", "c", True)], embed)
    other = JudgementGuide([("a", "b\x1fc", True)], embed)
    assert one.key != other.key


@pytest.mark.parametrize("given", [None, 3, "abc", {"a": "b"}])
def test_judgements_are_several(given: Any) -> None:
    with pytest.raises(GuideError, match=r"wants judgements, got .* triples"):
        JudgementGuide(given, embed)


def test_what_an_embedder_says_is_told_without_credentials_and_without_its_chain() -> None:
    def fail(texts: Sequence[str]) -> FloatArray:
        raise ConnectionError("401: x-api-key: 0123abcd is wrong")

    found: list[GuideError] = []
    for embedder in (fail, lambda texts: [["a"]] * len(texts), lambda texts: [[1], [1, 2]]):
        try:
            JudgementGuide(TRIPLES, embedder).judge("What?", SAMPLE)
        except GuideError as exc:
            found.append(exc)
    assert len(found) == 3
    assert all(one.__cause__ is one.__context__ is None for one in found)
    assert "ConnectionError: 401: x-api-key[hidden] is wrong" in str(found[0])
    assert all("one vector of numbers for each text" in str(one) for one in found)
