"""Judged questions, answered by rankings that a reader can follow."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from instruct_embeddings import Questions
from instruct_embeddings.errors import ConfigError, EmptyCollectionError, InstructionError
from instruct_embeddings.guides import MetadataGuide
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.retrieval.questions import gain, measure
from instruct_embeddings.testing import InMemoryCollection
from instruct_embeddings.transform import InstructionTransform, TransformStore
from tests.unit.conftest import COLOUR, Adapt, Toys
from tests.unit.retrieval.conftest import CountingGuide
from tests.unit.retrieval.test_fitting import QUICK, SHAPE

SHELF = InMemoryCollection(np.eye(3), ids=["a", "b", "c"], metadatas=[{"n": i} for i in range(3)])
ORDERS = {0.0: ["a", "b", "c"], 0.5: ["b", "a", "c"], 1.0: ["c", "b", "a"]}


def asked(relevant: Any, count: int = 3) -> Questions:
    return Questions(np.eye(3)[:count], relevant, COLOUR)


def measured(relevant: Any, count: int = 3, **options: Any) -> Any:
    options = {"k": 2, "blends": (1.0, 0.5)} | options
    items = asked(relevant, count).items
    return measure(items, SHELF, lambda question, blend: ORDERS[blend], **options)


def test_rankings_are_compared_by_hand() -> None:
    # Relevant is b, then a and c, then c; the first two rows count.
    report = measured([["b"], ["a", "c"], ["c"]])
    log3 = np.log2(3)
    generic, half, whole = report.rankings
    assert [one.blend for one in report.rankings] == [0.0, 0.5, 1.0]
    best = 1 + 1 / log3
    assert generic.ndcg == pytest.approx((1 / log3 + 1 / best + 0) / 3)
    assert half.ndcg == pytest.approx((1 + (1 / log3) / best + 0) / 3)
    assert whole.ndcg == pytest.approx((1 / log3 + 1 / best + 1) / 3)
    assert [one.recall for one in report.rankings] == pytest.approx([1.5 / 3, 1.5 / 3, 2.5 / 3])
    assert (half.better, half.worse) == (1, 1)
    assert (whole.better, whole.worse) == (1, 0)
    assert generic.ndcg_gain is None
    assert whole.ndcg_gain.value == pytest.approx(1 / 3)
    assert (report.questions, report.left_out, report.missing, report.k) == (3, 0, 0, 2)


def test_three_questions_are_too_few_to_tell() -> None:
    report = measured([["c"]] * 3)
    assert report[1.0].ndcg_gain.value == 1.0
    assert report[1.0].ndcg_gain.p_value == 0.25  # all three by chance: 2 of 8 cases
    assert report.blend == 0.0
    assert "on 3 judged questions no blend raises nDCG@2 by more than chance." in str(report)


def test_eight_that_all_gain_are_enough_and_the_best_blend_is_named() -> None:
    items = Questions(np.ones((8, 3)), [["c"]] * 8, COLOUR).items
    report = measure(items, SHELF, lambda question, blend: ORDERS[blend], k=2, blends=[0.5, 1.0])
    assert report[1.0].ndcg_gain.p_value == pytest.approx(2 / 2**8)
    assert report.blend == 1.0
    assert str(report).splitlines() == [
        f'"{COLOUR}"',
        "blend    nDCG@2                             gain  recall@2    gain  better  worse",
        "generic   0.000                                      0.000",
        "0.5       0.000  +0.000 [+0.000, +0.000] p=1.000     0.000  +0.000       0      0",
        "1         1.000  +1.000 [+1.000, +1.000] p=0.008     1.000  +1.000       8      0",
        "Use blend=1: on 8 judged questions nDCG@2 rises by more than chance, "
        "+1.000 [+1.000, +1.000] p=0.008.",
    ]


def test_a_blend_that_loses_is_named() -> None:
    items = Questions(np.ones((8, 3)), [["a"]] * 8, COLOUR).items
    report = measure(items, SHELF, lambda question, blend: ORDERS[blend], k=2, blends=[0.5, 1.0])
    assert report.blend == 0.0
    assert report.verdict() == (
        "Keep the generic ranking (blend=0): on 8 judged questions no blend raises nDCG@2 by more "
        "than chance, and blend=1 lowers it, -1.000 [-1.000, -1.000] p=0.008."
    )


def test_of_equal_blends_the_smaller_one_is_used() -> None:
    items = Questions(np.ones((8, 3)), [["c"]] * 8, COLOUR).items
    find: Callable[..., list[str]] = lambda question, blend: ["c"] if blend else ["a"]  # noqa: E731
    assert measure(items, SHELF, find, blends=[1.0, 0.25, 0.5]).blend == 0.25


def test_one_question_has_no_interval() -> None:
    report = measured([["c"]], 1)
    assert report[1.0].ndcg_gain.p_value == 1.0
    assert "on 1 judged question no" in report.verdict()


def test_no_change_is_no_gain() -> None:
    same = np.array([0.5, 0.5])
    assert gain(same, same).p_value == 1.0


def test_what_is_not_in_the_collection_is_left_out_and_said() -> None:
    report = measured([["b", "gone"], ["gone", "lost"], ["c"]])
    assert (report.questions, report.left_out, report.missing) == (2, 1, 3)
    assert report[0.0].recall == 0.5  # b of b, and not c of c
    lines = str(report).splitlines()
    assert "1 further question left out: none of their relevant rows is in the collection" in lines
    assert "3 relevant rows are not in the collection, and not asked" in lines


def test_rows_that_a_filter_hides_are_not_asked_for() -> None:
    report = measured([["b"], ["a"], ["c"]], where={"n": {"$gte": 1}})
    assert (report.questions, report.left_out) == (2, 1)


def test_no_question_left_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"None of the 1 relevant rows of 3 .* 'gone' for"):
        measured([["gone"]] * 3)
    with pytest.raises(ConfigError, match="that pass the filter"):
        measured([["a"]] * 3, where={"n": 2})
    items = asked([["a"]] * 3).items
    with pytest.raises(EmptyCollectionError):
        measure(items, InMemoryCollection(), lambda question, blend: [])


def test_repeated_ids_count_once() -> None:
    items = asked([["a", "a", "c"]], 1).items
    report = measure(items, SHELF, lambda question, blend: ["b", "b", "a"], k=2)
    assert report[0.0].recall == 0.5
    assert report[0.0].ndcg == pytest.approx((1 / np.log2(3)) / (1 + 1 / np.log2(3)))


@pytest.mark.parametrize("blends", [(0.0, 1.0), (1.5,), ("half",), (True,), ()])
def test_blends_out_of_range_are_refused(blends: Any) -> None:
    with pytest.raises(ConfigError, match=r"blends must be .* Pass for example"):
        measured([["a"]] * 3, blends=blends)


class TestForms:
    def test_qrels_with_grades(self) -> None:
        queries = {"q1": [1, 0, 0], "q2": [0, 1, 0], "q3": [0, 0, 1]}
        found = Questions(queries, {"q3": {"c": 2, "a": 0}, "q1": {"a": 1}}, COLOUR)
        assert [one.grades for one in found.items] == [{"a": 1.0}, {"c": 2.0}]
        np.testing.assert_array_equal(found.vectors, [[1, 0, 0], [0, 0, 1]])

    def test_texts_by_what_they_ask(self) -> None:
        found = Questions(["one", "two"], {"two": ["b"]}, embed=lambda texts: [[len(texts), 0]])
        assert [(one.text, one.position) for one in found.items] == [("two", 0)]
        np.testing.assert_array_equal(found.vectors, [[1, 0]])

    def test_instructions_of_questions_that_are_not_judged_go_with_them(self) -> None:
        found = Questions(["one", "two"], {"two": ["b"]}, [COLOUR, SHAPE])
        assert [one.instruction for one in found.items] == [SHAPE]
        assert not found.under(COLOUR)
        assert [one.instruction for one in found.under(SHAPE.upper())] == [SHAPE.upper()]

    def test_those_without_an_instruction_are_asked_under_any(self) -> None:
        [one] = Questions(["one"], [["a"]]).under(COLOUR)
        assert one.instruction == COLOUR

    @pytest.mark.parametrize(
        ("queries", "relevant", "instruction", "problem"),
        [
            (["one"], [["a"], ["b"]], None, "2 entries for 1 queries"),
            (["one"], ["a"], None, "'a', not a collection of ids"),
            (["one"], [3], None, "3, not a collection of ids"),
            (["one"], {"two": ["a"]}, None, "'two', which is none of the 1"),
            (["one"], {}, None, "no judged question"),
            (["one"], [{"a": "yes"}], None, "grade of 'a' is 'yes'"),
            (["one"], [["a"]], [COLOUR, SHAPE], "2 entries for 1 queries"),
        ],
    )
    def test_what_does_not_fit_together_is_refused(
        self, queries: Any, relevant: Any, instruction: Any, problem: str
    ) -> None:
        with pytest.raises(ConfigError, match=problem):
            Questions(queries, relevant, instruction)

    def test_a_bare_text_is_refused(self) -> None:
        with pytest.raises(TypeError, match=r"wrap it: \['one'\]"):
            Questions("one", [["a"]])

    def test_texts_need_something_to_embed_them(self) -> None:
        with pytest.raises(ConfigError, match=r"'one' is a text, .* embed=model"):
            _ = Questions(["one"], [["a"]]).vectors

    @pytest.mark.parametrize("queries", [[[1, 0], [1]], [1.0, 2.0]])
    def test_vectors_have_one_length(self, queries: Any) -> None:
        with pytest.raises(ConfigError, match="shape"):
            _ = Questions(queries, [["a"], ["b"]]).vectors

    def test_it_is_embedded_once(self) -> None:
        calls: list[object] = []

        def embed(texts: Any) -> Any:
            calls.append(texts)
            return np.ones((len(texts), 2))

        found = Questions(["one"], [["a"]]).embedded_by(embed)
        assert found.vectors is found.vectors
        assert calls == [["one"]]
        assert found.embedded_by(lambda texts: []) is found


@pytest.fixture
def same_colour(toys: Toys) -> tuple[Any, list[list[str]]]:
    """Twenty toys that ask for the others of their colour."""
    colours = toys.colours
    relevant = [
        [str(j) for j, other in enumerate(colours) if other == colours[i] and j != i]
        for i in range(20)
    ]
    return toys.vectors[:20], relevant


def test_a_retriever_measures_generic_beside_adapted(
    toys: Toys, same_colour: tuple[Any, list[list[str]]], adapt: Adapt
) -> None:
    retriever = adapt(toys.collection())
    report = retriever.evaluate(*same_colour, instruction=COLOUR, blends=[0.5, 1.0])
    assert report.instructions == (COLOUR,)
    assert report.questions == 20
    assert report[1.0].ndcg > report[0.0].ndcg + 0.2
    assert report.blend > 0
    hits = [retriever.search(vector, k=10) for vector in same_colour[0]]
    found = [
        len({hit.id for hit in ten} & set(ids)) / len(ids)
        for ten, ids in zip(hits, same_colour[1], strict=True)
    ]
    assert report[0.0].recall == pytest.approx(np.mean(found))
    exactly = retriever.evaluate(*same_colour, instruction=COLOUR, blends=[1.0], exact=True)
    assert exactly[1.0].ndcg == pytest.approx(report[1.0].ndcg, abs=0.02)


def test_each_question_may_have_its_own_instruction(toys: Toys) -> None:
    guide = CountingGuide()
    retriever = InstructRetriever(toys.collection(), guide, fit=QUICK)
    report = retriever.evaluate(
        toys.vectors[:2], [["1"], ["2"]], instruction=[COLOUR, {COLOUR: 1.0, SHAPE: 3.0}]
    )
    assert guide.asked == [COLOUR, SHAPE]
    assert report.instructions == (COLOUR, f"{COLOUR} (1), {SHAPE} (3)")
    with pytest.raises(InstructionError, match="no instruction to evaluate"):
        retriever.evaluate(toys.vectors[:1], [["1"]], instruction=None)


def test_a_transform_that_searches_leave_alone_is_measured_all_the_same(
    toys: Toys,
    same_colour: tuple[Any, list[list[str]]],
    by_colour: InstructionTransform,
    tmp_path: Any,
) -> None:
    store = TransformStore(tmp_path)
    useless = replace(by_colour.report, adapted=by_colour.report.generic)
    store.put(replace(by_colour, report=useless))
    retriever = InstructRetriever(toys.collection(), store=store)
    assert not retriever.search(toys.vectors[0], instruction=COLOUR)[0].adapted
    assert retriever.evaluate(*same_colour, instruction=COLOUR)[1.0].better > 10


class TestJudgedFits:
    def test_they_decide_for_a_blend_and_say_so(
        self, toys: Toys, same_colour: tuple[Any, list[list[str]]], tmp_path: Any
    ) -> None:
        questions = Questions(*same_colour)
        collection, guide = toys.collection(), MetadataGuide("colour")
        retriever = InstructRetriever(
            collection, guide, fit=QUICK, store=tmp_path, questions=questions
        )
        report = retriever.transform(COLOUR).report
        assert report.questions is not None
        assert report.blend == report.questions.blend > 0
        assert "judged questions decide" in str(report)
        assert report.questions.verdict() in str(report)
        same = retriever.search(toys.vectors[0], instruction=COLOUR, blend=report.blend)
        assert retriever.search(toys.vectors[0], instruction=COLOUR) == same
        # The next process finds it without questions.
        later = InstructRetriever(collection, store=tmp_path)
        assert later.transform(COLOUR).report == report
        assert later.search(toys.vectors[0], instruction=COLOUR) == same

    def test_a_transform_that_answers_them_worse_is_not_used(self, toys: Toys) -> None:
        # Each asks for itself, which the generic ranking finds first.
        questions = Questions(toys.vectors[:30], [[str(i)] for i in range(30)], COLOUR)
        retriever = InstructRetriever(
            toys.collection(), MetadataGuide("colour"), fit=QUICK, questions=questions
        )
        with pytest.warns(match=r"Keep the generic ranking"):
            hits = retriever.search(toys.vectors[0], instruction=COLOUR)
        report = retriever.transform(COLOUR).report
        assert report.gains
        assert not report.used
        assert not hits[0].adapted
        assert hits == retriever.search(toys.vectors[0])
        forced = retriever.search(toys.vectors[0], instruction=COLOUR, force=True)
        assert forced[0].adapted

    def test_those_of_other_instructions_say_nothing(self, toys: Toys) -> None:
        questions = Questions(toys.vectors[:1], [["0"]], SHAPE)
        retriever = InstructRetriever(
            toys.collection(), MetadataGuide("colour"), fit=QUICK, questions=questions
        )
        assert retriever.transform(COLOUR).report.questions is None
        assert retriever.questions is questions

    def test_stored_transforms_are_judged_when_they_are_found(
        self, toys: Toys, same_colour: tuple[Any, list[list[str]]], tmp_path: Any
    ) -> None:
        InstructRetriever(
            toys.collection(), MetadataGuide("colour"), fit=QUICK, store=tmp_path
        ).transform(COLOUR)
        judging = InstructRetriever(
            toys.collection(), store=tmp_path, questions=Questions(*same_colour)
        )
        assert judging.transform(COLOUR).report.questions is not None
        assert TransformStore(tmp_path).summaries()[0].report.questions is not None
