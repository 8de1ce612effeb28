"""Toys whose colour moves to other coordinates: what was learned of it is then worth nothing."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from instruct_embeddings.config import FitConfig
from instruct_embeddings.errors import GuideError, TransformMismatchError
from instruct_embeddings.guides import (
    GuideByInstruction,
    JudgementGuide,
    LabelGuide,
    MetadataGuide,
)
from instruct_embeddings.protocols import CollectionInfo, Rows
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.retrieval.drift import Drift, find_drift, measure_drift
from instruct_embeddings.supervision import Labels, Pairs, Targets
from instruct_embeddings.testing import InMemoryCollection
from instruct_embeddings.transform import InstructionTransform, TransformStore, fit_transform
from tests.unit.conftest import COLOUR, Toys, hand_made, make_toys
from tests.unit.retrieval.conftest import CountingGuide

GUIDE = MetadataGuide("colour")
QUICK = FitConfig(folds=2, time_budget=1e-9)


def moved(toys: Toys) -> Toys:
    """The same toys as another model would see them: the colour has other coordinates."""
    return Toys(np.roll(toys.vectors, 7, axis=1), toys.colours, toys.shapes)


def filled(*some: Toys) -> InMemoryCollection:
    """All of them in one collection, under ids of their own."""
    first, *others = some
    collection = first.collection()
    for number, toys in enumerate(others):
        rows = toys.collection().page(limit=10_000, offset=0, vectors=True, records=True)
        ids = [f"{number}-{row}" for row in rows.ids]
        collection.add(ids, rows.vectors, texts=rows.texts, metadatas=rows.metadatas)
    return collection


def drift_of(made: InstructionTransform, generic: float, adapted: float, error: float) -> Drift:
    return Drift("i", "2026", made.report, 9, 9, "precision@10", generic, adapted, error, 0.0)


@pytest.mark.parametrize(
    ("adapted", "error", "refit"),
    [
        (0.9, 0.03, False),  # lost 0.1 with a standard error of 0.05: twice that is not exceeded
        (0.89, 0.03, True),
        (0.89, 0.04, False),
        (1.0, 0.0, False),
        (0.2, 0.03, True),
    ],
)
def test_a_loss_above_two_standard_errors_asks_for_a_refit(
    adapted: float, error: float, refit: bool
) -> None:
    made = hand_made()  # from 0.5 to 1.0
    made = replace(made, report=replace(made.report, gain_error=0.04))
    drift = drift_of(made, 0.5, adapted, error)
    assert drift.refit == refit
    assert drift.lost == pytest.approx(1.0 - adapted)
    assert drift.lost_error == pytest.approx(np.sqrt(0.04**2 + error**2))


def test_rows_that_are_harder_for_both_rankings_are_no_drift() -> None:
    assert not drift_of(hand_made(), 0.1, 0.6, 0.0).refit
    assert drift_of(hand_made(), 0.1, 0.5, 0.0).refit


@pytest.mark.parametrize("seed", range(5))
def test_more_toys_of_the_same_kind_are_no_drift(
    by_colour: InstructionTransform, seed: int
) -> None:
    drift = find_drift(make_toys(400, seed + 20).collection(), GUIDE, by_colour, seed=seed)
    assert not drift.refit
    assert (drift.rows, drift.judged, drift.measure) == (90, 90, "precision@10")
    assert abs(drift.adapted - by_colour.report.adapted) < 0.15
    assert drift.seen == 90 / 400
    assert "this may be chance, it can stay" in str(drift)
    assert "up to 22% of these rows" in str(drift)


def test_toys_that_look_different_are_drift_until_the_refit(tmp_path: Path) -> None:
    """The collection grows by what the transform never saw; refitting replaces it, for all."""
    collection = make_toys(90).collection()
    store = TransformStore(tmp_path)
    retriever = InstructRetriever(collection, CountingGuide(), store=store, fit=QUICK)
    old = retriever.transform(COLOUR)
    new = moved(make_toys(300, seed=9))
    collection.add(
        [f"new {i}" for i in range(300)],
        new.vectors,
        metadatas=[{"colour": colour} for colour in new.colours],
    )
    drift = find_drift(collection, GUIDE, old)
    assert drift.refit
    assert drift.lost > 0.1
    assert "refit() is due" in str(drift)
    again = retriever.refit(COLOUR)
    assert not find_drift(collection, GUIDE, again).refit
    stored = store.get(old.key)
    assert stored is not None
    assert stored.report == again.report


def test_what_is_measured_is_what_searches_rank_by(by_colour: InstructionTransform) -> None:
    toys = make_toys(90, seed=3)
    drift = measure_drift(by_colour, toys.vectors, Labels.single(toys.colours))
    folds = np.array_split(np.random.default_rng(0).permutation(90), 3)
    found = []
    for fold in folds:
        part = Toys(toys.vectors[fold], [toys.colours[i] for i in fold], [])
        scores = [by_colour.score(vector[None], part.vectors) for vector in part.vectors]
        found.append(part.precision(np.stack(scores)))
    assert drift.adapted == pytest.approx(np.mean(found), abs=1e-6)
    assert drift.seen == 0.0
    assert "learned from" not in str(drift)


def test_a_larger_sample_is_measured_in_parts_as_large_as_the_folds(
    by_colour: InstructionTransform,
) -> None:
    """Among 900 toys ten of the right colour are easier to find than among 30."""
    toys = make_toys(900, seed=4)
    labels = Labels.single(toys.colours)
    drift = measure_drift(by_colour, toys.vectors, labels)
    assert not drift.refit
    assert drift.gain_error < by_colour.report.gain_error / 2
    small = replace(by_colour.report, judged=2700)
    whole = measure_drift(replace(by_colour, report=small), toys.vectors, labels)
    assert whole.generic > drift.generic + 0.02


def test_labels_that_are_new_are_named(by_colour: InstructionTransform, toys: Toys) -> None:
    names = ["pink" if i < 7 else "grey" if i < 12 else c for i, c in enumerate(toys.colours)]
    drift = measure_drift(by_colour, toys.vectors, Labels.single(names))
    assert drift.new_labels == {"pink": 7, "grey": 5}
    assert str(drift).endswith("labels it never learned: pink 7, grey 5")


def test_targets_are_measured_like_labels(toys: Toys) -> None:
    def targets(some: Toys) -> Targets:
        axes = {"red": 0, "green": 1, "blue": 2}
        clean = np.eye(3, dtype=np.float32)[[axes[colour] for colour in some.colours]]
        noise = np.random.default_rng(0).standard_normal(clean.shape)
        return Targets(clean + 0.05 * noise.astype(np.float32), np.ones(len(clean), np.bool_))

    transform = fit_transform(
        toys.vectors,
        targets(toys),
        instruction=COLOUR,
        guide="g",
        collection=toys.collection().info(),
        config=QUICK,
    )
    fresh = make_toys(90, seed=8)
    assert not measure_drift(transform, fresh.vectors, targets(fresh)).refit
    other = measure_drift(transform, moved(fresh).vectors, targets(fresh))
    assert other.refit
    assert other.measure == transform.report.measure


def pairs_of(toys: Toys) -> Pairs:
    queries, documents = toys.vectors[:45], toys.vectors[45:90]
    same = np.array([a == b for a, b in zip(toys.colours[:45], toys.colours[45:], strict=True)])
    return Pairs(queries, documents, same)


def test_pairs_are_measured_by_their_order(toys: Toys) -> None:
    transform = fit_transform(
        toys.vectors,
        pairs_of(toys),
        instruction=COLOUR,
        guide="g",
        collection=toys.collection().info(),
        config=QUICK,
    )
    drift = measure_drift(transform, toys.vectors, pairs_of(toys))
    assert (drift.measure, drift.judged) == ("pair accuracy", 45)
    assert not drift.refit


def test_judgements_are_measured_without_their_corrections(toys: Toys) -> None:
    """The report of the fit is about the start, which is measured by the start's own guide."""
    start = CountingGuide()
    judged = [("red toys", str(i), toys.colours[i] == "red") for i in range(20)]
    guide = JudgementGuide(judged, lambda texts: toys.vectors[: len(texts)], start=start)
    collection = filled(toys, make_toys(60, seed=1))
    transform = InstructRetriever(collection, guide, fit=QUICK).transform(COLOUR)
    assert transform.guide == guide.key
    assert transform.report.judgements is not None
    drift = find_drift(collection, guide, transform)
    assert (drift.rows, drift.measure) == (150, transform.report.measure)
    assert start.asked == [COLOUR, COLOUR]
    assert not drift.refit


def test_rows_that_a_guide_knows_by_id_were_all_seen(toys: Toys) -> None:
    guide = LabelGuide({str(i): toys.colours[i] for i in range(60)})
    by_instruction = GuideByInstruction({COLOUR: guide})
    collection = filled(toys, make_toys(300, seed=1))
    transform = InstructRetriever(collection, guide, fit=QUICK, force=True).transform(COLOUR)
    drift = find_drift(collection, by_instruction, transform)
    assert (drift.rows, drift.seen) == (60, 1.0)


class Recording(CountingGuide):
    """Remembers the rows it judged."""

    def judge(self, instruction: str, sample: Rows) -> Labels:
        self.ids_seen = sample.ids
        found = super().judge(instruction, sample)
        assert isinstance(found, Labels)
        return found


def test_the_sample_is_another_one_than_that_of_the_fit() -> None:
    guide = Recording()
    collection = make_toys(400).collection()
    small = replace(QUICK, sample_size=60)
    transform = InstructRetriever(collection, guide, fit=small).transform(COLOUR)
    fitted = set(guide.ids_seen)
    find_drift(collection, guide, transform)
    fresh = guide.ids_seen
    assert len(fitted) == len(fresh) == 60
    assert len(fitted & set(fresh)) < 30
    find_drift(collection, guide, transform, seed=transform.config.seed + 1)
    assert guide.ids_seen == fresh


def test_only_its_own_guide_and_collection_can_tell(
    toys: Toys, by_colour: InstructionTransform
) -> None:
    collection = toys.collection()
    with pytest.raises(GuideError, match=r"There is no guide.*'metadata:colour'"):
        find_drift(collection, None, by_colour)
    with pytest.raises(GuideError, match=r"taught by 'metadata:colour'.*is 'metadata:shape'"):
        find_drift(collection, MetadataGuide("shape"), by_colour)
    other = replace(by_colour, collection=CollectionInfo("other", "other-1", 16, "cosine"))
    with pytest.raises(TransformMismatchError, match=r"belongs to .*'other'.*not to .*'toys'"):
        find_drift(collection, GUIDE, other)


def test_too_little_to_tell_is_said(by_colour: InstructionTransform, toys: Toys) -> None:
    with pytest.raises(GuideError, match="at least two labels"):
        measure_drift(by_colour, toys.vectors, Labels.single(["red"] * 90))
    with pytest.raises(GuideError, match="judged 3 rows of a sample of 90"):
        measure_drift(by_colour, toys.vectors, Labels.single(["red"] * 3))
    lonely = replace(by_colour, report=replace(by_colour.report, judged=2))
    with pytest.raises(GuideError, match="no two of them belong together"):
        measure_drift(lonely, toys.vectors[:4], Labels.single(["red", "red", "blue", "blue"]))


def test_a_drift_is_plain_data(by_colour: InstructionTransform, toys: Toys) -> None:
    drift = measure_drift(by_colour, toys.vectors, Labels.single(toys.colours))
    data = json.loads(json.dumps(drift.to_dict()))
    assert data["refit"] is drift.refit
    assert data["lost"] == drift.lost
    assert data["report"]["adapted"] == by_colour.report.adapted
