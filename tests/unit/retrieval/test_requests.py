"""Instructions that request something, under guides that compare documents."""

import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from instruct_embeddings.config import FitConfig
from instruct_embeddings.errors import TransformWarning
from instruct_embeddings.retrieval import InstructRetriever, Questions
from instruct_embeddings.testing import InMemoryCollection, TinyEncoder
from instruct_embeddings.transform import InstructionTransform, TransformStore
from tests.movers import TinyInstant
from tests.unit.conftest import COLOUR, Toys
from tests.unit.retrieval.conftest import CountingGuide

REQUEST = "Find the passage that answers the question"
QUICK = FitConfig(folds=2, time_budget=1e-9)


class SelfTaught(CountingGuide):
    """Teaches the colours, but says that it compares documents."""

    key = "encoder:0123"


class People(CountingGuide):
    """The same, by labels."""

    key = "labels:0123"


def words() -> InMemoryCollection:
    texts = [
        f"{colour} {shape} {n}"
        for colour in ("red", "blue")
        for shape in ("ball", "cube")
        for n in range(6)
    ]
    metadatas = [{"colour": text.split()[0]} for text in texts]
    return InMemoryCollection(TinyEncoder().encode(texts), texts=texts, metadatas=metadatas)


@pytest.fixture
def guide() -> SelfTaught:
    return SelfTaught()


def test_without_an_instant_query_it_stays_generic_and_nothing_is_fitted(
    toys: Toys, guide: SelfTaught
) -> None:
    retriever = InstructRetriever(toys.collection(), guide, fit=QUICK)
    with pytest.warns(TransformWarning, match="the generic ranking is kept") as told:
        hits = retriever.search(toys.vectors[0], query="q", instruction=REQUEST)
    assert hits == retriever.search(toys.vectors[0])
    assert hits[0].ranked_by == "generic"
    assert guide.asked == []
    assert "Which disease is it about?" in str(told[0].message)


def test_it_is_said_once_an_instruction(toys: Toys, guide: SelfTaught) -> None:
    retriever = InstructRetriever(toys.collection(), guide, fit=QUICK)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for text in (REQUEST, REQUEST.upper(), f" {REQUEST}. ", "Answer briefly"):
            retriever.search(toys.vectors[0], query="q", instruction=text)
    assert [REQUEST in str(one.message) for one in told] == [True, False]


def test_with_an_instant_query_that_one_answers(guide: SelfTaught) -> None:
    mover = TinyInstant()
    retriever = InstructRetriever(words(), guide, instant=mover, fit=QUICK)
    vector = TinyEncoder().encode(["ball"])[0]
    with pytest.warns(TransformWarning, match="the instant query answers it"):
        hits = retriever.search(vector, query="ball", instruction=REQUEST)
    assert hits[0].ranked_by == "instant"
    # Also where a fit would be waited for, nothing is fitted.
    assert retriever.search(vector, query="ball", instruction=REQUEST, wait=True) == hits
    assert (guide.asked, set(mover.asked)) == ([], {REQUEST})


def test_an_aspect_is_fitted_as_ever(toys: Toys, guide: SelfTaught) -> None:
    retriever = InstructRetriever(toys.collection(), guide, fit=QUICK)
    assert retriever.search(toys.vectors[0], query="q", instruction=COLOUR)[0].adapted
    assert guide.asked == [COLOUR]


def test_labels_of_people_decide_as_ever(toys: Toys) -> None:
    retriever = InstructRetriever(toys.collection(), People(), fit=QUICK)
    assert retriever.search(toys.vectors[0], query="q", instruction=REQUEST)[0].adapted


@pytest.mark.parametrize("always", [True, False])
def test_force_uses_the_transform(toys: Toys, guide: SelfTaught, always: bool) -> None:
    retriever = InstructRetriever(toys.collection(), guide, fit=QUICK, force=always)
    more = {} if always else {"force": True}
    assert retriever.search(toys.vectors[0], query="q", instruction=REQUEST, **more)[0].adapted


def test_judged_questions_decide(toys: Toys, guide: SelfTaught) -> None:
    """Rows of the same colour are what answers, so that the transform helps."""
    relevant = [[str(i) for i, c in enumerate(toys.colours) if c == own] for own in toys.colours]
    questions = Questions(toys.vectors[:30], relevant[:30], REQUEST)
    retriever = InstructRetriever(toys.collection(), guide, fit=QUICK, questions=questions)
    assert retriever.transform(REQUEST).report.questions is not None
    assert retriever.search(toys.vectors[0], query="q", instruction=REQUEST)[0].adapted


def test_a_stored_transform_of_such_a_guide_does_not_take_over(
    toys: Toys, by_colour: InstructionTransform, tmp_path: Path
) -> None:
    store = TransformStore(tmp_path)
    for guide in ("names:0123", "labels:0123"):
        store.put(replace(by_colour, instruction=f"Answer by {guide}", guide=guide))
    retriever = InstructRetriever(toys.collection(), store=store)
    by = {
        guide: retriever.search(toys.vectors[0], query="q", instruction=f"Answer by {guide}")[0]
        for guide in ("names:0123", "labels:0123")
    }
    assert (by["names:0123"].ranked_by, by["labels:0123"].ranked_by) == ("generic", "fitted")


def test_beside_an_aspect_its_share_stays_generic(toys: Toys, guide: SelfTaught) -> None:
    retriever = InstructRetriever(toys.collection(), guide, fit=QUICK)
    with pytest.warns(TransformWarning):
        hits = retriever.search(
            toys.vectors[0], query="q", instruction={COLOUR: 0.5, REQUEST: 0.5}, exact=True, k=3
        )
    assert (hits[0].ranked_by, guide.asked) == ("mixed", [COLOUR])
    transform, query = retriever.transform(COLOUR), toys.vectors[:1]
    row = toys.vectors[[int(hits[0].id)]]
    expected = 0.5 * float(transform.score(query, row)[0]) + 0.5 * float((query @ row.T)[0, 0])
    assert hits[0].score == pytest.approx(expected, abs=1e-6)


def test_coroutines_do_not_wait_for_what_is_not_fitted(toys: Toys, guide: SelfTaught) -> None:
    import asyncio

    retriever = InstructRetriever(toys.collection(), guide, fit=QUICK)
    asyncio.run(retriever.aprepare(REQUEST, query="q", wait=True))
    assert guide.asked == []
    asyncio.run(retriever.aprepare(COLOUR, query="q", wait=True))
    assert guide.asked == [COLOUR]


def test_asking_for_the_transform_itself_fits_it(toys: Toys, guide: SelfTaught) -> None:
    retriever = InstructRetriever(toys.collection(), guide, fit=QUICK)
    assert retriever.transform(REQUEST).report.used
    assert retriever.fitted(REQUEST) is not None
    with pytest.warns(TransformWarning):
        assert retriever.search(toys.vectors[0], instruction=REQUEST)[0].ranked_by == "generic"
