import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training.losses import guided_exclusions
from tests.unit.training.losses.conftest import cosine, rows

# Cosines with (1, 0): 0.8 for the own candidate, then 1, 0.6 and -1.
ANCHOR = torch.tensor([[2.0, 0.0]])
CANDIDATES = torch.tensor([[4.0, 3.0], [1.0, 0.0], [3.0, 4.0], [-1.0, 0.0]])


@pytest.mark.parametrize(
    ("margin", "expected"),
    [
        (0.0, [False, True, False, False]),
        (0.3, [False, True, True, False]),
        (-0.3, [False, False, False, False]),
        (5.0, [False, True, True, True]),
    ],
)
def test_candidates_closer_than_the_own_one_are_excluded(
    margin: float, expected: list[bool]
) -> None:
    found = guided_exclusions(ANCHOR, CANDIDATES, torch.tensor([0]), margin=margin)
    assert found.tolist() == [expected]


@given(seed=st.integers(0, 1000), margin=st.floats(-0.5, 0.5))
def test_exclusions_equal_a_loop(seed: int, margin: float) -> None:
    anchors, candidates, positive = rows(3, 4, seed), rows(5, 4, seed + 1), [2, 0, 2]
    expected = []
    for anchor, own in zip(anchors.tolist(), positive, strict=True):
        scores = [cosine(anchor, candidate) for candidate in candidates.tolist()]
        expected.append([j != own and s > scores[own] - margin for j, s in enumerate(scores)])
    found = guided_exclusions(anchors, candidates, torch.tensor(positive), margin=margin)
    assert found.tolist() == expected


@given(seed=st.integers(0, 1000))
def test_a_wider_margin_excludes_no_less(seed: int) -> None:
    anchors, candidates, positive = rows(3, 4, seed), rows(6, 4, seed + 1), torch.arange(3)
    narrow, wide = (guided_exclusions(anchors, candidates, positive, margin=m) for m in (0.0, 0.2))
    assert bool((wide | ~narrow).all())


def test_a_positive_for_each_row_is_needed() -> None:
    with pytest.raises(ConfigError, match=r"positive must have shape \(1,\), got \(2,\)"):
        guided_exclusions(ANCHOR, CANDIDATES, torch.tensor([0, 1]))
