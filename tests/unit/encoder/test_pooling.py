"""Each function against numbers worked out by hand and against naive loops."""

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from instruct_embeddings.encoder.pooling import (
    cls_pool,
    dual_anchor_average,
    dual_anchor_concat,
    dual_anchor_gate,
    last_token_pool,
    latent_attention_pool,
    mean_pool,
    soft_prompt_pool,
)
from instruct_embeddings.errors import ConfigError

# Two rows: three input tokens and two soft prompts; one input token and two soft prompts.
FIRST = [[1.0, 2.0], [3.0, 4.0], [5.0, 9.0], [2.0, 0.0], [4.0, 6.0]]
SECOND = [[7.0, 5.0], [0.0, 1.0], [2.0, 3.0]]
P = 2


def batch(
    rows: Sequence[Tensor], p: int, side: str = "right", fill: float = 99.0, extra: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """States, mask and last input positions of rows padded on one side."""
    width = max(len(row) for row in rows) + extra
    hidden = torch.full((len(rows), width, rows[0].shape[1]), fill)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    last = torch.empty(len(rows), dtype=torch.long)
    for i, row in enumerate(rows):
        start = 0 if side == "right" else width - len(row)
        hidden[i, start : start + len(row)] = row
        mask[i, start : start + len(row)] = 1
        last[i] = start + len(row) - p - 1
    return hidden, mask, last


def two_rows(side: str = "right", fill: float = 99.0) -> tuple[Tensor, Tensor, Tensor]:
    return batch([torch.tensor(FIRST), torch.tensor(SECOND)], P, side, fill)


def close(found: Tensor, expected: object, tolerance: float = 1e-6) -> None:
    wanted = torch.as_tensor(expected, dtype=found.dtype)
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("fill", [99.0, math.nan, math.inf])
def test_positions_are_found_on_either_side_of_any_padding(side: str, fill: float) -> None:
    hidden, mask, last = two_rows(side, fill)
    close(last_token_pool(hidden, last), [[5, 9], [7, 5]])
    close(cls_pool(hidden, mask), [[1, 2], [7, 5]])
    close(soft_prompt_pool(hidden, last, P), [[3, 3], [1, 2]])  # ((2+4)/2, (0+6)/2), ((0+2)/2, ...)
    close(mean_pool(hidden, mask), [[3, 4.2], [3, 3]])  # (15/5, 21/5), (9/3, 9/3)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
def test_a_mask_may_be_of_any_type(dtype: torch.dtype) -> None:
    hidden, mask, _ = two_rows("left")
    close(mean_pool(hidden, mask.to(dtype)), [[3, 4.2], [3, 3]])
    close(cls_pool(hidden, mask.to(dtype)), [[1, 2], [7, 5]])


def test_the_mean_of_no_position_is_zero() -> None:
    close(mean_pool(torch.full((1, 3, 2), math.nan), torch.zeros(1, 3)), [[0, 0]])


def test_a_mean_in_half_precision_is_summed_in_float32() -> None:
    """In bfloat16, 256 + 1 is 256 again, so 256 and 256 ones would have a mean of 256 / 257."""
    hidden = torch.ones(1, 257, 1, dtype=torch.bfloat16)
    hidden[0, 0] = 256
    pooled = mean_pool(hidden, torch.ones(1, 257))
    assert pooled.dtype == torch.float32
    close(pooled, [[512 / 257]])


def test_soft_prompts_are_averaged_in_float32() -> None:
    hidden = torch.tensor([[[0.0], [256.0], [1.0]]], dtype=torch.bfloat16)
    close(soft_prompt_pool(hidden, torch.tensor([0]), 2), [[128.5]])


@pytest.mark.parametrize("p", [0, -1])
def test_pooling_no_soft_prompts_is_refused(p: int) -> None:
    hidden, _, last = two_rows()
    with pytest.raises(ConfigError, match=rf"p={p}\. At least 1"):
        soft_prompt_pool(hidden, last, p)


PRIMARY, COMPLEMENTARY = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 5.0]])


def test_the_average_of_the_anchors_is_that_of_unit_vectors() -> None:
    close(dual_anchor_average(PRIMARY, COMPLEMENTARY), [[0.3, 0.9]])  # (.6, .8) and (0, 1)


def test_the_anchors_stand_side_by_side_as_unit_vectors() -> None:
    close(dual_anchor_concat(PRIMARY, COMPLEMENTARY), [[0.6, 0.8, 0, 1]])


def test_the_gate_mixes_the_anchors_for_each_dimension() -> None:
    # .75 (.6) + .25 (0) and .5 (.8) + .5 (1)
    close(dual_anchor_gate(PRIMARY, COMPLEMENTARY, torch.tensor([0.75, 0.5])), [[0.45, 0.9]])


def test_the_gate_may_differ_from_row_to_row() -> None:
    gate = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    both = dual_anchor_gate(PRIMARY.expand(2, 2), COMPLEMENTARY.expand(2, 2), gate)
    close(both, [[0.6, 0.8], [0, 1]])


def test_the_cosine_of_concatenated_anchors_is_the_mean_of_both_cosines() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b, c, d = torch.randn(4, 1, 6, generator=generator)
    cosine = torch.nn.functional.cosine_similarity
    close(
        cosine(dual_anchor_concat(a, b), dual_anchor_concat(c, d)),
        (cosine(a, c) + cosine(b, d)) / 2,
    )


def layer_normed(row: list[float]) -> list[float]:
    mean = sum(row) / len(row)
    variance = sum((x - mean) ** 2 for x in row) / len(row)
    return [(x - mean) / math.sqrt(variance + 1e-5) for x in row]


def attend(
    query: list[float], keys: list[list[float]], values: list[list[float]], heads: int
) -> list[float]:
    """Multi-head attention of one query, number by number."""
    width = len(query) // heads
    result = []
    for start in range(0, len(query), width):
        part = range(start, start + width)
        logits = [sum(query[e] * key[e] for e in part) / math.sqrt(width) for key in keys]
        weights = [math.exp(x) for x in logits]
        for e in part:
            mixed = sum(w * value[e] for w, value in zip(weights, values, strict=True))
            result.append(mixed / sum(weights))
    return result


def product(weights: list[list[float]], row: list[float]) -> list[float]:
    return [sum(w * x for w, x in zip(line, row, strict=True)) for line in weights]


def gelu(x: float) -> float:
    return x * 0.5 * (1 + math.erf(x / math.sqrt(2)))


def mean_of(rows: list[list[float]]) -> list[float]:
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def added(left: list[float], right: list[float]) -> list[float]:
    return [x + y for x, y in zip(left, right, strict=True)]


def latent_weights(d: int, r: int, h: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = {"latents": (r, d), "up": (h, d), "up_bias": (h,), "down": (d, h), "down_bias": (d,)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("side", ["left", "right"])
def test_latent_attention_equals_a_loop_over_tokens(heads: int, side: str) -> None:
    generator = torch.Generator().manual_seed(2)
    rows = [torch.randn(n, 4, generator=generator) for n in (3, 5)]
    weights = latent_weights(d=4, r=3, h=6)
    latents, up, down = (weights[name].tolist() for name in ("latents", "up", "down"))
    expected = []
    for row in rows:
        outputs = []
        for token in row.tolist():
            attended = attend(layer_normed(token), latents, latents, heads)
            inner = [gelu(x) for x in added(product(up, attended), weights["up_bias"].tolist())]
            outputs.append(added(token, added(product(down, inner), weights["down_bias"].tolist())))
        expected.append(mean_of(outputs))
    hidden, mask, _ = batch(rows, 0, side)
    close(latent_attention_pool(hidden, mask, **weights, heads=heads), expected, 1e-4)


def test_a_single_latent_is_what_every_token_attends_to() -> None:
    """The latent is (1, 0) and GELU(20) = 20: the network adds 2 * 20 to the mean (1, 1)."""
    hidden = torch.tensor([[[0.0, 2.0], [2.0, 0.0]]])
    found = latent_attention_pool(
        hidden,
        torch.ones(1, 2),
        torch.tensor([[1.0, 0.0]]),
        up=torch.tensor([[20.0, 7.0]]),
        up_bias=torch.zeros(1),
        down=torch.tensor([[2.0], [0.0]]),
        down_bias=torch.tensor([0.0, 0.5]),
        heads=1,
    )
    close(found, [[41, 1.5]])


def test_nan_in_the_padding_does_not_reach_the_gradient_of_latent_attention() -> None:
    hidden, mask, _ = two_rows("left", math.nan)
    weights = {name: w.requires_grad_() for name, w in latent_weights(d=2, r=3, h=4).items()}
    latent_attention_pool(hidden, mask, **weights, heads=1).sum().backward()
    assert all(w.grad is not None and bool(w.grad.isfinite().all()) for w in weights.values())


def pool_all(hidden: Tensor, mask: Tensor, last: Tensor, p: int) -> Tensor:
    """The results of all functions of one row, side by side."""
    d = hidden.shape[-1]
    primary, complementary = last_token_pool(hidden, last), soft_prompt_pool(hidden, last, p)
    parts = [
        primary,
        complementary,
        mean_pool(hidden, mask),
        cls_pool(hidden, mask),
        dual_anchor_average(primary, complementary),
        dual_anchor_concat(primary, complementary),
        dual_anchor_gate(primary, complementary, torch.full((d,), 0.25)),
        latent_attention_pool(hidden, mask, **latent_weights(d, r=3, h=5), heads=2),
    ]
    return torch.cat(parts, dim=1)


@st.composite
def row_lists(draw: st.DrawFn) -> tuple[list[Tensor], int]:
    """Up to four rows of width 4, each of p soft prompts and at least one input token."""
    p = draw(st.integers(1, 3))
    lengths = draw(st.lists(st.integers(p + 1, p + 5), min_size=1, max_size=4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    return [torch.randn(n, 4, generator=generator) for n in lengths], p


@given(
    drawn=row_lists(),
    extra=st.integers(0, 3),
    fill=st.sampled_from([0.0, -1e4, math.nan, math.inf]),
)
def test_side_amount_and_content_of_the_padding_make_no_difference(
    drawn: tuple[list[Tensor], int], extra: int, fill: float
) -> None:
    rows, p = drawn
    expected = torch.cat([pool_all(*batch([row], p), p) for row in rows])
    for side in ("left", "right"):
        close(pool_all(*batch(rows, p, side, fill, extra), p), expected, 1e-5)


@given(drawn=row_lists(), seed=st.integers(0, 1000))
def test_the_order_of_a_batch_is_kept(drawn: tuple[list[Tensor], int], seed: int) -> None:
    rows, p = drawn
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    expected = pool_all(*batch(rows, p, "left"), p)[order]
    close(pool_all(*batch([rows[i] for i in order], p, "left"), p), expected, 1e-5)


def test_no_argument_is_changed() -> None:
    arguments = two_rows("left")
    before = [x.clone() for x in arguments]
    pool_all(*arguments, P)
    assert all(torch.equal(x, y) for x, y in zip(arguments, before, strict=True))


def test_an_empty_batch_gives_an_empty_result() -> None:
    hidden, mask, last = torch.empty(0, 3, 4), torch.empty(0, 3), torch.empty(0, dtype=torch.long)
    assert pool_all(hidden, mask, last, 1).shape == (0, 36)
