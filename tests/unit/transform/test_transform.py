from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings._types import FloatArray, Space
from instruct_embeddings.errors import InstructionError
from instruct_embeddings.protocols import CollectionInfo
from instruct_embeddings.transform import transform_key
from instruct_embeddings.transform.transform import Correction, Norms
from instruct_embeddings.transform.vectors import unit_rows
from tests.unit.conftest import hand_made, small_rows

QUERY = np.array([[0.6, 0.8]], dtype=np.float32)
DOCUMENTS = np.array([[0.8, 0.6], [-0.6, 0.8]], dtype=np.float32)
INFO = CollectionInfo("plane", "plane-1", 2, "cosine")


def test_the_folded_query_alone_scores_where_the_space_has_no_share() -> None:
    """The transform looks at the first coordinate: the query becomes (1, 0)."""
    scores = hand_made(mix=0.0).score(QUERY, DOCUMENTS)
    np.testing.assert_allclose(scores, [0.8, -0.6], atol=1e-6)


def test_the_space_takes_its_share_of_the_score() -> None:
    """Half folded score, a quarter cosine of signs (1, -1), a quarter shared probability."""
    p_query, p_first, p_second = (1 / (1 + np.exp(-4 * x)) for x in (0.6, 0.8, -0.6))
    same = [p * p_query + (1 - p) * (1 - p_query) for p in (p_first, p_second)]
    scores = hand_made(mix=0.5).score(QUERY, DOCUMENTS)
    expected = [0.4 + 0.25 + same[0] / 4, -0.3 - 0.25 + same[1] / 4]
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_judgements_move_the_folded_query_and_the_space_alike() -> None:
    """(0.6, 0.8) is folded to (1, 0); its judged move is (0, 1): half the score is that of (1, 1),
    half that of the space with as much added, divided by the 2 that it may reach."""
    empty = np.empty((0, 2), dtype=np.float32), np.empty(0, dtype=np.float32)
    move = Correction(QUERY, np.array([[0, 1]], dtype=np.float32), *empty)
    plain = hand_made(mix=0.5)
    moved = replace(plain, query=replace(plain.query, correction=move))
    folded = DOCUMENTS.sum(axis=1) / 2**0.5
    space = (plain.space.score(QUERY, DOCUMENTS)[0] + DOCUMENTS[:, 1]) / 2
    expected = (folded + space) / 2
    np.testing.assert_allclose(moved.score(QUERY, DOCUMENTS), expected, atol=1e-6)


@pytest.mark.parametrize("mix", [0.0, 0.5])
def test_blend_zero_is_the_generic_cosine(mix: float) -> None:
    scores = hand_made(mix=mix).score(QUERY, DOCUMENTS, blend=0.0)
    np.testing.assert_allclose(scores, [0.96, 0.28], atol=1e-6)


def test_blend_half_turns_the_query_half_way() -> None:
    """Half way between (0.6, 0.8) and (1, 0) lies (0.8, 0.4), of length sqrt(0.8)."""
    scores = hand_made(mix=0.0).score(QUERY, DOCUMENTS, blend=0.5)
    np.testing.assert_allclose(scores, np.array([0.88, -0.16]) / 0.8**0.5, atol=1e-6)


@given(
    query=small_rows(1, 2).map(unit_rows),
    documents=small_rows(5, 2).map(unit_rows),
    blend=st.sampled_from([0.0, 0.3, 1.0]),
    mix=st.sampled_from([0.0, 0.7, 1.0]),
)
def test_scores_are_similarities(
    query: FloatArray, documents: FloatArray, blend: float, mix: float
) -> None:
    scores = hand_made(mix=mix).score(query, documents, blend)
    assert scores.shape == (5,)
    assert scores.dtype == np.float32
    assert np.abs(scores).max() <= 1


def test_norms_are_mean_and_relative_spread() -> None:
    norms = Norms.of(np.array([[1, 0], [0, 3]], dtype=np.float32))
    assert norms == Norms(mean=2.0, spread=0.5)
    assert not norms.leave_cosines_to("ip")
    assert Norms.of(np.array([[3, 4], [0, 5]], dtype=np.float32)).leave_cosines_to("ip")


@pytest.mark.parametrize(
    ("space", "spread", "exact"),
    [
        ("cosine", 0.5, True),
        ("ip", 0.0, True),
        ("l2", 0.0, True),
        ("ip", 0.1, False),
        ("l2", 0.1, False),
    ],
)
def test_an_index_that_weighs_lengths_in_is_exact_only_if_they_are_equal(
    space: Space, spread: float, exact: bool
) -> None:
    transform = hand_made(collection=replace(INFO, space=space), norms=Norms(1.0, spread))
    assert transform.order_is_exact is exact


def test_the_key_is_hexadecimal_and_ignores_how_an_instruction_is_typed() -> None:
    key = transform_key("What language?", "g", INFO)
    assert len(key) == 32
    assert set(key) <= set("0123456789abcdef")
    for text in ("  what LANGUAGE ", "What\n language?!", "what language."):
        assert transform_key(text, "g", INFO) == key
    assert hand_made().key == transform_key("left or right", "metadata:side", INFO)


def test_the_key_depends_on_all_that_a_transform_depends_on() -> None:
    others = [
        transform_key("What country?", "g", INFO),
        transform_key("What language?", "h", INFO),
        *(
            transform_key("What language?", "g", replace(INFO, **change))
            for change in ({"id": "x"}, {"dimension": 3}, {"space": "l2"})
        ),
    ]
    assert len({transform_key("What language?", "g", INFO), *others}) == 6


def test_no_key_without_an_instruction() -> None:
    with pytest.raises(InstructionError, match="empty"):
        transform_key(" ", "g", INFO)
