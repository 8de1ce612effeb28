"""Whose vectors a collection holds: the instant query's own, or those of another model."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import GuideError
from instruct_embeddings.instant.query import find_space
from instruct_embeddings.protocols import Rows
from instruct_embeddings.testing import TinyEncoder
from instruct_embeddings.transform.vectors import unit_rows

WORDS = (
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "dog",
    "cat",
)
TEXTS = [f"{WORDS[i % 12]} {WORDS[(i * i) % 11]} {WORDS[(i // 12) % 12]}" for i in range(120)]


class TinyMover:
    """Moves every query towards "dog"."""

    name = "tiny"
    dimension = 32

    def embed(self, texts: Sequence[str]) -> FloatArray:
        return TinyEncoder().encode(texts)

    def moves(self, queries: Sequence[str], instruction: str, vectors: FloatArray) -> FloatArray:
        return np.repeat(0.5 * TinyEncoder().encode(["dog"]), len(queries), axis=0)


def sampler(vectors: FloatArray, texts: Sequence[str | None]) -> Callable[[int], Rows]:
    def sample(size: int) -> Rows:
        ids = tuple(str(i) for i in range(len(texts[:size])))
        return Rows(ids, vectors[:size], tuple(texts[:size]), tuple({} for _ in ids))

    return sample


def test_its_own_space_needs_no_map() -> None:
    found = find_space(TinyMover(), sampler(TinyEncoder().encode(TEXTS), TEXTS))
    assert found.bridge is None


def test_another_space_is_reached_over_a_map() -> None:
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(32, 32)))[0].astype(np.float32)
    own = TinyEncoder().encode(TEXTS)
    found = find_space(TinyMover(), sampler(own @ rotation, TEXTS))
    assert found.bridge is not None
    assert found.bridge.report.cosine > 0.95
    query = TinyEncoder().encode(["cat"])
    moved = unit_rows(query @ rotation + found.moves(["cat"], "Dogs.", query @ rotation))
    wanted = unit_rows(query + 0.5 * TinyEncoder().encode(["dog"])) @ rotation
    assert float((moved * wanted).sum()) > 0.95


def test_another_dimension_is_another_space() -> None:
    wider = np.random.default_rng(0).normal(size=(32, 48)).astype(np.float32)
    found = find_space(TinyMover(), sampler(unit_rows(TinyEncoder().encode(TEXTS) @ wider), TEXTS))
    assert found.moves(["cat"], "Dogs.", np.ones((1, 48), dtype=np.float32)).shape == (1, 48)


def test_another_space_without_texts_is_out_of_reach() -> None:
    vectors = np.random.default_rng(0).normal(size=(120, 48)).astype(np.float32)
    with pytest.raises(GuideError, match="only 0 of its sampled rows have a text"):
        find_space(TinyMover(), sampler(vectors, [None] * 120))


def test_rows_without_texts_are_taken_for_its_own() -> None:
    vectors = np.random.default_rng(0).normal(size=(120, 32)).astype(np.float32)
    assert find_space(TinyMover(), sampler(vectors, [None] * 120)).bridge is None


def test_centred_moves_leave_out_what_all_texts_share() -> None:
    found = find_space(TinyMover(), sampler(TinyEncoder().encode(TEXTS), TEXTS))
    query = TinyEncoder().encode(["cat"])
    assert np.abs(found.moves(["cat"], "Dogs.", query)).max() > 0.05
    # This mover moves all texts alike.
    assert np.abs(found.moves(["cat"], "Dogs.", query, centred=True)).max() < 1e-6


def test_a_query_is_like_texts_of_its_length() -> None:
    found = find_space(TinyMover(), sampler(TinyEncoder().encode(TEXTS), TEXTS))
    assert found.is_like_its_texts("eleven two nine")
    assert not found.is_like_its_texts("cat")
    assert not found.is_like_its_texts("many words " * 20)
