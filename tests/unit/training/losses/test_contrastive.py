"""Contrastive losses against numbers worked out by hand and against naive loops."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from instruct_embeddings.training.losses import (
    guided_exclusions,
    info_nce,
    supervised_contrastive,
)
from tests.unit.training.losses.conftest import close, cosine, gradient, rows

RIGHT, UP = [1.0, 0.0], [0.0, 1.0]


def naive_info_nce(
    anchors: Tensor,
    candidates: Tensor,
    positive: list[int],
    temperature: float,
    excluded: Tensor | None = None,
) -> float:
    """Equation 4 of van den Oord et al., one pair at a time."""
    losses = []
    for i, anchor in enumerate(anchors.tolist()):
        above = math.exp(cosine(anchor, candidates[positive[i]].tolist()) / temperature)
        below = above
        for j, candidate in enumerate(candidates.tolist()):
            if j != positive[i] and (excluded is None or not excluded[i, j]):
                below += math.exp(cosine(anchor, candidate) / temperature)
        losses.append(-math.log(above / below))
    return sum(losses) / len(losses)


def test_a_row_between_two_candidates_has_the_loss_log_2() -> None:
    losses = info_nce(
        torch.tensor([[3.0, 3.0]]),
        torch.tensor([RIGHT, UP]),
        torch.tensor([0]),
        temperature=0.05,
    )
    close(losses, math.log(2))


def test_a_cosine_of_1_against_a_cosine_of_0() -> None:
    """-log(e^2 / (e^2 + e^0)) = log(1 + e^-2) at a temperature of 1/2; lengths do not count."""
    anchors, candidates = torch.tensor([[7.0, 0.0]]), torch.tensor([UP, [0.2, 0.0]])
    losses = info_nce(anchors, candidates, torch.tensor([1]), temperature=0.5)
    close(losses, math.log(1 + math.exp(-2)))


@pytest.mark.parametrize("temperature", [0.05, 0.5, 2.0])
def test_info_nce_equals_a_loop(temperature: float) -> None:
    anchors, candidates = rows(3, 4), rows(6, 4, 1)
    positive = [4, 0, 4]
    excluded = torch.tensor([[1, 0, 0, 0, 1, 0], [0, 1, 1, 0, 0, 0], [0] * 6], dtype=torch.bool)
    expected = naive_info_nce(anchors, candidates, positive, temperature, excluded)
    found = info_nce(
        anchors,
        candidates,
        torch.tensor(positive),
        temperature=temperature,
        excluded=excluded,
    )
    close(found, expected, 1e-4)


def test_an_excluded_candidate_has_no_gradient() -> None:
    anchors, candidates = rows(2, 3).requires_grad_(), rows(4, 3, 1).requires_grad_()
    excluded = torch.zeros(2, 4, dtype=torch.bool)
    excluded[:, 3] = True
    positive = torch.tensor([0, 1])
    info_nce(anchors, candidates, positive, temperature=0.1, excluded=excluded).backward()
    assert gradient(anchors).abs().min() > 0
    assert gradient(candidates)[:3].abs().sum(1).min() > 0
    assert not gradient(candidates)[3].any()


def test_without_negatives_loss_and_gradient_are_0() -> None:
    anchors, candidates = rows(2, 3).requires_grad_(), rows(4, 3, 1).requires_grad_()
    everything = torch.ones(2, 4, dtype=torch.bool)
    loss = info_nce(
        anchors,
        candidates,
        torch.tensor([2, 0]),
        temperature=0.01,
        excluded=everything,
    )
    loss.backward()
    assert loss.item() == 0
    assert not gradient(anchors).any()
    assert not gradient(candidates).any()


def test_no_argument_is_changed() -> None:
    anchors, candidates, positive = rows(2, 3), rows(4, 3, 1), torch.tensor([1, 2])
    excluded = torch.ones(2, 4, dtype=torch.bool)
    before = [x.clone() for x in (anchors, candidates, positive, excluded)]
    info_nce(anchors, candidates, positive, temperature=0.1, excluded=excluded)
    after = (anchors, candidates, positive, excluded)
    assert all(torch.equal(x, y) for x, y in zip(after, before, strict=True))


@given(seed=st.integers(0, 1000), temperature=st.floats(0.02, 5))
def test_the_order_of_rows_and_of_candidates_makes_no_difference(
    seed: int, temperature: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    anchors, candidates, positive = rows(4, 3, seed), rows(6, 3, seed + 1), torch.arange(4)
    order, places = (torch.randperm(n, generator=generator) for n in (4, 6))
    excluded = torch.rand(4, 6, generator=generator) < 0.4
    expected = info_nce(anchors, candidates, positive, temperature=temperature, excluded=excluded)
    found = info_nce(
        anchors[order],
        candidates[places],
        places.argsort()[positive[order]],
        temperature=temperature,
        excluded=excluded[order][:, places],
    )
    close(found, expected, 1e-4)


@given(seed=st.integers(0, 1000), n=st.integers(2, 9))
def test_a_high_temperature_tells_no_candidates_apart(seed: int, n: int) -> None:
    losses = info_nce(rows(2, 4, seed), rows(n, 4, seed + 1), torch.tensor([0, 1]), temperature=1e6)
    close(losses, math.log(n))


@given(seed=st.integers(0, 1000))
def test_at_a_low_temperature_the_hardest_negative_decides(seed: int) -> None:
    """The loss is then max(0, the best negative's cosine - the positive's) / temperature."""
    anchors, candidates = rows(1, 4, seed), rows(5, 4, seed + 1)
    scores = [cosine(anchors[0].tolist(), c) for c in candidates.tolist()]
    found = info_nce(anchors, candidates, torch.tensor([0]), temperature=1e-5)
    close(found * 1e-5, max(0.0, max(scores[1:]) - scores[0]), 1e-4)


@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100))
def test_losses_are_not_negative_and_lengths_do_not_count(seed: int, scale: float) -> None:
    anchors, candidates, positive = rows(3, 4, seed), rows(5, 4, seed + 1), torch.arange(3)
    losses = info_nce(anchors, candidates, positive, temperature=0.1)
    scaled = info_nce(scale * anchors, candidates / scale, positive, temperature=0.1)
    assert losses >= 0
    close(scaled, losses, 1e-4)


def test_half_precision_is_widened_first_also_under_autocast() -> None:
    anchors, candidates = rows(3, 8).bfloat16(), rows(5, 8, 1).bfloat16()
    positive = torch.arange(3)
    expected = info_nce(anchors.float(), candidates.float(), positive, temperature=0.02)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = info_nce(anchors, candidates, positive, temperature=0.02)
    close(found, expected, 1e-6)


def test_rows_of_the_same_answer_do_not_push_each_other() -> None:
    """Two rows of one answer: with the mask the other's candidate is no negative, the loss is 0."""
    anchors = torch.tensor([RIGHT, RIGHT])
    positive = torch.tensor([0, 1])
    mask = torch.ones(2, 2, dtype=torch.bool)
    close(info_nce(anchors, anchors, positive, temperature=0.1, excluded=mask), 0.0)
    close(info_nce(anchors, anchors, positive, temperature=0.1), math.log(2))


def test_supervised_contrastive_by_hand() -> None:
    """Two equal rows and a right angle at temperature 1: log(e + 1) - 1 for each of the pair."""
    anchors = torch.tensor([[2.0, 0.0], RIGHT, UP])
    found = supervised_contrastive(anchors, torch.tensor([3, 3, 4]), temperature=1.0)
    close(found, math.log(math.e + 1) - 1)


def naive_supervised(anchors: list[list[float]], labels: list[int], temperature: float) -> float:
    """Equation 2 of Khosla et al., one pair at a time."""
    n, losses = len(anchors), []
    for i in range(n):
        parts = {
            j: math.exp(cosine(anchors[i], anchors[j]) / temperature) for j in range(n) if j != i
        }
        logs = [math.log(parts[j] / sum(parts.values())) for j in parts if labels[i] == labels[j]]
        if logs:
            losses.append(-sum(logs) / len(logs))
    return sum(losses) / len(losses)


@given(seed=st.integers(0, 1000))
def test_supervised_contrastive_equals_a_loop(seed: int) -> None:
    anchors, labels = rows(6, 3, seed), [0, 1, 0, 2, 1, 0]
    expected = naive_supervised(anchors.tolist(), labels, 0.3)
    close(supervised_contrastive(anchors, torch.tensor(labels), temperature=0.3), expected, 1e-4)


@pytest.mark.parametrize("labels", [[0], [0, 1, 2]])
def test_rows_without_a_fellow_have_no_supervised_loss(labels: list[int]) -> None:
    anchors = rows(len(labels), 3).requires_grad_()
    loss = supervised_contrastive(anchors, torch.tensor(labels), temperature=0.1)
    loss.backward()
    assert loss.item() == 0
    assert not gradient(anchors).any()


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
