"""Labels that mean nothing are seldom taken for a gain, and those that mean something often are."""

import numpy as np
import pytest

from instruct_embeddings.config import FitConfig
from instruct_embeddings.protocols import CollectionInfo
from instruct_embeddings.supervision import Labels
from instruct_embeddings.transform import fit_transform
from instruct_embeddings.transform.selection import exceeds_chance
from instruct_embeddings.transform.transform import InstructionTransform
from instruct_embeddings.transform.vectors import unit_rows

ROWS, DIMENSIONS, CLASSES, SEEDS = 100, 24, 3, 40


def fit(seed: int, signal: float) -> InstructionTransform:
    """Vectors of groups; the labels are their groups by as large a part as the signal is."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(CLASSES, size=ROWS)
    centres = rng.standard_normal((CLASSES, DIMENSIONS))
    vectors = 0.45 * centres[groups] + rng.standard_normal((ROWS, DIMENSIONS))
    known = rng.random(ROWS) < signal
    labels = np.where(known, groups, rng.integers(CLASSES, size=ROWS))
    return fit_transform(
        unit_rows(vectors.astype(np.float32)),
        Labels.single([str(label) for label in labels]),
        instruction="chance",
        guide="labels",
        collection=CollectionInfo("chance", "chance", DIMENSIONS, "cosine"),
        config=FitConfig(seed=seed, time_budget=1e-9),
    )


def test_labels_that_mean_nothing_gain_in_at_most_one_fit_of_ten() -> None:
    # `make bench-chance` measures 5 % on real texts.
    assert sum(fit(seed, 0.0).report.gains for seed in range(SEEDS)) <= SEEDS // 10


def test_true_labels_gain_in_most_fits() -> None:
    assert sum(fit(seed, 1.0).report.gains for seed in range(SEEDS // 4)) >= SEEDS // 5


@pytest.mark.parametrize(
    ("gain", "error", "more"), [(0.03, 0.01, True), (0.02, 0.01, False), (0.0, 0.0, False)]
)
def test_a_gain_has_to_exceed_two_standard_errors(gain: float, error: float, more: bool) -> None:
    assert exceeds_chance(gain, error) is more
