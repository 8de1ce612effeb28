import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training.losses import info_nce_rows, mix_negatives
from tests.unit.training.losses.conftest import close, gradient, rows

# Cosines with (1, 0, 0): 1 for the own candidate, then 0.8, 0.6 and -1.
ANCHOR = torch.tensor([[2.0, 0.0, 0.0]])
CANDIDATES = torch.tensor([[1.0, 0, 0], [4.0, 3.0, 0], [3.0, 0, 4.0], [-1.0, 0, 0]])
OWN = torch.tensor([0])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_list_wise_mixture_weighs_by_a_softmax_of_the_cosines() -> None:
    """Two hardest of cosines 0.8 and 0.6 at temperature 0.2: weights e and 1 over e + 1."""
    found = mix_negatives(ANCHOR, CANDIDATES, OWN, None, 0, 2, temperature=0.2)
    share = math.e / (math.e + 1)
    mean = torch.tensor([0.8 * share + 0.6 * (1 - share), 0.6 * share, 0.8 * (1 - share)])
    close(found[0, 0], functional.normalize(mean, dim=0))


def test_pairs_lie_between_two_different_ones_of_the_hardest() -> None:
    """A mixture of (0.8, 0.6, 0) and (0.6, 0, 0.8), at length 1: it has a share of both."""
    found = mix_negatives(ANCHOR, CANDIDATES, OWN, None, 50, 2, generator=seeded())[0, :-1]
    close(found.norm(dim=1), torch.ones(50))
    first, second = found[:, 1] / 0.6, found[:, 2] / 0.8  # weights, up to a common factor
    assert bool(((first > 0) & (second > 0)).all())
    close(found[:, 0], 0.8 * first + 0.6 * second)
    assert found.std(0).min() > 0.05  # weights are drawn anew


def corner_weights(mixed: Tensor, candidates: Tensor) -> Tensor:
    """Weights of independent candidates in mixtures, up to a factor; shape (m, n)."""
    solved: Tensor = torch.linalg.lstsq(candidates.T, mixed.T).solution
    return solved.T


@given(seed=st.integers(0, 1000), hardest=st.integers(1, 8))
def test_only_the_hardest_allowed_candidates_are_mixed(seed: int, hardest: int) -> None:
    candidates = functional.normalize(torch.eye(6) + 0.1 * rows(6, 6, seed), dim=1)
    anchors, positive = rows(3, 6, seed + 1), torch.tensor([0, 1, 5])
    excluded = torch.rand(3, 6, generator=seeded(seed)) < 0.3
    found = mix_negatives(
        anchors, candidates, positive, excluded, 4, hardest, generator=seeded(seed)
    )
    cosines = functional.normalize(anchors, dim=1) @ candidates.T
    for i in range(3):
        allowed = [j for j in range(6) if j != positive[i] and not excluded[i, j]]
        usable = sorted(allowed, key=lambda j: -float(cosines[i, j]))[:hardest]
        weights = corner_weights(found[i], candidates)
        others = [j for j in range(6) if j not in usable]
        assert float(weights[:, others].abs().max()) < 1e-4
        assert float(weights.min()) > -1e-4
        mixed = (weights[:-1] > 1e-4).sum(1)
        assert int(mixed.max()) <= min(2, len(usable))


def test_a_row_without_negatives_gets_none() -> None:
    excluded = torch.tensor([[False, True, True, True]])
    anchor = ANCHOR.clone().requires_grad_()
    candidates = CANDIDATES.clone().requires_grad_()
    found = mix_negatives(anchor, candidates, OWN, excluded, 3, 2)
    assert not found.any()
    losses = info_nce_rows(
        anchor, candidates, OWN, temperature=0.1, excluded=excluded, negatives=found
    )
    losses.sum().backward()
    assert losses.tolist() == [0]
    assert not gradient(anchor).any()
    assert not gradient(candidates).any()


def test_a_single_negative_is_mixed_with_itself() -> None:
    excluded = torch.tensor([[False, True, False, True]])
    found = mix_negatives(ANCHOR, CANDIDATES, OWN, excluded, 3, 16)
    close(found, torch.tensor([0.6, 0.0, 0.8]).expand(1, 4, 3))


def test_a_batch_with_the_own_candidate_only_has_nothing_to_mix() -> None:
    found = mix_negatives(ANCHOR, CANDIDATES[:1], OWN, None, 2, 4)
    assert found.shape == (1, 3, 3)
    assert not found.any()


def test_the_gradient_reaches_candidates_but_not_the_choice() -> None:
    anchors, candidates = rows(2, 4).requires_grad_(), rows(5, 4, 1).requires_grad_()
    mixed = mix_negatives(anchors, candidates, torch.tensor([0, 1]), None, 2, 3)
    mixed.sum().backward()
    assert anchors.grad is None
    assert gradient(candidates).any()


def test_mixtures_make_the_loss_harder() -> None:
    anchors, candidates, positive = rows(4, 6), rows(8, 6, 1), torch.arange(4)
    mixed = mix_negatives(anchors, candidates, positive, None, 4, 3, generator=seeded())
    plain, harder = (
        info_nce_rows(anchors, candidates, positive, temperature=0.1, negatives=negatives)
        for negatives in (None, mixed)
    )
    assert bool((harder > plain).all())


def test_the_same_seed_mixes_the_same_also_in_half_precision_under_autocast() -> None:
    anchors, candidates = rows(2, 8).bfloat16(), rows(5, 8, 1).bfloat16()
    positive = torch.tensor([0, 1])
    expected = mix_negatives(
        anchors.float(), candidates.float(), positive, None, 3, 4, generator=seeded(1)
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = mix_negatives(anchors, candidates, positive, None, 3, 4, generator=seeded(1))
    close(found, expected, 1e-6)


@pytest.mark.parametrize(("count", "hardest"), [(-1, 2), (1, 0)])
def test_mixtures_that_do_not_exist_are_refused(count: int, hardest: int) -> None:
    with pytest.raises(ConfigError, match=rf"count={count} and hardest={hardest} ask"):
        mix_negatives(ANCHOR, CANDIDATES, OWN, None, count, hardest)
