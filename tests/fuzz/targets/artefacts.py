"""Transforms as they are stored."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from instruct_embeddings.transform.store import TransformStore, from_bytes, to_bytes
from instruct_embeddings.transform.transform import (
    Correction,
    InstructionTransform,
    QueryTransform,
    SpaceTransform,
    VectorEncoder,
)
from tests.fuzz.damage import damaged_safetensors
from tests.fuzz.target import Target, expect
from tests.unit.conftest import hand_made


def _whole() -> bytes:
    """Every part that an artefact can have: a hidden layer, labels, a correction."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((8, 2)).astype(np.float32)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    none = np.zeros(3, np.float32)
    transform = hand_made()
    assert transform.space.classifier is not None
    query = QueryTransform(
        0.5, rows[:3], none, rows[3:6], "softmax", Correction(unit[:2], rows[:2], unit, rows[:, 0])
    )
    layers = ((rows[:3], none), (rng.standard_normal((3, 3)).astype(np.float32), none))
    space = SpaceTransform(VectorEncoder(layers), transform.space.classifier, 0.5)
    return to_bytes(replace(transform, query=query, space=space))


def _check(data: bytes, folder: Path) -> None:
    found = from_bytes(data)
    _check_numbers(found)
    _check_description(found, folder)


def _check_numbers(found: InstructionTransform) -> None:
    size = found.collection.dimension
    vectors = np.random.default_rng(1).standard_normal((3, size)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with np.errstate(over="ignore"):
        folded, scores = found.fold(vectors[:1]), found.score(vectors[:1], vectors, 0.5)
    expect(folded.shape == (1, size) and np.isfinite(folded).all(), "a folded query")
    expect(scores.shape == (3,) and np.isfinite(scores).all(), "scores")
    expect((np.abs(scores) <= 1).all(), "similarities")


def _check_description(found: InstructionTransform, folder: Path) -> None:
    again = from_bytes(to_bytes(found))
    expect(to_bytes(again) == to_bytes(found), "an artefact that comes back")
    json.dumps(found.report.to_dict(), allow_nan=False)
    text = "\n".join([str(found.report), found.instruction, found.guide, found.created])
    text.encode()
    store = TransformStore(folder / "store")
    file = store.put(found)
    expect(file.parent == store.path and file.stem == found.key, "a file of the store")
    expect([one.problem for one in store.summaries()] == [None], "a listing")
    store.delete(found.key)


ARTEFACTS = Target("artefact", damaged_safetensors(_whole()), _check, few=150)
