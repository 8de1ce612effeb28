import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from instruct_embeddings.errors import ArtefactError
from instruct_embeddings.transform import InstructionTransform
from instruct_embeddings.transform.store import from_bytes, read_description, to_bytes
from instruct_embeddings.transform.transform import Correction, SpaceTransform
from tests.unit.conftest import Toys, hand_made
from tests.unit.transform.test_report import asked

WHOLE = to_bytes(hand_made())
HEADER = 8 + int.from_bytes(WHOLE[:8], "little")


def rewritten(
    description: dict[str, Any] | None = None, tensors: dict[str, Any] | None = None
) -> bytes:
    """The hand-made artefact with parts replaced."""
    about = read_description(WHOLE) | (description or {})
    return save(load(WHOLE) | (tensors or {}), {"instruct_embeddings": json.dumps(about)})


def test_a_fitted_transform_comes_back_to_the_bit(
    by_colour: InstructionTransform, toys: Toys
) -> None:
    back = from_bytes(to_bytes(by_colour))
    assert to_bytes(back) == to_bytes(by_colour)
    assert back.key == by_colour.key
    assert back.report == by_colour.report
    assert back.config == by_colour.config
    assert back.norms == by_colour.norms
    for blend in (0.0, 0.4, 1.0):
        np.testing.assert_array_equal(
            back.score(toys.vectors[:1], toys.vectors, blend),
            by_colour.score(toys.vectors[:1], toys.vectors, blend),
        )


def test_a_transform_without_labels_comes_back() -> None:
    transform = hand_made()
    bare = replace(transform, space=SpaceTransform(transform.space.encoder, None, 0.0))
    back = from_bytes(to_bytes(bare))
    assert back.space.classifier is None
    assert to_bytes(back) == to_bytes(bare)


def test_instructions_in_any_script_come_back() -> None:
    text = "Quelle langue ? 何語ですか \U0001f600"
    assert from_bytes(to_bytes(hand_made(instruction=text))).instruction == text


def test_the_description_is_plain_json_in_the_header() -> None:
    about = read_description(WHOLE)
    assert about["format_version"] == 3
    assert about["instruction"] == "Left or right?"
    assert about["collection"] == {
        "name": "plane",
        "id": "plane-1",
        "dimension": 2,
        "space": "cosine",
    }
    assert about["report"]["adapted"] == 1.0


def test_a_file_cut_off_anywhere_is_refused() -> None:
    for length in range(len(WHOLE)):
        with pytest.raises(ArtefactError, match=r"cut off|damaged or incomplete"):
            from_bytes(WHOLE[:length])


@given(data=st.binary(max_size=64), prefix=st.sampled_from([0, 8, HEADER]))
def test_random_bytes_are_refused(data: bytes, prefix: int) -> None:
    with pytest.raises(ArtefactError, match="Delete it"):
        from_bytes(WHOLE[:prefix] + data)


@settings(max_examples=300)
@given(place=st.integers(0, HEADER - 1), byte=st.binary(min_size=1, max_size=1))
def test_a_changed_byte_in_the_header_raises_nothing_else(place: int, byte: bytes) -> None:
    try:
        changed = from_bytes(WHOLE[:place] + byte + WHOLE[place + 1 :])
    except ArtefactError:
        return
    assert len(changed.key) == 32
    assert np.isfinite(
        changed.score(np.ones((1, 2), np.float32), np.eye(2, dtype=np.float32))
    ).all()


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"instruct_embeddings": "[]"}])
def test_safetensors_files_of_others_are_refused(metadata: dict[str, str] | None) -> None:
    foreign = save({"weight": np.ones(3, dtype=np.float32)}, metadata)
    with pytest.raises(ArtefactError, match="not a transform of this package"):
        from_bytes(foreign)


@pytest.mark.parametrize("version", [4, 0, "1", True, None])
def test_other_format_versions_are_refused(version: object) -> None:
    with pytest.raises(ArtefactError, match=r"format_version .* reads 1 to 3\. Upgrade"):
        from_bytes(rewritten({"format_version": version}))


def test_artefacts_of_the_first_format_are_read() -> None:
    """It knew no judgements and no growing samples."""
    report = read_description(WHOLE)["report"]
    del report["judgements"], report["growth"]
    old = from_bytes(rewritten({"format_version": 1, "report": report}))
    assert old.report == hand_made().report
    assert to_bytes(replace(old, created=hand_made().created)) == WHOLE


def test_what_stopped_the_sample_is_kept_and_may_be_missing() -> None:
    report = read_description(WHOLE)["report"]
    for stopped in ("enough", "budget", "size"):
        found = from_bytes(rewritten({"report": report | {"stopped": stopped}}))
        assert found.report.stopped == stopped
        assert from_bytes(to_bytes(found)).report.stopped == stopped
    del report["stopped"]
    assert from_bytes(rewritten({"report": report})).report.stopped is None


def test_artefacts_of_the_second_format_are_read() -> None:
    """It called the property that is `gains` today `helps`, and knew no judged questions."""
    report = read_description(WHOLE)["report"]
    for new in ("gains", "blend", "used", "questions"):
        del report[new]
    old = from_bytes(rewritten({"format_version": 2, "report": {**report, "helps": True}}))
    assert old.report == hand_made().report


def test_reports_of_questions_come_back_and_damaged_ones_are_refused() -> None:
    whole = replace(hand_made(), report=replace(hand_made().report, questions=asked(0.2, 0.01)))
    assert from_bytes(to_bytes(whole)).report == whole.report
    report = whole.report.to_dict()
    good = report["questions"]
    for bad in (
        {**good, "k": float("nan")},
        {**good, "rankings": good["rankings"][:1]},
        {**good, "instructions": [3]},
        {**good, "questions": "many"},
        {**good, "unknown": 1},
        {**good, "rankings": [{**one, "blend": 2.0} for one in good["rankings"]]},
        [],
    ):
        with pytest.raises(ArtefactError, match="Delete it"):
            from_bytes(rewritten({"report": {**report, "questions": bad}}))


def corrected() -> InstructionTransform:
    parts = ([[0.6, 0.8]], [[0, 1]], [[1, 0]], [2])
    move = Correction(*(np.asarray(part, dtype=np.float32) for part in parts))
    transform = hand_made()
    return replace(transform, query=replace(transform.query, correction=move))


def test_corrections_come_back() -> None:
    back = from_bytes(to_bytes(corrected()))
    assert to_bytes(back) == to_bytes(corrected())
    probe = np.array([[0.8, 0.6]], dtype=np.float32)
    np.testing.assert_array_equal(back.query.fold(probe), corrected().query.fold(probe))


@pytest.mark.parametrize(
    "broken",
    [
        {"correction.queries": np.ones((1, 3), np.float32)},
        {"correction.queries": np.ones((2, 2), np.float32) / 2},
        {"correction.queries": np.array([[300, 0]], np.float32)},
        {"correction.queries": np.array(1, np.float32)},
        {"correction.moves": np.array([[np.nan, 0]], np.float32)},
        {"correction.axes": np.ones((2, 2), np.float32)},
        {"correction.weights": np.ones((1, 1), np.float32)},
        {"correction.weights": np.ones(0, np.float32)},
    ],
)
def test_corrections_that_do_not_fit_are_refused(broken: dict[str, Any]) -> None:
    whole = to_bytes(corrected())
    header = {"instruct_embeddings": json.dumps(read_description(whole))}
    with pytest.raises(ArtefactError, match="damaged or incomplete"):
        from_bytes(save(load(whole) | broken, header))


@pytest.mark.parametrize("missing", ["queries", "moves", "axes", "weights"])
def test_corrections_that_are_incomplete_are_refused(missing: str) -> None:
    whole = to_bytes(corrected())
    tensors = load(whole)
    del tensors[f"correction.{missing}"]
    with pytest.raises(ArtefactError, match="damaged or incomplete"):
        from_bytes(save(tensors, {"instruct_embeddings": json.dumps(read_description(whole))}))


@pytest.mark.parametrize("name", sorted(load(WHOLE)))
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused(name: str, number: float) -> None:
    broken = np.full_like(load(WHOLE)[name], number)
    with pytest.raises(ArtefactError, match="damaged or incomplete"):
        from_bytes(rewritten(tensors={name: broken}))


@pytest.mark.parametrize("name", sorted(load(WHOLE)))
@pytest.mark.parametrize("mix", [0.0, 0.5])
def test_shapes_that_do_not_fit_are_refused(name: str, mix: float) -> None:
    tall = np.ones((3, 3), dtype=np.float32)
    with pytest.raises(ArtefactError, match="damaged or incomplete"):
        from_bytes(rewritten({"mix": mix}, {name: tall}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (field, value)
        for field in sorted(set(read_description(WHOLE)) - {"written_by"})
        for value in (None, [], "x")
        if not (value == "x" and field in ("instruction", "guide", "created"))
    ],
)
def test_a_description_with_a_wrong_field_is_refused(field: str, value: object) -> None:
    with pytest.raises(ArtefactError):
        from_bytes(rewritten({field: value}))


@pytest.mark.parametrize(
    "change",
    [
        {"instruction": " "},
        {"collection": {"name": 3, "id": "x", "dimension": 2, "space": "cosine"}},
        {"collection": {"name": "x", "id": "x", "dimension": 2, "space": "manhattan"}},
        {"collection": {"name": "x", "id": "x", "dimension": 3, "space": "cosine"}},
        {"collection": {"name": "x", "id": "x", "dimension": 10**15, "space": "cosine"}},
        {"query": {"residual": 0.0, "gate": "relu"}},
        {"space": {"weight": 0.5, "layers": 0}},
        {"space": {"weight": -1.0, "layers": 1}},
        {"space": {"weight": 0.5, "layers": float("inf")}},
        {"mix": float("nan")},
        {"config": {"sample_size": 1}},
        {"config": {"colour": 1}},
    ],
)
def test_a_description_out_of_its_range_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ArtefactError):
        from_bytes(rewritten(change))


def test_a_header_that_says_it_is_huge_is_not_read() -> None:
    huge = (2**63 - 1).to_bytes(8, "little") + WHOLE[8:]
    with pytest.raises(ArtefactError, match=r"a header of 9,223,.* at most 16,777,216 are read"):
        read_description(huge)


@pytest.mark.parametrize("text", ["[" * 100_000, "[" + "0," * 1_100_000 + "0]"])
def test_a_header_that_would_fill_the_memory_is_not_decoded(text: str) -> None:
    header = json.dumps({"__metadata__": {"instruct_embeddings": text}}).encode()
    with pytest.raises(ArtefactError, match=r"nested too deeply|more than 1,000,000 values"):
        read_description(len(header).to_bytes(8, "little") + header)


def test_empty_maps_of_a_huge_dimension_are_not_applied() -> None:
    """The file has a few hundred bytes; one query vector would take forty billion."""
    wide, none = np.empty((0, 10**10), np.float32), np.empty(0, np.float32)
    maps = dict.fromkeys(("query.gates", "query.directions", "space.0.weights"), wide)
    maps |= {"query.bias": none, "space.0.bias": none}
    plane = {"name": "plane", "id": "plane-1", "dimension": 10**10, "space": "cosine"}
    data = rewritten({"collection": plane, "space": {"weight": 0.0, "layers": 1}}, maps)
    assert len(data) < 5000
    with pytest.raises(ArtefactError, match="a dimension is a number from 1 to 65,536"):
        from_bytes(data)


@pytest.mark.parametrize("name", ["space.0.bias", "classifier.bias", "query.bias"])
def test_a_bias_is_not_broadcast(name: str) -> None:
    """Small here, it would make every candidate of a search as long as itself."""
    with pytest.raises(ArtefactError, match=r"do(es)? not have the shape"):
        from_bytes(rewritten(tensors={name: np.zeros(70, np.float32)}))


def test_axes_longer_than_any_fit_makes_are_refused() -> None:
    long = {"query.bias": np.zeros(65_537, np.float32)}
    with pytest.raises(ArtefactError, match="longer than 65,536"):
        from_bytes(rewritten(tensors=long))


def test_numbers_whose_products_overflow_are_refused() -> None:
    for name, values in load(WHOLE).items():
        with pytest.raises(ArtefactError, match="not finite, or larger than"):
            from_bytes(rewritten(tensors={name: np.full_like(values, 2e9)}))
    with pytest.raises(ArtefactError, match="not finite, or larger than"):
        from_bytes(rewritten({"query": {"residual": 1e300, "gate": "linear"}}))


@pytest.mark.parametrize("kind", ["float64", "int32", "float16"])
def test_maps_of_another_type_are_refused(kind: str) -> None:
    other = load(WHOLE)["query.gates"].astype(kind)
    with pytest.raises(ArtefactError, match="not float32"):
        from_bytes(rewritten(tensors={"query.gates": other}))


@pytest.mark.parametrize(
    "change",
    [
        {"adapted": float("nan")},
        {"seconds": float("inf")},
        {"rows": 10**400},
        {"generic": True, "folded": "1"},
        {"label_counts": {"left": None}},
        {"label_counts": {"left": float("nan")}},
        {"chosen": {"strength": float("inf")}},
        {"growth": [[100, float("nan")]]},
        {"measure": 3},
        {"stopped": "by hand"},
        {"stopped": ["budget"]},
    ],
)
def test_a_report_with_numbers_that_are_none_is_refused(change: dict[str, Any]) -> None:
    report = read_description(WHOLE)["report"] | change
    with pytest.raises(ArtefactError, match=r"description of the artefact is .* wrong"):
        from_bytes(rewritten({"report": report}))


def test_half_of_a_surrogate_pair_is_refused_before_it_is_printed() -> None:
    with pytest.raises(ArtefactError, match="UnicodeEncodeError"):
        read_description(rewritten({"created": "\ud800"}))


def test_messages_stay_short_whatever_a_file_holds() -> None:
    with pytest.raises(ArtefactError) as raised:
        from_bytes(rewritten({"config": {"x" * 100_000: 1}}))
    assert len(str(raised.value)) < 500
