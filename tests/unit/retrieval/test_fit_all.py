"""Samples that grow while it pays, and what several instructions share."""

import json
from collections.abc import Sequence

import numpy as np
import pytest

from instruct_embeddings._types import FloatArray
from instruct_embeddings.config import FitConfig
from instruct_embeddings.protocols import EncodingGuide, Rows
from instruct_embeddings.retrieval import InstructRetriever, fitting
from instruct_embeddings.retrieval.fitting import FIRST_ROWS
from instruct_embeddings.supervision import Supervision, Targets
from instruct_embeddings.testing import InMemoryCollection
from instruct_embeddings.transform.report import FitReport
from tests.unit.conftest import make_toys

COLOUR, SHAPE = "What colour is it?", "What shape is it?"
NOISE = "What do the dice say?"


class ToyEncoder:
    """Targets that are the colour or the shape, or noise; counts the rows that it reads."""

    key = "toys"

    def __init__(self) -> None:
        self.read: list[tuple[tuple[str, ...], int]] = []

    def ids(self) -> Sequence[str] | None:
        return None

    def judge(self, instruction: str, sample: Rows) -> Supervision:
        return self.judge_grid([instruction], sample)[0]

    def judge_grid(self, instructions: Sequence[str], sample: Rows) -> list[Targets]:
        self.read.append((tuple(instructions), len(sample)))
        judged = np.ones(len(sample), dtype=np.bool_)
        return [Targets(_answers(text, sample), judged) for text in instructions]


def _answers(instruction: str, sample: Rows) -> FloatArray:
    if instruction == NOISE:
        rng = np.random.default_rng(int(sample.ids[0]))
        return rng.standard_normal((len(sample), 3)).astype(np.float32)
    key = "colour" if instruction == COLOUR else "shape"
    names = ["red", "green", "blue", "ball", "cube", "ring", "cone"]
    return np.eye(7, dtype=np.float32)[[names.index(str(m[key])) for m in sample.metadatas]]


@pytest.fixture(scope="module")
def many() -> InMemoryCollection:
    return make_toys(1200).collection()


def test_rows_are_asked_for_while_they_pay(many: InMemoryCollection) -> None:
    guide = ToyEncoder()
    assert isinstance(guide, EncodingGuide)
    transform = InstructRetriever(many, guide, fit=FitConfig(folds=2)).transform(COLOUR)
    sizes = [size for size, _ in transform.report.growth]
    agreement = [cosine for _, cosine in transform.report.growth]
    assert sizes[0] == FIRST_ROWS
    assert transform.report.rows == sizes[-1] == sum(rows for _, rows in guide.read)
    assert agreement[0] > 0.5
    gains = np.diff(agreement)
    assert (gains[:-1] >= 0.01).all()
    assert f"{sizes[-1]:,} rows {agreement[-1]:.3f}" in str(transform.report)
    check = transform.report.guide_check
    assert check is not None
    assert check.keys[0].key == "colour"
    assert check.gains
    assert str(check) in str(transform.report)
    assert (
        FitReport.from_dict(json.loads(json.dumps(transform.report.to_dict()))) == transform.report
    )


def test_noise_gets_no_further_rows(many: InMemoryCollection) -> None:
    guide = ToyEncoder()
    retriever = InstructRetriever(many, guide, fit=FitConfig(folds=2), force=True)
    report = retriever.transform(NOISE).report
    assert sum(rows for _, rows in guide.read) == report.rows <= 2 * FIRST_ROWS
    assert report.growth[0][1] < 0.2
    assert report.stopped == "enough"
    assert "no further rows: agreement no longer rose" in str(report)


def test_the_sample_size_and_the_budget_end_the_growth(many: InMemoryCollection) -> None:
    guide = ToyEncoder()
    for config, rows, stopped in (
        (FitConfig(folds=2, guide_budget=1e-9), FIRST_ROWS, "budget"),
        (FitConfig(folds=2, sample_size=90), 90, "size"),
        (FitConfig(folds=2, sample_size=FIRST_ROWS), FIRST_ROWS, "size"),
    ):
        found = InstructRetriever(many, guide, fit=config, force=True).transform(COLOUR)
        assert (found.report.rows, found.report.stopped) == (rows, stopped)
        assert len(found.report.growth) == 1
    config = FitConfig(folds=2, sample_size=300)
    found = InstructRetriever(many, guide, fit=config, force=True).transform(COLOUR)
    assert found.report.rows <= 300
    assert found.report.stopped in ("enough", "size")


def test_the_budget_ends_a_doubling_that_has_begun(
    many: InMemoryCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third part of a doubling from 500 to 1,000 rows is not begun after the deadline."""
    guide, seconds = ToyEncoder(), [0.0]
    monkeypatch.setattr(fitting, "_still_rises", lambda curve: True)
    monkeypatch.setattr(fitting.time, "perf_counter", lambda: seconds[0])
    judge = guide.judge_grid

    def slow(instructions: Sequence[str], sample: Rows) -> list[Targets]:
        seconds[0] += 10
        return judge(instructions, sample)

    monkeypatch.setattr(guide, "judge_grid", slow)
    fit = FitConfig(folds=2, guide_budget=25)
    report = InstructRetriever(many, guide, fit=fit, force=True).transform(COLOUR).report
    assert [rows for _, rows in guide.read] == [250, 250, 250]
    assert [rows for rows, _ in report.growth] == [250, 500, 750]
    assert report.rows == 750


def test_instructions_prepared_together_are_read_in_one_pass(many: InMemoryCollection) -> None:
    guide = ToyEncoder()
    retriever = InstructRetriever(many, guide, fit=FitConfig(folds=2, sample_size=250))
    alone = retriever.transform(COLOUR)
    both = retriever.prepare([COLOUR, SHAPE, " what SHAPE is it "])
    assert guide.read == [((COLOUR,), 250), ((SHAPE,), 250)]
    assert both[0] is alone
    assert both[1] is both[2] is retriever.transform(SHAPE)
    other = InstructRetriever(many, guide, fit=FitConfig(folds=2, sample_size=250))
    together = other.prepare([COLOUR, SHAPE])
    assert guide.read[2:] == [((COLOUR, SHAPE), 250)]
    query = make_toys(1, seed=3).vectors
    for one, two in zip(both, together, strict=False):
        assert one.fold(query) == pytest.approx(two.fold(query), abs=1e-6)
