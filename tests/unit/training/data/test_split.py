from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings.training.data.opening import (
    held_out_count,
    held_out_wordings,
    stable_hash,
)


def test_the_hash_is_the_head_of_sha256_of_seed_and_text() -> None:
    digest = sha256("3\nWer schrieb es? é".encode()).digest()
    assert stable_hash(3, "Wer schrieb es? é") % 2**64 == int(digest.hex()[:16], 16)
    assert stable_hash(3, "a") != stable_hash(4, "a")


@pytest.mark.parametrize(
    ("total", "share", "held"),
    [(119, 0.1, 12), (10, 0.1, 1), (4, 0.1, 0), (4, 0.9, 3), (1, 0.9, 0), (0, 0.5, 0), (5, 0, 0)],
)
def test_a_share_is_held_out_and_one_is_kept(total: int, share: float, held: int) -> None:
    assert held_out_count(total, share) == held


def test_a_share_of_all_wordings_together_is_held_out() -> None:
    wordings = {f"set/{i}": (f"What {i}?", f"Which {i}?") for i in range(10)}
    held = held_out_wordings(wordings, 0.2, seed=0)
    assert sum(len(texts) for texts in held.values()) == 4
    assert held == held_out_wordings(dict(reversed(wordings.items())), 0.2, seed=0)
    assert held != held_out_wordings(wordings, 0.2, seed=1)


def test_a_wording_of_two_aspects_is_held_out_of_both() -> None:
    wordings = {"a/x": ("What?", "Which x?"), "b/y": ("What?", "Which y?")}
    seen = [held_out_wordings(wordings, 0.34, seed=seed) for seed in range(20)]
    assert {"a/x": ("What?",), "b/y": ("What?",)} in seen
    assert all(("What?" in h.get("a/x", ())) == ("What?" in h.get("b/y", ())) for h in seen)


@given(
    st.dictionaries(
        st.text("ab", min_size=1, max_size=3),
        st.lists(st.sampled_from("pqrstuvw"), min_size=1, max_size=5, unique=True).map(tuple),
        max_size=5,
    ),
    st.floats(0, 1),
    st.integers(0, 5),
)
def test_every_aspect_keeps_a_wording(
    wordings: dict[str, tuple[str, ...]], share: float, seed: int
) -> None:
    held = held_out_wordings(wordings, share, seed=seed)
    for name, texts in wordings.items():
        assert len(held.get(name, ())) < len(texts)
        assert set(held.get(name, ())) <= set(texts)
