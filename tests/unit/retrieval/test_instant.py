"""New instructions are answered at once; what is fitted takes over when it serves."""

import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from instruct_embeddings._types import FloatArray, Space
from instruct_embeddings.guides import MetadataGuide
from instruct_embeddings.protocols import Rows
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.supervision import Supervision
from instruct_embeddings.testing import InMemoryCollection

COLOUR = "What colour is it?"
AXES = {"red": (0.0, 1.0, 0.0, 0.0), "blue": (0.0, 0.0, 1.0, 0.0), "small": (0.0, 0.0, 0.0, 1.0)}


class Axes:
    """Moves a query along the axis of a word in it, whatever the instruction asks."""

    name = "axes"

    def __init__(self) -> None:
        self.settled = 0
        self.asked: list[tuple[str, str]] = []
        self.named: list[str] = []

    def for_collection(self, sample: Callable[[int], Rows]) -> "Axes":
        self.settled += 1
        assert 0 < len(sample(12)) <= 12
        return self

    def moves(
        self,
        queries: Sequence[str],
        instruction: str,
        vectors: FloatArray,
        *,
        centred: bool = False,
    ) -> FloatArray:
        self.asked += [(query, instruction) for query in queries]
        found = [AXES.get(query.split()[0], (0.0, 0.0, 0.0, 0.0)) for query in queries]
        return np.array(found, dtype=np.float32)

    def directions(self, phrases: Sequence[str]) -> FloatArray:
        self.named += phrases
        return np.array([AXES[phrase] for phrase in phrases], dtype=np.float32)

    def is_like_its_texts(self, query: str) -> bool:
        return False

    def level(self, cosine: float) -> float:
        return cosine


def toys(space: Space = "cosine", rows: int = 48) -> InMemoryCollection:
    """Red and blue toys, small ones among them; all are equally near to a plain query."""
    colours = ["red" if i % 2 else "blue" for i in range(rows)]
    sizes = ["small" if i % 3 else "large" for i in range(rows)]
    vectors = [
        np.array([1.0 + 0.001 * i, 0, 0, 0])
        + 0.5 * np.array(AXES[colour])
        + (0.5 * np.array(AXES["small"]) if size == "small" else 0)
        for i, (colour, size) in enumerate(zip(colours, sizes, strict=True))
    ]
    unit = [vector / np.linalg.norm(vector) for vector in vectors]
    metadatas = [{"colour": c, "size": s} for c, s in zip(colours, sizes, strict=True)]
    texts = [f"a {s} {c} toy" for c, s in zip(colours, sizes, strict=True)]
    return InMemoryCollection(unit, texts=texts, metadatas=metadatas, space=space)


PLAIN = [1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("space", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("exact", [False, True])
def test_a_new_instruction_is_answered_at_once(space: Space, exact: bool) -> None:
    retriever = InstructRetriever(toys(space), instant=Axes())
    hits = retriever.search(PLAIN, query="red toy", instruction=COLOUR, k=5, exact=exact)
    assert {hit.metadata["colour"] for hit in hits} == {"red"}
    assert {hit.ranked_by for hit in hits} == {"instant"}
    assert all(hit.adapted for hit in hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_a_search_without_an_instruction_asks_nobody() -> None:
    mover = Axes()
    hits = InstructRetriever(toys(), instant=mover).search(PLAIN, query="red toy", k=5)
    assert {hit.ranked_by for hit in hits} == {"generic"}
    assert not mover.asked


def test_the_space_is_looked_at_once_and_a_question_read_once() -> None:
    mover = Axes()
    retriever = InstructRetriever(toys(), instant=mover)
    for colour, k, blend in (("red", 5, 1.0), ("blue", 5, 1.0), ("red", 3, 0.5)):
        hits = retriever.search(PLAIN, query=f"{colour} toy", instruction=COLOUR, k=k, blend=blend)
        assert {hit.metadata["colour"] for hit in hits} == {colour}
    assert mover.settled == 1
    assert [query for query, _ in mover.asked] == ["red toy", "blue toy"]


def test_blend_leads_back_to_the_generic_ranking() -> None:
    retriever = InstructRetriever(toys(), instant=Axes())
    generic = [hit.id for hit in retriever.search(PLAIN, k=10)]
    blended = retriever.search(PLAIN, query="red toy", instruction=COLOUR, k=10, blend=0.0)
    assert [hit.id for hit in blended] == generic


def test_several_instructions_are_one_search() -> None:
    retriever = InstructRetriever(toys(), instant=Axes())
    asked = {COLOUR: 0.5, "What size is it?": 0.5}
    hits = retriever.search(PLAIN, query="red toy", instruction=asked, k=5)
    assert {hit.metadata["colour"] for hit in hits} == {"red"}
    assert {hit.ranked_by for hit in hits} == {"instant"}


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    ("instruction", "colour"),
    [("Only red", "red"), ("No red.", "blue"), ("Anything but blue", "red")],
)
def test_constraints_are_obeyed(instruction: str, colour: str, exact: bool) -> None:
    retriever = InstructRetriever(toys(), instant=Axes())
    hits = retriever.search(PLAIN, query="toy", instruction=instruction, k=5, exact=exact)
    assert [hit.metadata["colour"] for hit in hits] == [colour] * 5
    assert all(-1 <= hit.score <= 1 for hit in hits)


def test_filters_hold_under_constraints() -> None:
    retriever = InstructRetriever(toys(), instant=Axes())
    where = {"size": "large"}
    hits = retriever.search(PLAIN, query="toy", instruction="Only red", k=5, where=where)
    assert {(hit.metadata["colour"], hit.metadata["size"]) for hit in hits} == {("red", "large")}


class SlowGuide(MetadataGuide):
    """Judges when it may."""

    def __init__(self) -> None:
        super().__init__("colour")
        self.may, self.calls = threading.Event(), 0

    def judge(self, instruction: str, sample: Rows) -> Supervision:
        self.calls += 1
        assert self.may.wait(30)
        return super().judge(instruction, sample)


def ranked_by(retriever: InstructRetriever, **options: object) -> str:
    """What answers a question about colours."""
    found = retriever.search(
        PLAIN,
        query="red toy",
        instruction=COLOUR,
        **options,  # type: ignore[arg-type]
    )
    return found[0].ranked_by


def test_what_is_fitted_takes_over() -> None:
    guide = SlowGuide()
    retriever = InstructRetriever(toys(), guide, instant=Axes(), force=True)
    assert [ranked_by(retriever) for _ in range(3)] == ["instant"] * 3
    guide.may.set()
    retriever.transform(COLOUR)  # waits for the fit that is under way
    assert guide.calls == 1
    assert ranked_by(retriever) == "fitted"


def test_one_may_wait_for_the_fit() -> None:
    guide = SlowGuide()
    guide.may.set()
    retriever = InstructRetriever(toys(), guide, instant=Axes(), force=True)
    assert ranked_by(retriever, wait=True) == "fitted"


def test_without_the_text_of_the_query_a_search_waits() -> None:
    guide = SlowGuide()
    guide.may.set()
    retriever = InstructRetriever(toys(), guide, instant=Axes(), force=True)
    assert retriever.search(PLAIN, instruction=COLOUR)[0].ranked_by == "fitted"


def test_a_fit_that_fails_is_said_once_and_does_not_stop_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    retriever = InstructRetriever(toys(), MetadataGuide("nothing"), instant=Axes())
    done = threading.Event()
    for _ in range(200):
        assert ranked_by(retriever) == "instant"
        if "could not be fitted" in caplog.text:
            break
        done.wait(0.05)
    for _ in range(5):
        assert ranked_by(retriever) == "instant"
    assert caplog.text.count("could not be fitted") == 1


async def test_coroutines_do_not_wait_where_there_is_an_answer() -> None:
    guide = SlowGuide()
    retriever = InstructRetriever(toys(), guide, instant=Axes(), force=True)
    await retriever.aprepare(COLOUR, query="red toy")
    assert guide.calls == 0
    guide.may.set()
    await retriever.aprepare(COLOUR, query="red toy", wait=True)
    assert guide.calls == 1


def test_what_a_constraint_names_is_embedded_once_for_all_queries() -> None:
    axes = Axes()
    retriever = InstructRetriever(toys(), instant=axes)
    for _ in range(3):
        retriever.search(PLAIN, query="toy", instruction="Only small", k=5)
    assert axes.named == ["small"]
    retriever.search(PLAIN, query="toy", instruction="No red", k=5)
    assert axes.named == ["small", "red"]
