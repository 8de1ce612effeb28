"""A transform serves for another instruction that means the same, where that is asked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instruct_embeddings.config import FitConfig
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.protocols import Rows
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.retrieval.reuse import Reuse, agreement
from instruct_embeddings.supervision import Targets
from instruct_embeddings.testing import InMemoryCollection
from instruct_embeddings.transform import TransformStore
from tests.unit.conftest import COLOUR, Toys
from tests.unit.retrieval.conftest import CountingGuide

SAME, OTHER = "Which colour does it have?", "What shape is it?"
WORDS = ["red", "green", "blue", "ball", "cube", "ring", "cone"]
COLOURS = WORDS[:3]
QUICK = FitConfig(folds=2, time_budget=1e-9)


class FakeReader:
    """Reads the colour under two of the instructions, the shape under any other."""

    key = "fake"

    def __init__(self) -> None:
        self.read: list[str] = []

    def ids(self) -> None:
        return None

    def judge(self, instruction: str, sample: Rows) -> Targets:
        return self.judge_grid([instruction], sample)[0]

    def judge_grid(self, instructions: Sequence[str], sample: Rows) -> list[Targets]:
        self.read += instructions
        found = []
        for asked in instructions:
            words = [
                word if (word in COLOURS) == (asked in (COLOUR, SAME)) else "" for word in WORDS
            ]
            rows = [
                [float(bool(word) and word in (text or "")) for word in words]
                for text in sample.read_texts
            ]
            found.append(Targets(np.array(rows, np.float32), np.ones(len(sample), np.bool_)))
        return found


def made(toys: Toys, guide: CountingGuide, **more: Any) -> tuple[InstructRetriever, FakeReader]:
    reader = FakeReader()
    reuse = Reuse(reader)
    return InstructRetriever(toys.collection(), guide, fit=QUICK, reuse=reuse, **more), reader


def test_agreement_is_the_mean_cosine_of_what_is_particular() -> None:
    rows = np.array([[1, 1], [1, -1]], dtype=np.float32)
    assert agreement(rows, rows + 5) == pytest.approx(1)
    assert agreement(rows, -rows) == pytest.approx(-1)
    assert agreement(rows, rows[:, ::-1] * [1, 0]) == pytest.approx(0)


def test_another_wording_reuses_the_transform_and_says_so(toys: Toys) -> None:
    guide = CountingGuide()
    retriever, reader = made(toys, guide)
    first = retriever.search(toys.vectors[0], instruction=COLOUR)
    again = retriever.search(toys.vectors[0], instruction=SAME)
    assert [hit.id for hit in again] == [hit.id for hit in first]
    assert {hit.reused for hit in first} == {()}
    assert {hit.reused for hit in again} == {(COLOUR,)}
    assert guide.asked == [COLOUR]
    assert reader.read == [SAME, COLOUR]
    retriever.search(toys.vectors[0], instruction=SAME)
    assert reader.read == [SAME, COLOUR]
    both = retriever.search(toys.vectors[0], instruction={SAME: 0.5, COLOUR: 0.5})
    assert both[0].reused == (COLOUR,)


def test_what_asks_for_something_else_is_fitted(toys: Toys) -> None:
    guide = CountingGuide()
    retriever, _ = made(toys, guide)
    retriever.transform(COLOUR)
    hits = retriever.search(toys.vectors[0], instruction=OTHER)
    assert guide.asked == [COLOUR, OTHER]
    assert hits[0].reused == ()


def test_nothing_is_reused_unless_asked_for(toys: Toys) -> None:
    guide = CountingGuide()
    retriever = InstructRetriever(toys.collection(), guide, fit=QUICK)
    retriever.prepare([COLOUR, SAME])
    assert guide.asked == [COLOUR, SAME]


def test_a_stored_transform_of_this_guide_and_collection_serves(toys: Toys, tmp_path: Path) -> None:
    store, guide = TransformStore(tmp_path), CountingGuide()
    made(toys, guide, store=store)[0].transform(COLOUR)
    again, _ = made(toys, guide, store=store)
    assert again.transform(SAME).instruction == COLOUR
    other = CountingGuide("shape")
    assert made(toys, other, store=store)[0].transform(SAME).instruction == SAME
    assert (guide.asked, other.asked) == ([COLOUR], [SAME])


def test_a_refit_learns_the_instruction_itself(toys: Toys) -> None:
    guide = CountingGuide()
    retriever, _ = made(toys, guide)
    retriever.prepare([COLOUR, SAME])
    assert retriever.refit(SAME).instruction == SAME
    assert retriever.transform(SAME).instruction == SAME


def test_too_few_texts_tell_nothing(toys: Toys) -> None:
    guide, reader = CountingGuide(), FakeReader()
    metadatas = [{"colour": colour} for colour in toys.colours]
    without = InMemoryCollection(toys.vectors, texts=[None] * 90, metadatas=metadatas)
    reuse = Reuse(reader)
    InstructRetriever(without, guide, fit=QUICK, reuse=reuse).prepare([COLOUR, SAME])
    assert guide.asked == [COLOUR, SAME]
    assert reader.read == []


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.01, float("nan")])
def test_thresholds_out_of_range_are_refused(threshold: float) -> None:
    with pytest.raises(ConfigError, match=r"is not in \(0, 1\]"):
        Reuse(FakeReader(), threshold)
