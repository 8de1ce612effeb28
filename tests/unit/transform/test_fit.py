"""The first coordinates say the colour, quietly; all else in the vectors speaks of other things."""

from dataclasses import replace

import numpy as np
import pytest

from instruct_embeddings._types import FloatArray
from instruct_embeddings.config import FitConfig
from instruct_embeddings.errors import GuideError, InstructionError
from instruct_embeddings.supervision import Labels, Pairs, Supervision, Targets
from instruct_embeddings.transform import InstructionTransform, fit_transform
from instruct_embeddings.transform.store import to_bytes
from tests.unit.conftest import INFO, Toys, make_toys


def fit(
    vectors: FloatArray,
    supervision: Supervision,
    instruction: str = "What colour?",
    **settings: float,
) -> InstructionTransform:
    return fit_transform(
        vectors,
        supervision,
        instruction=instruction,
        guide="test",
        collection=INFO,
        config=FitConfig(**settings),  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def new() -> Toys:
    """200 toys apart from the sample: less than half of generic neighbours share the colour."""
    toys = make_toys(200, seed=1)
    assert toys.precision(toys.vectors @ toys.vectors.T) < 0.5
    return toys


def folded_and_adapted(transform: InstructionTransform, toys: Toys) -> tuple[float, float]:
    vectors = toys.vectors
    scores = np.stack([transform.score(vector[None], vectors) for vector in vectors])
    return toys.precision(transform.query.fold(vectors) @ vectors.T), toys.precision(scores)


def test_from_one_label_a_row(by_colour: InstructionTransform, new: Toys) -> None:
    folded, adapted = folded_and_adapted(by_colour, new)
    # The folded query keeps much of the generic vector, so that an index finds its way.
    assert folded > 0.8
    assert adapted > 0.9


def test_from_several_labels_a_row(toys: Toys, new: Toys) -> None:
    """A third of the rows carries its shape as well."""
    rows = zip(toys.colours, toys.shapes, strict=True)
    labels = Labels(tuple(frozenset([c, s][: 2 - (i % 3 > 0)]) for i, (c, s) in enumerate(rows)))
    transform = fit(toys.vectors, labels)
    assert transform.report.label_counts == labels.counts()
    assert len(transform.report.label_counts) == 7
    folded, adapted = folded_and_adapted(transform, new)
    assert folded > 0.8
    assert adapted > 0.85


def test_from_pairs(toys: Toys, new: Toys) -> None:
    left, right = np.random.default_rng(0).integers(0, 90, (2, 400))
    colours = np.array(toys.colours)
    pairs = Pairs(toys.vectors[left], toys.vectors[right], colours[left] == colours[right])
    transform = fit(toys.vectors, pairs)
    assert min(folded_and_adapted(transform, new)) > 0.9
    report = transform.report
    assert (report.rows, report.judged, report.measure) == (90, 400, "pair accuracy")
    assert report.generic < 0.7 < 0.9 < report.folded
    assert "400 judged pairs of 90 sampled rows" in str(report)


def test_pairs_of_one_query_are_held_out_together() -> None:
    """Each query and document is judged at random, six times the same: a fold that knew one of the
    six would know the others."""
    rng = np.random.default_rng(0)
    queries, documents = rng.standard_normal((2, 40, 16)).astype(np.float32)
    pairs = Pairs(
        np.repeat(queries, 6, axis=0),
        np.repeat(documents, 6, axis=0),
        np.repeat(rng.random(40) < 0.5, 6),
    )
    assert fit(queries, pairs).report.folded < 0.7


def test_pairs_of_one_query_alone_can_be_fitted(toys: Toys) -> None:
    relevant = np.array([colour == toys.colours[0] for colour in toys.colours])
    pairs = Pairs(np.repeat(toys.vectors[:1], 90, axis=0), toys.vectors, relevant)
    assert fit(toys.vectors, pairs).report.judged == 90


def test_labels_of_targets_name_rows_and_do_not_rank_them(toys: Toys) -> None:
    """The targets tell shapes, the labels colours of most rows."""
    targets = np.array(
        [[s == name for name in ("ball", "cube", "ring", "cone")] for s in toys.shapes]
    )
    plain = Targets(targets.astype(np.float32), np.ones(90, dtype=np.bool_))
    guesses = [colour if i % 5 else None for i, colour in enumerate(toys.colours)]
    named = fit(toys.vectors, replace(plain, labels=Labels.single(guesses)))
    unnamed = fit(toys.vectors, plain)
    assert named.report.label_counts == Labels.single(guesses).counts()
    assert unnamed.report.label_counts == {}
    assert unnamed.space.classifier is None
    assert named.space.classifier is not None
    assert named.space.weight == 0
    np.testing.assert_array_equal(
        named.score(toys.vectors[:1], toys.vectors), unnamed.score(toys.vectors[:1], toys.vectors)
    )
    best = named.space.classifier.probabilities(toys.vectors).argmax(axis=1)
    found = np.array(sorted(set(toys.colours)))[best]
    assert (found == np.array(toys.colours)).mean() > 0.9


def test_one_name_alone_tells_nothing(toys: Toys) -> None:
    targets = Targets(toys.vectors, np.ones(90, dtype=np.bool_), Labels.single(["red"] * 90))
    named = fit(toys.vectors, targets)
    assert named.space.classifier is None
    assert named.report.label_counts == {"red": 90}


def test_from_targets(toys: Toys, new: Toys) -> None:
    """A target is one of three one-hot rows, with a little noise against ties."""
    noise = 0.01 * np.random.default_rng(0).standard_normal((90, 3))
    targets = noise + [[c == name for name in ("red", "green", "blue")] for c in toys.colours]
    judged = np.arange(90) < 80
    transform = fit(toys.vectors, Targets(targets.astype(np.float32), judged))
    assert min(folded_and_adapted(transform, new)) > 0.9
    assert transform.report.judged == 80
    assert transform.report.label_counts == {}
    assert transform.report.measure == "agreement@10"


def test_the_report_says_what_was_learned_and_how_well(by_colour: InstructionTransform) -> None:
    report = by_colour.report
    assert (report.rows, report.judged, report.measure) == (90, 90, "precision@10")
    assert report.label_counts == {"green": 34, "blue": 32, "red": 24}
    assert 0.3 < report.generic < 0.5 < 0.6 < report.folded <= 0.75 < report.adapted <= 1
    assert report.gains
    assert set(report.chosen) == {"strength", "residual", "weight", "mix"}
    assert report.chosen["residual"] == by_colour.query.residual
    assert report.chosen["weight"] == by_colour.space.weight
    assert report.chosen["mix"] == by_colour.mix
    assert report.seconds > 0


def test_a_transform_says_where_it_comes_from(by_colour: InstructionTransform) -> None:
    assert by_colour.instruction == "What colour is it?"
    assert by_colour.guide == "metadata:colour"
    assert by_colour.collection == INFO
    assert by_colour.config == FitConfig()
    assert by_colour.created.endswith("+00:00")


def test_thirty_labelled_rows_are_enough_to_see_that_it_helps(new: Toys) -> None:
    """Folds of ten rows: four of nine others are looked at."""
    few = make_toys(30)
    transform = fit(few.vectors, Labels.single(few.colours))
    assert transform.report.measure == "precision@4"
    assert transform.report.gains
    folded, adapted = folded_and_adapted(transform, new)
    assert folded > 0.65
    assert adapted > 0.75


def test_what_the_generic_vectors_do_perfectly_cannot_be_helped() -> None:
    vectors = np.repeat(np.eye(4, dtype=np.float32), 15, axis=0)
    report = fit(vectors, Labels.single([label for label in "abcd" for _ in range(15)])).report
    assert report.generic == pytest.approx(report.adapted)
    assert not report.gains


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_quality_is_measured_on_rows_that_were_held_out(seed: int) -> None:
    """60 random vectors in 64 dimensions with random labels of two kinds: all could be memorised,
    nothing can be learned, so the figures stay near a half."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((60, 64)).astype(np.float32)
    report = fit(vectors, Labels.single(rng.choice(["a", "b"], 60).tolist())).report
    assert report.measure == "precision@9"
    assert 0.4 < report.generic < 0.6
    assert report.adapted < report.generic + 0.1


def test_rows_without_labels_and_labels_of_one_row_are_left_out(toys: Toys) -> None:
    labels = Labels.single([None] * 10 + ["rare"] + toys.colours[11:])
    report = fit(toys.vectors, labels).report
    assert (report.rows, report.judged) == (90, 79)
    assert report.label_counts["rare"] == 1


def timeless(transform: InstructionTransform) -> bytes:
    return to_bytes(replace(transform, created="", report=replace(transform.report, seconds=0.0)))


def test_one_seed_gives_one_transform_to_the_bit(toys: Toys) -> None:
    few, labels = toys.vectors[:30], Labels.single(toys.colours[:30])
    first, again, other = (fit(few, labels, seed=s, time_budget=60) for s in (1, 1, 2))
    assert timeless(first) == timeless(again)
    assert timeless(first) != timeless(other)


def test_when_time_is_up_the_most_likely_strength_is_taken(toys: Toys) -> None:
    hasty = fit(toys.vectors, Labels.single(toys.colours), time_budget=1e-9)
    assert hasty.report.chosen["strength"] == 10.0
    assert hasty.report.gains


def test_lengths_of_stored_vectors_are_measured_and_change_nothing_else(toys: Toys) -> None:
    few, labels = toys.vectors[:30], Labels.single(toys.colours[:30])
    plain, long = fit(few, labels), fit(4 * few, labels)
    assert plain.norms.mean == pytest.approx(1)
    assert long.norms.mean == pytest.approx(4)
    assert long.norms.leave_cosines_to("ip")
    np.testing.assert_allclose(long.query.gates, plain.query.gates, atol=1e-6)


@pytest.mark.parametrize("folds", [2, 5])
def test_samples_as_small_as_allowed_are_fitted(toys: Toys, folds: int) -> None:
    """Four rows in five folds leave one fold empty; nothing is claimed to help."""
    few, relevant = toys.vectors[:4], np.array([True, True, False, False])
    for supervision in (
        Labels.single(["a", "b", "a", "b"]),
        Targets(np.eye(4, dtype=np.float32), np.ones(4, dtype=np.bool_)),
        Pairs(few, toys.vectors[4:8], relevant),
    ):
        transform = fit(few, supervision, folds=folds)
        assert transform.report.judged == 4
        assert np.isfinite(transform.score(few[:1], few)).all()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            ["a"] * 4,
            r"Only 1 labels of the sample .*at least 2 rows \(rows per label: \{'a': 4\}\)",
        ),
        (["a", "a", "a", "b"], r"Only 1 labels .*\{'a': 3, 'b': 1\}.*Take a larger sample"),
        (["a", "b", "c", "d"], r"Only 0 labels .*\{'a': 1, 'b': 1, 'c': 1, 'd': 1\}"),
        ([None] * 4, r"Only 0 labels .*\{\}"),
    ],
)
def test_two_labels_with_two_rows_each_are_needed(
    toys: Toys, labels: list[str | None], message: str
) -> None:
    with pytest.raises(GuideError, match=message):
        fit(toys.vectors[:4], Labels.single(labels))


def test_pairs_of_both_kinds_are_needed(toys: Toys) -> None:
    few, relevant = toys.vectors[:4], np.array([True, True, True, False])
    with pytest.raises(GuideError, match="3 of 4 pairs are relevant; at least two"):
        fit(few, Pairs(few, few, relevant))


def test_four_targets_are_needed(toys: Toys) -> None:
    targets = Targets(np.eye(5, dtype=np.float32), np.arange(5) < 3)
    with pytest.raises(GuideError, match="targets for 3 rows; at least 4"):
        fit(toys.vectors[:5], targets)


def test_an_instruction_is_needed(toys: Toys) -> None:
    with pytest.raises(InstructionError, match="empty"):
        fit(toys.vectors, Labels.single(toys.colours), instruction="  ")


def test_a_guide_that_leaves_rows_out_is_told(toys: Toys) -> None:
    with pytest.raises(GuideError, match="judged 3 rows of a sample of 90"):
        fit(toys.vectors, Labels.single(["a", "b", "a"]))
