"""When a transform is fitted, by whom, and what becomes of it."""

import asyncio
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from linecache import getline
from pathlib import Path

import numpy as np
import pytest

from instruct_embeddings.config import FitConfig
from instruct_embeddings.errors import (
    EmptyCollectionError,
    GuideError,
    TransformMismatchError,
    TransformWarning,
)
from instruct_embeddings.guides import GuideByInstruction, LabelGuide, MetadataGuide
from instruct_embeddings.protocols import Rows
from instruct_embeddings.retrieval import InstructRetriever, library
from instruct_embeddings.supervision import Supervision
from instruct_embeddings.testing import InMemoryCollection
from instruct_embeddings.transform import InstructionTransform, TransformStore
from tests.unit.conftest import COLOUR, Toys, make_toys
from tests.unit.retrieval.conftest import BlockingGuide, CountingGuide, FailingGuide

SHAPE = "What shape is it?"
QUICK = FitConfig(folds=2, time_budget=1e-9)


class ForbiddenGuide(CountingGuide):
    """Must not be asked."""

    def judge(self, instruction: str, sample: Rows) -> Supervision:
        raise AssertionError("fitted again")


@pytest.fixture
def store(tmp_path: Path) -> TransformStore:
    return TransformStore(tmp_path)


def test_the_first_search_fits_and_later_ones_do_not(toys: Toys) -> None:
    guide = CountingGuide()
    retriever = InstructRetriever(toys.collection(), guide, fit=QUICK)
    hits = retriever.search(toys.vectors[0], instruction=COLOUR)
    assert hits[0].adapted
    for text in (COLOUR, "  what COLOUR is it ", "What colour\nis it?!"):
        assert retriever.search(toys.vectors[0], instruction=text) == hits
    assert guide.asked == [COLOUR]
    retriever.search(toys.vectors[0])
    assert guide.asked == [COLOUR]


def test_a_transform_knows_its_collection_and_guide(toys: Toys) -> None:
    collection = toys.collection()
    retriever = InstructRetriever(collection, MetadataGuide("colour"), fit=QUICK)
    transform = retriever.transform(COLOUR)
    assert transform.collection == collection.info()
    assert transform.guide == "metadata:colour"
    assert transform.config == QUICK
    assert transform.report.label_counts == Counter(toys.colours)


def test_eight_threads_under_two_instructions_fit_twice(toys: Toys) -> None:
    guide, gate = CountingGuide(), threading.Barrier(8)
    retriever = InstructRetriever(toys.collection(), guide, fit=QUICK)

    def search(instruction: str) -> list[str]:
        gate.wait(30)
        return [hit.id for hit in retriever.search(toys.vectors[0], instruction=instruction)]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(search, [COLOUR, SHAPE] * 4))
    assert sorted(guide.asked) == sorted([COLOUR, SHAPE])
    assert answers == [answers[0], answers[1]] * 4


def test_searches_under_a_known_instruction_do_not_wait_for_a_fit(toys: Toys) -> None:
    guide = BlockingGuide()
    retriever = InstructRetriever(toys.collection(), guide, fit=QUICK)
    guide.go.set()
    known = retriever.search(toys.vectors[0], instruction=COLOUR)
    guide.go.clear()
    guide.reached.clear()
    with ThreadPoolExecutor(3) as pool:
        fits = [pool.submit(retriever.transform, SHAPE) for _ in range(2)]
        try:
            assert guide.reached.wait(30)
            search = pool.submit(retriever.search, toys.vectors[0], instruction=COLOUR)
            assert search.result(timeout=30) == known
            assert not any(fit.done() for fit in fits)
        finally:
            guide.go.set()
        assert fits[0].result(timeout=30) is fits[1].result(timeout=30)
    assert guide.asked == [COLOUR, SHAPE]


class MeetingGuide(CountingGuide):
    """Judges only when two fits are under way at once."""

    def __init__(self) -> None:
        super().__init__()
        self.meeting = threading.Barrier(2)

    def judge(self, instruction: str, sample: Rows) -> Supervision:
        self.meeting.wait(30)
        return super().judge(instruction, sample)


def test_two_new_instructions_are_fitted_side_by_side(toys: Toys) -> None:
    retriever = InstructRetriever(toys.collection(), MeetingGuide(), fit=QUICK)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(retriever.transform, [COLOUR, SHAPE])
    assert (first.instruction, second.instruction) == (COLOUR, SHAPE)


def test_a_fit_that_fails_leaves_nothing_and_the_next_call_tries_again(
    toys: Toys, store: TransformStore
) -> None:
    guide = FailingGuide(times=2)
    retriever = InstructRetriever(toys.collection(), guide, store=store, fit=QUICK)
    for _ in range(2):
        with pytest.raises(GuideError, match="out of order"):
            retriever.search(toys.vectors[0], instruction=COLOUR)
        assert store.keys() == []
    assert retriever.search(toys.vectors[0], instruction=COLOUR)[0].adapted
    assert len(guide.asked) == 3
    assert len(store.keys()) == 1


@pytest.mark.parametrize("guide", [ForbiddenGuide(), None])
def test_a_stored_transform_serves_the_next_retriever(
    toys: Toys, store: TransformStore, guide: ForbiddenGuide | None
) -> None:
    first = InstructRetriever(toys.collection(), CountingGuide(), store=store, fit=QUICK)
    hits = first.search(toys.vectors[0], instruction=COLOUR)
    second = InstructRetriever(toys.collection(), guide, store=TransformStore(store.path))
    assert second.search(toys.vectors[0], instruction="what colour is it") == hits


def test_without_a_guide_the_newest_transform_of_the_instruction_serves(
    toys: Toys, store: TransformStore, by_colour: InstructionTransform
) -> None:
    for guide, created in (("a", "2026-01-01"), ("b", "2026-03-01"), ("c", "2026-02-01")):
        store.put(replace(by_colour, guide=guide, created=created))
    retriever = InstructRetriever(toys.collection(), store=store)
    assert retriever.transform(COLOUR).guide == "b"


def test_a_transform_of_another_collection_is_refused(
    toys: Toys, store: TransformStore, by_colour: InstructionTransform
) -> None:
    store.put(by_colour)
    other = InMemoryCollection(np.eye(3), name="other", id="other-1")
    with pytest.raises(TransformMismatchError, match=r"dimension=16.* not to .*dimension=3"):
        InstructRetriever(other, store=store).search([1.0, 0.0, 0.0], instruction=COLOUR)


def test_a_damaged_transform_is_fitted_again_with_a_warning(
    toys: Toys, store: TransformStore, caplog: pytest.LogCaptureFixture
) -> None:
    first = InstructRetriever(toys.collection(), CountingGuide(), store=store, fit=QUICK)
    (store.path / f"{first.transform(COLOUR).key}.safetensors").write_bytes(b"half")
    guide = CountingGuide()
    second = InstructRetriever(toys.collection(), guide, store=store, fit=QUICK)
    with caplog.at_level(logging.WARNING, logger="instruct_embeddings"):
        second.transform(COLOUR)
    assert guide.asked == [COLOUR]
    assert "cannot be used and is fitted again" in caplog.text
    assert store.summaries()[0].problem is None


def test_refit_replaces_what_is_known_and_stored(toys: Toys, store: TransformStore) -> None:
    guide, collection = CountingGuide(), toys.collection()
    retriever = InstructRetriever(collection, guide, store=store, fit=QUICK)
    assert retriever.transform(COLOUR).report.rows == 90
    more = make_toys(10, seed=5)
    collection.add(
        [f"new {i}" for i in range(10)],
        more.vectors,
        metadatas=[{"colour": colour} for colour in more.colours],
    )
    assert retriever.transform(COLOUR).report.rows == 90
    again = retriever.refit(COLOUR)
    assert again.report.rows == 100
    assert retriever.transform(COLOUR) is again
    assert [summary.report.rows for summary in store.summaries() if summary.report] == [100]
    assert len(guide.asked) == 2


@pytest.fixture
def clusters() -> InMemoryCollection:
    """Four clusters that a generic search tells apart perfectly: nothing can be gained."""
    vectors = np.repeat(np.eye(4, dtype=np.float32), 12, axis=0)
    return InMemoryCollection(vectors, metadatas=[{"colour": str(i // 12)} for i in range(48)])


def test_a_transform_that_does_not_help_warns_once_and_the_generic_ranking_is_kept(
    clusters: InMemoryCollection, store: TransformStore
) -> None:
    retriever = InstructRetriever(clusters, MetadataGuide("colour"), store=store, fit=QUICK)
    query = [0.9, 0.5, 0.1, 0.0]
    with pytest.warns(TransformWarning, match="the generic ranking is kept"):
        hits = retriever.search(query, instruction=COLOUR)
    assert hits == retriever.search(query)
    assert not any(hit.adapted for hit in hits)
    assert retriever.search(query, instruction=COLOUR, exact=True) == hits
    second = InstructRetriever(clusters, ForbiddenGuide(), store=store)
    assert second.search(query, instruction=COLOUR) == hits


def test_force_uses_it_anyway_and_no_warning(clusters: InMemoryCollection) -> None:
    retriever = InstructRetriever(clusters, MetadataGuide("colour"), fit=QUICK, force=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hits = retriever.search([0.9, 0.5, 0.1, 0.0], instruction=COLOUR)
    assert all(hit.adapted for hit in hits)
    assert not retriever.transform(COLOUR).report.gains


def test_each_instruction_has_its_own_guide(toys: Toys) -> None:
    guides = {COLOUR: CountingGuide("colour"), SHAPE: CountingGuide("shape")}
    retriever = InstructRetriever(toys.collection(), GuideByInstruction(guides), fit=QUICK)
    for instruction, aspect, value in [
        (COLOUR, "colour", toys.colours[0]),
        (SHAPE, "shape", toys.shapes[0]),
    ]:
        hits = retriever.search(toys.vectors[0], instruction=instruction, k=8)
        assert [hit.metadata[aspect] for hit in hits].count(value) >= 7
        assert retriever.transform(instruction).guide == f"metadata:{aspect}"
    assert [guide.asked for guide in guides.values()] == [[COLOUR], [SHAPE]]
    with pytest.raises(GuideError, match="No guide is given"):
        retriever.transform("What size is it?")


def test_labels_by_id_are_learned_from_these_rows_alone(toys: Toys) -> None:
    labelled = {str(i): toys.colours[i] for i in range(30, 70)}
    retriever = InstructRetriever(
        toys.collection(), LabelGuide({**labelled, "gone": "red"}), fit=QUICK, force=True
    )
    assert retriever.transform(COLOUR).report.rows == 40
    assert retriever.transform(COLOUR).report.judged == 40


class PickyGuide(CountingGuide):
    """Wants rows that are not there."""

    def ids(self) -> Sequence[str]:
        return ["gone"]


def test_what_cannot_be_learned_is_said(toys: Toys) -> None:
    one = InMemoryCollection(np.eye(4), metadatas=[{"colour": "red"}] * 4)
    with pytest.raises(GuideError, match=r"Only 1 labels .*\{'red': 4\}"):
        InstructRetriever(one, CountingGuide()).transform(COLOUR)
    with pytest.raises(GuideError, match=r"'size'. Keys that exist: 'colour', 'shape'"):
        InstructRetriever(toys.collection(), CountingGuide("size")).transform(COLOUR)
    with pytest.raises(GuideError, match="None of the 1 ids that the guide knows"):
        InstructRetriever(toys.collection(), PickyGuide()).transform(COLOUR)
    one.delete(["0", "1", "2", "3"])
    with pytest.raises(EmptyCollectionError):
        InstructRetriever(one, CountingGuide()).transform(COLOUR)


def test_the_warning_points_at_the_line_that_asked(clusters: InMemoryCollection) -> None:
    query = [0.9, 0.5, 0.1, 0.0]

    def asked(ask: Callable[[InstructRetriever], object]) -> str:
        retriever = InstructRetriever(clusters, MetadataGuide("colour"), fit=QUICK)
        with pytest.warns(TransformWarning) as found:
            ask(retriever)
        assert found[0].filename == __file__
        return getline(__file__, found[0].lineno).strip()

    assert "by search" in asked(lambda r: r.search(query, instruction=COLOUR))  # by search
    assert "by prepare" in asked(lambda r: r.prepare([COLOUR, "Shape?"]))  # by prepare
    assert "by transform" in asked(lambda r: r.transform(COLOUR))  # by transform
    assert "await" in asked(lambda r: asyncio.run(prepared(r)))


async def prepared(retriever: InstructRetriever) -> None:
    await retriever.aprepare(COLOUR)


def test_transforms_and_locks_of_many_instructions_are_not_kept_for_ever(
    toys: Toys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(library, "KEPT_TRANSFORMS", 3)
    guide = CountingGuide()
    retriever = InstructRetriever(toys.collection(), guide, fit=QUICK, store=tmp_path)
    instructions = [f"{COLOUR[:-1]} of number {n}?" for n in range(6)]
    for text in instructions:
        retriever.search(toys.vectors[0], instruction=text)
    own = retriever._library
    kept = [one.transform.instruction for one in own._known.values()]
    assert kept == instructions[3:]
    assert len(own._fitting) == 0
    # One that was forgotten comes from the store, and is not fitted again.
    retriever.search(toys.vectors[0], instruction=instructions[0])
    assert guide.asked == instructions
    # More at once than are kept are all answered.
    again = InstructRetriever(toys.collection(), CountingGuide(), fit=QUICK)
    assert [one.instruction for one in again.prepare(instructions)] == instructions


def test_unknown_instructions_leave_no_locks(toys: Toys) -> None:
    retriever = InstructRetriever(toys.collection(), None, fit=QUICK)
    for n in range(50):
        with pytest.raises(GuideError, match="no stored transform"):
            retriever.search(toys.vectors[0], instruction=f"What number {n} is it?")
    assert len(retriever._library._fitting) == 0


FORKED = """
import os, sys, threading
from instruct_embeddings.retrieval import InstructRetriever
from tests.unit.conftest import make_toys
from tests.unit.retrieval.conftest import BlockingGuide, CountingGuide

toys = make_toys(60, seed=1)
guide = BlockingGuide()
retriever = InstructRetriever(toys.collection(), guide)
ask = lambda: retriever.search(toys.vectors[0], instruction="What colour is it?")
own = threading.Thread(target=ask)
own.start()
assert guide.reached.wait(30)
child = os.fork()
if child == 0:
    guide.go.set()
    os._exit(0 if ask() else 1)
guide.go.set()
own.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_does_not_wait_for_a_lock_of_its_parent() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], timeout=50, check=False)
    assert done.returncode == 0
