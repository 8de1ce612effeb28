"""Evaluation on the toys, whose colour is small in their vectors."""

import json

import numpy as np
import pytest

from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import ConfigError, GuideError
from instruct_embeddings.evaluation import (
    Evaluation,
    EvaluationConfig,
    evaluate,
    evaluate_collection,
)
from instruct_embeddings.guides import LabelGuide
from instruct_embeddings.protocols import Rows
from instruct_embeddings.supervision import Targets
from tests.unit.conftest import Toys, make_toys

COLOUR = "Which colour is it?"
CONFIG = EvaluationConfig(rounds=200)


class ColourGuide:
    """Sees the colours in the texts, as an encoder would; asked about the sample alone."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    @property
    def key(self) -> str:
        return "colours"

    def ids(self) -> None:
        return None

    def judge(self, instruction: str, sample: Rows) -> Targets:
        assert instruction == COLOUR
        self.seen |= set(sample.ids)
        colours = [str(text).split()[1] for text in sample.texts]
        vectors = np.array([[c == "red", c == "green", c == "blue"] for c in colours], np.float32)
        return Targets(vectors, np.ones(len(sample), dtype=np.bool_))


@pytest.fixture(scope="module")
def many() -> Toys:
    return make_toys(240)


@pytest.fixture(scope="module")
def report(many: Toys) -> Evaluation:
    return evaluate(
        many.vectors,
        many.colours,
        instruction=COLOUR,
        others={"colours alone": one_hot(many)},
        config=CONFIG,
    )


def one_hot(toys: Toys) -> FloatArray:
    names = ["red", "green", "blue"]
    return np.eye(3, dtype=np.float32)[[names.index(colour) for colour in toys.colours]]


def test_half_of_the_rows_are_learned_from_and_the_others_measured(report: Evaluation) -> None:
    assert (report.learned, report.measured, report.labels, report.k) == (120, 120, 3, 10)
    assert [one.method for one in report.methods] == ["generic", "adapted", "colours alone"]
    assert report.guide.startswith("labels:")


def test_adapted_vectors_find_and_cluster_colours(report: Evaluation) -> None:
    generic, adapted = report["generic"], report["adapted"]
    assert report.used
    assert generic.precision.value < 0.55
    assert adapted.precision.value > 0.85
    assert adapted.precision.low > generic.precision.high
    assert adapted.v_measure.value > generic.v_measure.value + 0.4
    assert adapted.precision_gain is not None
    assert adapted.precision_gain.significant
    assert adapted.precision_gain.value == pytest.approx(
        adapted.precision.value - generic.precision.value
    )


def test_generic_figures_are_those_of_the_measured_rows(many: Toys, report: Evaluation) -> None:
    """Worked out again: the rows to measure are the second half of a permutation."""
    rows = np.random.default_rng(CONFIG.seed).permutation(240)[120:]
    part = Toys(many.vectors[rows], [many.colours[i] for i in rows], [""] * 120)
    expected = part.precision(part.vectors @ part.vectors.T)
    assert report["generic"].precision.value == pytest.approx(expected, abs=1e-6)


def test_other_vectors_are_measured_on_the_same_rows(report: Evaluation) -> None:
    perfect = report["colours alone"]
    assert (perfect.precision.value, perfect.precision.low) == (1, 1)
    assert perfect.v_measure.value == pytest.approx(1)


def test_a_guide_sees_texts_of_its_own_part_alone(many: Toys) -> None:
    guide = ColourGuide()
    texts = [f"a {colour} toy" for colour in many.colours]
    found = evaluate(
        many.vectors, many.colours, instruction=COLOUR, texts=texts, guide=guide, config=CONFIG
    )
    assert len(guide.seen) == 120
    measured = np.random.default_rng(CONFIG.seed).permutation(240)[120:]
    assert guide.seen.isdisjoint(map(str, measured))
    assert found.guide == "colours"
    assert found["adapted"].precision.value > 0.85


def test_where_the_transform_does_not_help_the_generic_ranking_is_measured(many: Toys) -> None:
    noise = np.random.default_rng(4).choice(["a", "b"], 240).tolist()
    found = evaluate(many.vectors, noise, instruction="Which letter?", config=CONFIG)
    assert not found.used
    gain = found["adapted"].precision_gain
    assert gain is not None
    assert (gain.value, gain.p_value) == (0, 1)
    assert found["adapted"].v_measure == found["generic"].v_measure
    assert "the transform is not used, since its gain may be chance" in str(found)


def test_a_transform_that_does_not_help_can_be_measured_all_the_same(many: Toys) -> None:
    noise = np.random.default_rng(4).choice(["a", "b"], 240).tolist()
    forced = EvaluationConfig(rounds=200, force=True)
    found = evaluate(many.vectors, noise, instruction="Which letter?", config=forced)
    assert found.used
    assert found["adapted"].precision != found["generic"].precision


def test_rows_without_a_label_are_left_out(many: Toys) -> None:
    some = [c if i % 2 else None for i, c in enumerate(many.colours)]
    found = evaluate(many.vectors, some, instruction=COLOUR, config=CONFIG)
    assert found.learned + found.measured == 120


def test_a_share_to_learn_from_and_a_number_of_queries(many: Toys) -> None:
    config = EvaluationConfig(learn=0.25, queries=20, k=5, rounds=200)
    found = evaluate(many.vectors, many.colours, instruction=COLOUR, config=config)
    assert (found.learned, found.measured, found.k) == (60, 180, 5)
    # Of 20 queries, shares of 5 results: the mean is a multiple of a hundredth.
    hundredths = found["generic"].precision.value * 100
    assert hundredths == pytest.approx(round(hundredths), abs=1e-4)


def test_labels_in_the_metadata_of_a_collection(many: Toys) -> None:
    found = evaluate_collection(
        many.collection(), "colour", instruction=COLOUR, rows=200, config=CONFIG
    )
    assert found.learned + found.measured == 200
    assert found["adapted"].precision.value > 0.85
    with pytest.raises(GuideError, match="'color'"):
        evaluate_collection(many.collection(), "color", instruction=COLOUR)


def test_a_report_is_plain_data_and_a_table(report: Evaluation) -> None:
    data = json.loads(json.dumps(report.to_dict()))
    assert data["methods"][0]["precision_gain"] is None
    assert data["methods"][1]["precision_gain"]["p_value"] == pytest.approx(2 / 201)
    assert data["fit"]["gains"] is True
    lines = str(report).splitlines()
    assert lines[0] == f'"{COLOUR}"'
    assert lines[1] == "120 rows with 3 labels, learned from 120 others"
    assert lines[2].split() == ["method", "precision@10", "gain", "V-measure", "gain"]
    assert [line.split()[0] for line in lines[4:]] == ["generic", "adapted", "colours"]
    assert "(p=0.010)" in lines[5]
    with pytest.raises(KeyError):
        _ = report["folded"]


def test_arguments_have_one_entry_a_row(many: Toys) -> None:
    with pytest.raises(ConfigError, match="240 vectors, 2 labels and 2 texts"):
        evaluate(many.vectors, ["a", "b"], instruction=COLOUR)
    with pytest.raises(ConfigError, match="240 labels and 1 texts"):
        evaluate(many.vectors, many.colours, instruction=COLOUR, texts=["one"])
    with pytest.raises(ConfigError, match=r"others\['x'\] holds 3 vectors for 240 rows"):
        evaluate(many.vectors, many.colours, instruction=COLOUR, others={"x": np.eye(3)})
    with pytest.raises(ConfigError, match=r"others\['generic'\].*a name other than"):
        evaluate(many.vectors, many.colours, instruction=COLOUR, others={"generic": many.vectors})


def test_too_little_to_measure_is_refused(many: Toys) -> None:
    with pytest.raises(ConfigError, match="6 rows with 3 labels are left to measure; more than k"):
        evaluate(many.vectors[:12], many.colours[:12], instruction=COLOUR)
    with pytest.raises(ConfigError, match="20 rows with 1 labels"):
        evaluate(many.vectors[:40], ["same"] * 40, instruction=COLOUR)
    unique = [str(i) for i in range(40)]
    with pytest.raises(ConfigError, match="Only 0 of 20 queries share their label"):
        evaluate(
            many.vectors[:40],
            unique,
            instruction=COLOUR,
            guide=LabelGuide({str(i): many.colours[i] for i in range(40)}),
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learn": 1.0}, "learn=1.0 is not between 0 and 1"),
        ({"k": 0}, "k must be an integer >= 1.*, got 0"),
        ({"queries": 0}, "queries must be an integer >= 1.*, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EvaluationConfig(**settings)
