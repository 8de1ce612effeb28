"""Two models of the same texts: the new one turns, stretches or drops what the old one saw."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from instruct_embeddings._types import FloatArray
from instruct_embeddings.config import FitConfig
from instruct_embeddings.errors import (
    ArtefactError,
    CollectionMismatchError,
    ConfigError,
    InvalidVectorsError,
)
from instruct_embeddings.guides import MetadataGuide
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.transform import TransformStore
from instruct_embeddings.transform.bridge import (
    QueryBridge,
    agreement,
    fit_bridge,
    from_bytes,
    to_bytes,
)
from instruct_embeddings.transform.store import to_bytes as transform_to_bytes
from instruct_embeddings.transform.vectors import unit_rows
from tests.unit.conftest import Toys, hand_made

N, OLD = 240, 8
TEXTS = [f"text {i}" for i in range(N)]
PLACE = {text: i for i, text in enumerate(TEXTS)}


def random_rows(n: int, d: int, seed: int) -> FloatArray:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def rotation(rows: int, columns: int, seed: int = 7) -> FloatArray:
    """Orthonormal columns or rows, whichever are fewer."""
    square = np.linalg.qr(random_rows(max(rows, columns), max(rows, columns), seed))[0]
    return np.asarray(square[:rows, :columns], dtype=np.float32)


Y = unit_rows(random_rows(N, OLD, 0) + 0.3)


def embed(vectors: FloatArray) -> Callable[[Sequence[str]], list[list[float]]]:
    """As the hosts' functions do: lists in, lists out."""
    return lambda texts: [vectors[PLACE[text]].tolist() for text in texts]


def test_a_quarter_turn_is_turned_back() -> None:
    angles = np.linspace(0, 2 * np.pi, N, endpoint=False)
    old = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    new = np.stack([-np.sin(angles), np.cos(angles)], axis=1)
    bridge = fit_bridge(old, new, TEXTS)
    np.testing.assert_allclose(bridge.query([0.0, 5.0]), [1.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(bridge.query([-3.0, 0.0]), [0.0, 1.0], atol=1e-6)
    assert bridge.report.unbridged_cosine == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("dimension", [OLD, 12])
def test_a_rotation_loses_nothing_in_any_dimension(dimension: int) -> None:
    bridge = fit_bridge(embed(Y), embed(Y @ rotation(OLD, dimension)), TEXTS)
    report = bridge.report
    assert (bridge.old_dimension, bridge.new_dimension) == (OLD, dimension)
    assert (report.method, report.strength, report.rows, report.k) == ("procrustes", None, N, 10)
    assert report.agreement > 0.99
    assert report.lost < 0.01
    assert report.cosine == pytest.approx(1.0, abs=1e-4)
    assert report.gains
    np.testing.assert_allclose(bridge.map(Y @ rotation(OLD, dimension)), Y, atol=1e-3)


def test_without_a_bridge_is_measured_where_dimensions_agree() -> None:
    turned = fit_bridge(Y, Y @ rotation(OLD, OLD), TEXTS).report
    assert turned.unbridged is not None
    assert turned.unbridged == turned.tried["identity"] < 0.5
    other = fit_bridge(Y, Y @ rotation(OLD, 12), TEXTS).report
    assert (other.unbridged, other.unbridged_cosine, other.gain_error) == (None, None, 0.0)
    assert "identity" not in other.tried
    assert "the dimensions differ" in str(other)


def test_a_new_model_of_fewer_dimensions_loses_what_it_does_not_see() -> None:
    report = fit_bridge(Y, Y[:, :5], TEXTS).report
    assert 0.1 < report.agreement < 0.8
    assert report.lost == 1 - report.agreement


def test_stretched_directions_need_more_than_a_rotation() -> None:
    stretch = np.geomspace(0.1, 3, OLD).astype(np.float32)
    report = fit_bridge(Y, (Y * stretch) @ rotation(OLD, OLD), TEXTS).report
    assert report.method == "ridge"
    assert report.strength is not None
    assert report.agreement > report.tried["procrustes"] + 0.1
    assert str(report).endswith(f"map: ridge, strength {report.strength:g}")


def test_queries_of_the_same_model_pass_unchanged() -> None:
    bridge = fit_bridge(Y, 3 * Y, TEXTS)
    assert bridge.report.method == "identity"
    assert bridge.report.agreement == bridge.report.unbridged == 1.0
    assert not bridge.report.gains
    np.testing.assert_allclose(bridge.map(Y), Y, atol=1e-6)


def test_models_that_have_nothing_in_common_are_told_so() -> None:
    """Ten of the other 239 texts by chance: the texts a bridge was fitted on do not flatter it."""
    report = fit_bridge(Y, random_rows(N, 40, 3), TEXTS).report
    assert report.agreement < 0.12
    assert report.agreement_error < 0.02


@given(st.integers(0, 2**32 - 1))
def test_agreement_is_that_of_a_plain_loop(seed: int) -> None:
    x, y = unit_rows(random_rows(23, 3, seed)), unit_rows(random_rows(23, 3, seed + 1))

    def best(query: FloatArray, own: int) -> set[int]:
        order = np.argsort(-(y @ query))
        return set([int(row) for row in order if row != own][:10])

    expected = [len(best(x[i], i) & best(y[i], i)) / 10 for i in range(23)]
    np.testing.assert_allclose(agreement(x, y, np.arange(23)), expected, atol=1e-6)


def test_vectors_serve_where_a_model_is_gone() -> None:
    new = Y @ rotation(OLD, 12)
    by_call = fit_bridge(embed(Y), embed(new), TEXTS, old_model="a", new_model="b")
    by_vectors = fit_bridge(Y.tolist(), embed(new), TEXTS, old_model="a", new_model="b")
    np.testing.assert_array_equal(by_call.weights, by_vectors.weights)
    assert replace(by_call.report, seconds=0.0) == replace(by_vectors.report, seconds=0.0)


def test_repeated_texts_count_once() -> None:
    new = Y @ rotation(OLD, 12)
    twice = fit_bridge(np.repeat(Y, 2, axis=0), embed(new), [t for t in TEXTS for _ in range(2)])
    np.testing.assert_array_equal(twice.weights, fit_bridge(Y, new, TEXTS).weights)
    with pytest.raises(ConfigError, match="holds 23 different texts; at least 24"):
        fit_bridge(embed(Y), embed(new), [*TEXTS[:23], TEXTS[0]])


def test_rows_without_a_direction_are_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    broken = Y.copy()
    broken[0], broken[1, 2] = 0, np.nan
    with caplog.at_level(logging.WARNING, logger="instruct_embeddings"):
        assert fit_bridge(Y, broken, TEXTS).report.rows == N - 2
    assert "2 of 240 texts have no direction" in caplog.text
    with pytest.raises(InvalidVectorsError, match="Only 20 of 240 texts"):
        fit_bridge(Y, np.where(np.arange(N)[:, None] < 20, Y, 0), TEXTS)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (Y[:-1], Y, r"of the old model .* for 240 texts, got \(239, 8\)"),
        (Y, Y[0], r"of the new model .* for 240 texts, got \(8,\)"),
        (lambda texts: Y[:3], Y, r"of the old model .* for 240 texts, got \(3, 8\)"),
    ],
)
def test_there_is_one_vector_a_text(old: Any, new: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fit_bridge(old, new, TEXTS)


def test_one_text_is_no_sample() -> None:
    with pytest.raises(ConfigError, match="sample is one text"):
        fit_bridge(Y, Y, "text")


@pytest.fixture(scope="module")
def bridge() -> QueryBridge:
    """Lists a stretched and turned model of 12 dimensions."""
    stretch = np.geomspace(0.5, 2, OLD).astype(np.float32)
    new = (Y * stretch) @ rotation(OLD, 12)
    return fit_bridge(Y, new, TEXTS, old_model="old-v1", new_model="new-v2")


def test_queries_of_another_model_are_refused(bridge: QueryBridge) -> None:
    assert bridge.map(np.empty((0, 12))).shape == (0, OLD)
    for wrong in (Y, np.ones(12), [[[1.0] * 12]]):
        with pytest.raises(CollectionMismatchError, match=r"shape \(n, 12\) of the model 'new-v2'"):
            bridge.map(wrong)
    with pytest.raises(CollectionMismatchError):
        bridge.query(Y[0])
    for value in (0.0, np.nan, np.inf):
        with pytest.raises(InvalidVectorsError, match="Query vector 1 is zero or holds NaN"):
            bridge.map([[1.0] * 12, [value] * 12])


def test_a_bridge_leads_to_the_old_collection_under_an_instruction(toys: Toys) -> None:
    """Instruction and all: transforms were fitted on the old vectors, and never hear of the new."""
    turn = rotation(16, 24)
    bridge = fit_bridge(toys.vectors, toys.vectors @ turn, [str(i) for i in range(90)])
    quick = FitConfig(folds=2, time_budget=1e-9)
    retriever = InstructRetriever(toys.collection(), MetadataGuide("colour"), fit=quick)
    for row in range(0, 90, 30):
        old, new = toys.vectors[row], bridge.query(toys.vectors[row] @ turn)
        for instruction in (None, "What colour is it?"):
            wanted = retriever.search(old, instruction=instruction)
            found = retriever.search(new, instruction=instruction)
            assert [hit.id for hit in found] == [hit.id for hit in wanted]


def test_a_bridge_comes_back_to_the_bit(bridge: QueryBridge, tmp_path: Path) -> None:
    file = bridge.save(tmp_path / "new" / "bridge.safetensors")
    back = QueryBridge.load(str(file))
    assert to_bytes(back) == to_bytes(bridge) == file.read_bytes()
    assert back.report == bridge.report
    assert str(back.report) == str(bridge.report)
    assert (back.old_model, back.new_model) == ("old-v1", "new-v2")
    assert [path.name for path in file.parent.iterdir()] == ["bridge.safetensors"]


def test_a_folder_is_no_file(bridge: QueryBridge, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is a folder.*bridge\.safetensors"):
        bridge.save(tmp_path)
    with pytest.raises(FileNotFoundError):
        QueryBridge.load(tmp_path / "none")


def rewritten(bridge: QueryBridge, about: dict[str, Any], tensors: dict[str, Any]) -> bytes:
    """The bridge with parts replaced."""
    data = to_bytes(bridge)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    whole = json.loads(header["instruct_embeddings_bridge"]) | about
    return save(load(data) | tensors, {"instruct_embeddings_bridge": json.dumps(whole)})


@pytest.mark.parametrize(
    ("about", "tensors", "message"),
    [
        ({"format_version": 2}, {}, "has format_version 2; this version"),
        ({"format_version": True}, {}, "has format_version True; this version"),
        ({"report": {}}, {}, "damaged or incomplete"),
        ({"report": 3}, {}, "damaged or incomplete"),
        ({"format_version": [2] * 99}, {}, r"has format_version \[2, 2[, 2]{50,60}; this version"),
        ({"old_model": 3}, {}, "3 is not a valid str"),
        ({}, {"bias": np.zeros(3, np.float32)}, "do not fit together"),
        ({}, {"weights": np.zeros((OLD, 0), np.float32)}, "do not fit together"),
        ({}, {"bias": np.full(OLD, np.nan, np.float32)}, "not finite"),
        ({}, {"weights": np.full((OLD, 12), 1e10, np.float32)}, r"or larger than 1e\+09"),
        ({}, {"weights": np.zeros((OLD, 70_000), np.float32)}, "longer than 65,536"),
        ({}, {"bias": np.zeros(OLD, np.float64)}, "not float32"),
    ],
)
def test_what_does_not_fit_is_refused(
    bridge: QueryBridge, about: dict[str, Any], tensors: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArtefactError, match=message):
        from_bytes(rewritten(bridge, about, tensors))


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "red"},
        {"agreement": "much"},
        {"agreement": float("nan")},
        {"unbridged": float("inf")},
        {"tried": 3},
        {"tried": {"ridge": None}},
        {"method": 3},
    ],
)
def test_a_report_that_is_none_is_refused(bridge: QueryBridge, change: dict[str, Any]) -> None:
    report = bridge.report.to_dict() | change
    with pytest.raises(ArtefactError, match="damaged or incomplete"):
        from_bytes(rewritten(bridge, {"report": report}, {}))
    assert from_bytes(rewritten(bridge, {}, {})).report == bridge.report


@given(cut=st.floats(0, 1, exclude_max=True))
def test_a_cut_file_is_an_artefact_error(bridge: QueryBridge, cut: float) -> None:
    whole = to_bytes(bridge)
    with pytest.raises(ArtefactError):
        from_bytes(whole[: int(cut * len(whole))])


def test_transforms_and_bridges_are_not_taken_for_each_other(
    bridge: QueryBridge, tmp_path: Path
) -> None:
    with pytest.raises(ArtefactError, match="not a query bridge"):
        from_bytes(transform_to_bytes(hand_made()))
    bridge.save(tmp_path / "ab12.safetensors")
    [summary] = TransformStore(tmp_path).summaries()
    assert summary.problem is not None
    assert "not a transform" in summary.problem
