"""Judgements correct what another guide taught."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from instruct_embeddings._types import FloatArray
from instruct_embeddings.config import FitConfig
from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides import GuideByInstruction, JudgementGuide, MetadataGuide
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.transform import TransformStore
from tests.unit.conftest import COLOUR, Toys, make_toys
from tests.unit.retrieval.conftest import CountingGuide

QUICK = FitConfig(folds=2, time_budget=1e-9)
ASKED = make_toys(12, seed=7)


def embed(texts: Sequence[str]) -> FloatArray:
    """Each query is the number of a toy that is not in the collection."""
    return ASKED.vectors[[int(text) for text in texts]]


def judged(toys: Toys, queries: int, each: int) -> list[tuple[str, str, bool]]:
    """Whether toys have the colour that is asked for."""
    return [
        (str(query), str(row), ASKED.colours[query] == toys.colours[row])
        for query in range(queries)
        for row in range(query * each, query * each + each)
    ]


def test_a_start_is_fitted_first_and_then_corrected(toys: Toys, tmp_path: Path) -> None:
    start = CountingGuide("shape")
    guide = JudgementGuide(judged(toys, 10, 8), embed, start=start)
    store = TransformStore(tmp_path)
    retriever = InstructRetriever(toys.collection(), guide, store=store, fit=QUICK, force=True)
    transform = retriever.transform(COLOUR)
    assert start.asked == [COLOUR]
    assert transform.guide == guide.key
    assert guide.key.endswith(":metadata:shape")
    report = transform.report.judgements
    assert report is not None
    assert (report.judged, report.queries) == (80, 10)
    assert report.same_queries > report.before
    again = InstructRetriever(toys.collection(), guide, store=store, force=True)
    query = ASKED.vectors[0]
    assert again.search(query, instruction=COLOUR) == retriever.search(query, instruction=COLOUR)
    assert start.asked == [COLOUR]


def test_more_judgements_correct_the_stored_start(toys: Toys, tmp_path: Path) -> None:
    start, store = CountingGuide("shape"), TransformStore(tmp_path)
    guide = JudgementGuide(judged(toys, 5, 8), embed, start=start)
    more = guide.with_judgements(judged(toys, 10, 8))
    assert more.key != guide.key
    for one in (guide, more):
        retriever = InstructRetriever(toys.collection(), one, store=store, fit=QUICK, force=True)
        report = retriever.transform(COLOUR).report.judgements
    assert start.asked == [COLOUR]
    assert len(store.keys()) == 3
    assert report is not None
    assert report.queries == 10


def test_the_start_may_depend_on_the_instruction(toys: Toys) -> None:
    start = GuideByInstruction({COLOUR: MetadataGuide("colour")})
    guide = JudgementGuide(judged(toys, 6, 8), embed, start=start)
    retriever = InstructRetriever(toys.collection(), guide, fit=QUICK, force=True)
    assert retriever.transform(COLOUR).report.label_counts
    with pytest.raises(GuideError, match="No guide is given"):
        retriever.transform("What shape is it?")


def test_judgements_of_rows_that_are_gone_are_said(toys: Toys) -> None:
    guide = JudgementGuide([("0", "gone", True)], embed, start=MetadataGuide("shape"))
    with pytest.raises(GuideError, match="None of the 1 ids that the guide knows"):
        InstructRetriever(toys.collection(), guide, fit=QUICK).transform(COLOUR)
