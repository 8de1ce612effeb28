import json

import numpy as np
import pytest

from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import ConfigError, InstructionError
from instruct_embeddings.evaluation.instruction_following import (
    Aspect,
    InstructionFollowingReport,
    InstructionFollowingScore,
    InstructionFollowingSizes,
    Method,
    measure_instruction_following,
)

RNG = np.random.default_rng(0)
COLOURS, SHAPES = RNG.integers(0, 3, 90), RNG.integers(0, 4, 90)
NOISE = RNG.normal(size=(90, 8)).astype(np.float32)
SIZES = InstructionFollowingSizes(rows=60, triplets=50, rounds=200)
ASPECTS = (
    Aspect("colour", ("Which colour?", "Name the colour."), tuple(map(str, COLOURS))),
    Aspect("shape", ("Which shape?", "Name the shape."), tuple(map(str, SHAPES))),
)


def obedient(instruction: str) -> FloatArray:
    labels = COLOURS if "colour" in instruction else SHAPES
    return np.eye(4, dtype=np.float32)[labels]


def deaf(instruction: str) -> FloatArray:
    del instruction
    return NOISE


METHODS: dict[str, Method] = {"deaf": deaf, "obedient": obedient}


@pytest.fixture(scope="module")
def report() -> InstructionFollowingReport:
    return measure_instruction_following(ASPECTS, METHODS, baseline="deaf", sizes=SIZES)


def figure(
    report: InstructionFollowingReport, kind: str, subject: str, method: str
) -> InstructionFollowingScore:
    [found] = [
        one
        for one in report.figures
        if (one.kind, one.subject, one.method) == (kind, subject, method)
    ]
    return found


def test_every_kind_is_measured_for_every_method(report: InstructionFollowingReport) -> None:
    subjects = {(one.kind, one.subject) for one in report.figures}
    assert subjects == {
        ("clustering", "colour"),
        ("clustering", "shape"),
        ("triplets", "colour + shape"),
        ("similarity", "colour + shape"),
    }
    assert len(report.figures) == 2 * len(subjects)
    assert {one.units for one in report.figures} == {60, 50}


@pytest.mark.parametrize(
    ("kind", "subject", "chance"),
    [("triplets", "colour + shape", 0.5), ("similarity", "colour + shape", 0.0)],
)
def test_who_obeys_is_right_and_who_does_not_is_at_chance(
    report: InstructionFollowingReport, kind: str, subject: str, chance: float
) -> None:
    right, wrong = (figure(report, kind, subject, name) for name in ("obedient", "deaf"))
    assert (right.mean, right.spread) == pytest.approx((1, 0))
    assert (wrong.mean, wrong.spread) == pytest.approx((chance, 0))
    assert right.gain == pytest.approx(1 - chance)
    assert right.p_value == pytest.approx(2 / 201)
    assert wrong.gain is None


def test_clusters_of_who_obeys_are_the_labels(report: InstructionFollowingReport) -> None:
    right, wrong = (figure(report, "clustering", "shape", name) for name in ("obedient", "deaf"))
    assert right.mean == pytest.approx(1)
    assert wrong.mean < 0.4
    assert wrong.spread > 0  # other rows and other starts under each seed
    assert wrong.wording_spread == 0  # it hears no wording


def test_wordings_count_alike() -> None:
    """It obeys one of two wordings: half of its triplets are decided by chance."""

    def half(instruction: str) -> FloatArray:
        return NOISE if "Name" in instruction else obedient(instruction)

    methods: dict[str, Method] = {"deaf": deaf, "half": half}
    found = measure_instruction_following(ASPECTS, methods, baseline="deaf", sizes=SIZES, seeds=[0])
    half_right = figure(found, "triplets", "colour + shape", "half")
    assert half_right.mean == pytest.approx(0.75)
    assert half_right.wording_spread == pytest.approx(np.std([1, 0.5], ddof=1))
    assert half_right.spread == 0  # of one seed


def test_methods_are_asked_once_for_each_wording() -> None:
    heard: list[str] = []

    def listening(instruction: str) -> FloatArray:
        heard.append(instruction)
        return NOISE

    measure_instruction_following(ASPECTS, {"a": listening}, baseline="a", sizes=SIZES)
    assert heard == ["Which colour?", "Name the colour.", "Which shape?", "Name the shape."]


def test_texts_without_a_label_are_left_out() -> None:
    few = tuple(str(c) if i < 20 else None for i, c in enumerate(COLOURS))
    aspects = (Aspect("colour", ("Which colour?",), few), ASPECTS[1])
    found = measure_instruction_following(aspects, METHODS, baseline="deaf", sizes=SIZES, seeds=[0])
    assert figure(found, "clustering", "colour", "deaf").units == 20
    assert figure(found, "clustering", "shape", "deaf").units == 60


def test_aspects_of_which_one_decides_the_other_give_clusters_alone() -> None:
    parts = tuple(str(c > 0) for c in COLOURS)
    aspects = (ASPECTS[0], Aspect("part", ("Which part?",), parts))
    found = measure_instruction_following(aspects, METHODS, baseline="deaf", sizes=SIZES, seeds=[0])
    assert {one.kind for one in found.figures} == {"clustering"}


def test_a_report_is_plain_data_and_a_table(report: InstructionFollowingReport) -> None:
    data = json.loads(json.dumps(report.to_dict()))
    assert (data["baseline"], data["seeds"]) == ("deaf", [0, 1, 2, 3, 4])
    assert data["figures"][0]["kind"] == "clustering"
    lines = str(report).splitlines()
    assert lines[0].startswith("mean ± spread over 5 seeds (gain over deaf, p)")
    [triplets] = [line for line in lines if "triplets: colour + shape" in line]
    assert triplets.split() == [
        *("triplets:", "colour", "+", "shape"),
        *("0.500", "±0.000", "1.000", "±0.000", "(+0.500,", "p=0.010)"),
    ]


def test_an_aspect_needs_a_wording() -> None:
    with pytest.raises(ConfigError, match=r"'colour' has the instructions 'Which colour\?'"):
        Aspect("colour", "Which colour?", ("red",))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"'colour' has the instructions \(\)"):
        Aspect("colour", (), ("red",))
    with pytest.raises(InstructionError, match="is empty"):
        Aspect("colour", (" ",), ("red",))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"aspects": []}, r"Aspects have labels of \[\] texts"),
        ({"aspects": [ASPECTS[0], Aspect("x", ("y",), ("z",))]}, r"labels of \[90, 1\] texts"),
        ({"baseline": "other"}, r"baseline='other' of the methods \['deaf', 'obedient'\]"),
        ({"seeds": []}, r"seeds=\[\]\. .* at least one, each once"),
        ({"seeds": [1, 1]}, r"seeds=\[1, 1\]\. "),
        ({"methods": {"deaf": lambda _: NOISE[:5]}}, "'deaf' gave 5 embeddings for 90 texts"),
        (
            {"aspects": [Aspect("x", ("y",), ("same",) * 90)]},
            r"Nothing can be measured on the aspects \['x'\]",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(changes: dict[str, object], message: str) -> None:
    arguments = {"aspects": ASPECTS, "methods": METHODS, "baseline": "deaf", "sizes": SIZES}
    with pytest.raises(ConfigError, match=message):
        measure_instruction_following(**(arguments | changes))  # type: ignore[arg-type]
