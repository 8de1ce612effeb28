"""Toy rows whose right answers are known, and transforms written by hand."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from hypothesis.strategies import SearchStrategy

from instruct_embeddings._types import FloatArray, Space
from instruct_embeddings.config import FitConfig
from instruct_embeddings.protocols import CollectionInfo, Rows, VectorCollection
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.supervision import Labels
from instruct_embeddings.testing import InMemoryCollection
from instruct_embeddings.transform import (
    FitReport,
    InstructionTransform,
    QueryTransform,
    SpaceTransform,
    TransformStore,
    fit_transform,
)
from instruct_embeddings.transform.transform import Classifier, Norms, VectorEncoder

# The same examples in every run, nothing written to disk, and no clock on a busy machine.
settings.register_profile("unit", deadline=None, max_examples=50, derandomize=True, database=None)
settings.load_profile("unit")

INFO = CollectionInfo("toys", "toys-1", 16, "cosine")
COLOUR = "What colour is it?"
Adapt: TypeAlias = Callable[[VectorCollection], InstructRetriever]


def small_rows(n: int, d: int) -> SearchStrategy[FloatArray]:
    """Vectors of shape (n, d) of small whole numbers, none of them zero."""
    rows = arrays(np.float32, (n, d), elements=st.integers(-9, 9))
    return rows.filter(lambda array: bool(array.any(axis=1).all()))


@dataclass(frozen=True)
class Toys:
    """Toys with a colour and a shape, which have nothing to do with each other.

    Each colour and each shape has a coordinate of its own. The colour is small in the vector: the
    shape and nine coordinates of noise decide which toys are generic neighbours.
    """

    vectors: FloatArray
    colours: list[str]
    shapes: list[str]

    def collection(self, space: Space = "cosine") -> InMemoryCollection:
        """The toys as a collection; ids "0", "1", ..."""
        return InMemoryCollection(
            self.vectors,
            texts=[f"a {c} {s}" for c, s in zip(self.colours, self.shapes, strict=True)],
            metadatas=[
                {"colour": c, "shape": s} for c, s in zip(self.colours, self.shapes, strict=True)
            ],
            space=space,
            name=INFO.name,
            id=INFO.id,
        )

    def precision(self, scores: FloatArray, k: int = 10) -> float:
        """Share of the colour of each toy among its best `k` others; scores of shape (n, n)."""
        others = scores - 9 * np.eye(len(scores))
        order = np.argsort(-others, axis=1)[:, :k]
        colours = np.array(self.colours)
        return float((colours[order] == colours[:, None]).mean())


def make_toys(n: int = 90, seed: int = 0) -> Toys:
    """`n` toys of three colours and four shapes."""
    rng = np.random.default_rng(seed)
    colours, shapes = rng.integers(0, 3, n), rng.integers(0, 4, n)
    vectors = np.hstack([0.1 * rng.standard_normal((n, 7)), 0.4 * rng.standard_normal((n, 9))])
    vectors[np.arange(n), colours] += 0.4
    vectors[np.arange(n), 3 + shapes] += 1.0
    return Toys(
        vectors=(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32),
        colours=[("red", "green", "blue")[c] for c in colours],
        shapes=[("ball", "cube", "ring", "cone")[s] for s in shapes],
    )


@pytest.fixture(scope="session")
def toys() -> Toys:
    """90 toys to learn from."""
    return make_toys()


@pytest.fixture(scope="session")
def by_colour(toys: Toys) -> InstructionTransform:
    """Fitted from the colours of `toys`."""
    return fit_transform(
        toys.vectors,
        Labels.single(toys.colours),
        instruction="What colour is it?",
        guide="metadata:colour",
        collection=INFO,
        config=FitConfig(),
    )


@pytest.fixture
def adapt(tmp_path: Path, by_colour: InstructionTransform) -> Adapt:
    """Makes retrievers that know the instruction COLOUR from a store, so nothing is fitted."""

    def make(collection: VectorCollection) -> InstructRetriever:
        rows = Rows.joined(list(collection.scan(vectors=True)))
        store = TransformStore(tmp_path)
        store.put(replace(by_colour, collection=collection.info(), norms=Norms.of(rows.vectors)))
        return InstructRetriever(collection, store=store)

    return make


def hand_made(**changes: Any) -> InstructionTransform:
    """Looks at the first of two coordinates only, in query and space alike."""
    first = np.array([[1, 0]], dtype=np.float32)
    nothing = np.zeros(1, dtype=np.float32)
    labels = Classifier(np.array([[2, 0], [-2, 0]], np.float32), np.zeros(2, np.float32))
    parts: dict[str, Any] = {
        "instruction": "Left or right?",
        "guide": "metadata:side",
        "collection": CollectionInfo("plane", "plane-1", 2, "cosine"),
        "query": QueryTransform(0.0, first, nothing, first, "linear"),
        "space": SpaceTransform(VectorEncoder(((first, nothing),)), labels, 0.5),
        "mix": 0.5,
        "norms": Norms(1.0, 0.0),
        "report": FitReport(
            rows=8,
            judged=6,
            label_counts={"left": 4, "right": 2},
            measure="precision@10",
            generic=0.5,
            folded=0.75,
            adapted=1.0,
            chosen={"strength": 10.0},
            seconds=1.5,
        ),
        "config": FitConfig(),
        "created": "2026-01-31T12:00:00+00:00",
    }
    return InstructionTransform(**(parts | changes))
