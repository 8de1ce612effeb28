"""Poolers by name, with their trainable parameters; the maths is in `pooling`.

An untrained pooler is a sensible one. `dual_anchor_gate` starts as `dual_anchor`, its gate at 0.5;
`latent_attention` starts as `mean`; `multi_layer` starts as the last layer's state at the row's
final position. In the last two a zero matrix stands at the end, as in LoRA, so in the first step it
alone is trained and everything in front of it from the second.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from instruct_embeddings.config import at_least
from instruct_embeddings.encoder.pooling import (
    cls_pool,
    dual_anchor_average,
    dual_anchor_concat,
    dual_anchor_gate,
    last_token_pool,
    latent_attention_pool,
    max_pool,
    mean_pool,
    mean_sqrt_len_pool,
    multi_layer_attention,
    soft_prompt_pool,
    weighted_mean_pool,
)
from instruct_embeddings.encoder.settings import Pooling as Pooling
from instruct_embeddings.errors import ConfigError


@dataclass(frozen=True, eq=False)
class PoolInputs:
    """What a backbone hands to a pooler.

    Attributes:
        hidden: States of the last layer, shape (b, t, d).
        mask: 1 at real positions, soft prompts included, shape (b, t).
        last: Position of the final input token before the soft prompts, shape (b,).
        soft_prompts: Number p of soft prompts.
        layers: States of every layer, each of shape (b, t, d), the last layer's at the end; only
            for poolers with `needs_layers`.
        prompt: Number of the first positions of each row that "mean", "cls" and their like leave
            out: those of a prompt that only the model is to read.
    """

    hidden: Tensor
    mask: Tensor
    last: Tensor
    soft_prompts: int
    layers: tuple[Tensor, ...] = ()
    prompt: int = 0

    @property
    def pooled(self) -> Tensor:
        """1 at positions that are pooled, shape (b, t)."""
        return self.mask * (self.mask.cumsum(1) > self.prompt) if self.prompt else self.mask


@dataclass(frozen=True)
class PoolerSizes:
    """Sizes that a pooler is built from.

    Attributes:
        hidden_size: Length d of a hidden state.
        layers: Number l of the tensors in `PoolInputs.layers`.
        latents: Number r of trainable latents or queries.
        heads: Attention heads.
        seed: Seed of the initial parameters.
    """

    hidden_size: int
    layers: int
    latents: int
    heads: int
    seed: int

    def __post_init__(self) -> None:
        for name in ("hidden_size", "layers", "latents", "heads"):
            at_least(name, getattr(self, name), 1)


class Pooler(nn.Module):
    """Makes one vector of the hidden states of a row.

    Attributes:
        dimension: Length of the result.
        needs_layers: It reads `PoolInputs.layers`.
        needs_soft_prompts: It cannot do without soft prompts.
    """

    needs_layers: bool = False
    needs_soft_prompts: bool = False

    def __init__(self, sizes: PoolerSizes) -> None:
        super().__init__()
        self.dimension: int = sizes.hidden_size

    def forward(self, inputs: PoolInputs) -> Tensor:
        """Embeddings in float32 whatever the type of the states, not normalised.

        Returns:
            Shape (b, dimension).

        Raises:
            ConfigError: There are no soft prompts, or not the states of the layers, that it reads.
        """
        raise NotImplementedError


class _LastToken(Pooler):
    def forward(self, inputs: PoolInputs) -> Tensor:
        return last_token_pool(inputs.hidden, inputs.last)


class _Mean(Pooler):
    def forward(self, inputs: PoolInputs) -> Tensor:
        return mean_pool(inputs.hidden, inputs.pooled)


class _MeanSqrtLen(Pooler):
    def forward(self, inputs: PoolInputs) -> Tensor:
        return mean_sqrt_len_pool(inputs.hidden, inputs.pooled)


class _WeightedMean(Pooler):
    def forward(self, inputs: PoolInputs) -> Tensor:
        return weighted_mean_pool(inputs.hidden, inputs.pooled, inputs.mask)


class _Max(Pooler):
    def forward(self, inputs: PoolInputs) -> Tensor:
        return max_pool(inputs.hidden, inputs.pooled)


class _Cls(Pooler):
    def forward(self, inputs: PoolInputs) -> Tensor:
        return cls_pool(inputs.hidden, inputs.pooled)


class _SoftPrompt(Pooler):
    needs_soft_prompts = True

    def forward(self, inputs: PoolInputs) -> Tensor:
        return soft_prompt_pool(inputs.hidden, inputs.last, inputs.soft_prompts)


class _DualAnchor(Pooler):
    needs_soft_prompts = True

    def forward(self, inputs: PoolInputs) -> Tensor:
        return dual_anchor_average(*_anchors(inputs))


class _DualAnchorConcat(Pooler):
    needs_soft_prompts = True

    def __init__(self, sizes: PoolerSizes) -> None:
        super().__init__(sizes)
        self.dimension = 2 * sizes.hidden_size

    def forward(self, inputs: PoolInputs) -> Tensor:
        return dual_anchor_concat(*_anchors(inputs))


class _DualAnchorGate(Pooler):
    """The parameter `gate`, shape (d,), holds logits."""

    needs_soft_prompts = True

    def __init__(self, sizes: PoolerSizes) -> None:
        super().__init__(sizes)
        self.gate = _Initial(sizes.seed).zeros(sizes.hidden_size)

    def forward(self, inputs: PoolInputs) -> Tensor:
        return dual_anchor_gate(*_anchors(inputs), self.gate.sigmoid())


class _LatentAttention(Pooler):
    """The inner layer of its network has 2d units."""

    def __init__(self, sizes: PoolerSizes) -> None:
        super().__init__(sizes)
        self.heads = _dividing_heads(sizes)
        d, h, initial = sizes.hidden_size, 2 * sizes.hidden_size, _Initial(sizes.seed)
        self.latents = initial.normal(1.0, sizes.latents, d)
        self.up = initial.normal(d**-0.5, h, d)
        self.up_bias = initial.zeros(h)
        self.down = initial.zeros(d, h)
        self.down_bias = initial.zeros(d)

    def forward(self, inputs: PoolInputs) -> Tensor:
        return latent_attention_pool(
            inputs.hidden,
            inputs.mask,
            self.latents,
            up=self.up,
            up_bias=self.up_bias,
            down=self.down,
            down_bias=self.down_bias,
            heads=self.heads,
        )


class _MultiLayer(Pooler):
    """Reads each layer at the row's final position, its last soft prompt where there are any.

    In a causal backbone no other position has seen the whole row. A backbone that runs its first
    layers only may hand over fewer than `layers` states.
    """

    needs_layers = True

    def __init__(self, sizes: PoolerSizes) -> None:
        super().__init__(sizes)
        self.heads = _dividing_heads(sizes)
        d, initial = sizes.hidden_size, _Initial(sizes.seed)
        self.layer_vectors = initial.normal(0.02, sizes.layers, d)
        self.queries = initial.normal(1.0, sizes.latents, d)
        self.keys = initial.normal(d**-0.5, d, d)
        self.values = initial.normal(d**-0.5, d, d)
        self.output = initial.zeros(d, d)

    def forward(self, inputs: PoolInputs) -> Tensor:
        given, known = len(inputs.layers), len(self.layer_vectors)
        if not 1 <= given <= known:
            raise ConfigError(
                f"Multi-layer pooling got the states of {given} layers; it was built for 1 to "
                f"{known}. Hand over the states of every layer, or build the pooler for {given}."
            )
        final = inputs.last + inputs.soft_prompts
        return multi_layer_attention(
            torch.stack([last_token_pool(states, final) for states in inputs.layers]),
            layer_vectors=self.layer_vectors[:given],
            queries=self.queries,
            keys=self.keys,
            values=self.values,
            output=self.output,
            heads=self.heads,
        )


_POOLERS: Mapping[str, type[Pooler]] = {
    "last_token": _LastToken,
    "mean": _Mean,
    "cls": _Cls,
    "max": _Max,
    "mean_sqrt_len": _MeanSqrtLen,
    "weighted_mean": _WeightedMean,
    "soft_prompt_mean": _SoftPrompt,
    "dual_anchor": _DualAnchor,
    "dual_anchor_concat": _DualAnchorConcat,
    "dual_anchor_gate": _DualAnchorGate,
    "latent_attention": _LatentAttention,
    "multi_layer": _MultiLayer,
}


def make_pooler(
    pooling: str, *, hidden_size: int, layers: int, latents: int = 64, heads: int = 4, seed: int = 0
) -> Pooler:
    """The pooler of a name, untrained.

    Args:
        pooling: One of `Pooling`.
        hidden_size: Length d of a hidden state.
        layers: Number of the tensors in `PoolInputs.layers`, for "multi_layer".
        latents: Latents of "latent_attention" or queries of "multi_layer".
        heads: Attention heads of these two; divides `hidden_size`.
        seed: Seed of the initial parameters.

    Raises:
        ConfigError: An unknown name, a size below 1, or heads that do not divide `hidden_size`.
    """
    if pooling not in _POOLERS:
        raise ConfigError(f"pooling={pooling!r} is not known. Use one of {list(_POOLERS)}.")
    return _POOLERS[pooling](PoolerSizes(hidden_size, layers, latents, heads, seed))


class _Initial:
    """Parameters that depend on the seed alone, in float32 on the CPU."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator(device="cpu").manual_seed(seed)

    def normal(self, spread: float, *shape: int) -> nn.Parameter:
        values = torch.empty(shape, dtype=torch.float32, device="cpu")
        return nn.Parameter(values.normal_(0.0, spread, generator=self._generator))

    def zeros(self, *shape: int) -> nn.Parameter:
        return nn.Parameter(torch.zeros(shape, dtype=torch.float32, device="cpu"))


def _anchors(inputs: PoolInputs) -> tuple[Tensor, Tensor]:
    primary = last_token_pool(inputs.hidden, inputs.last)
    return primary, soft_prompt_pool(inputs.hidden, inputs.last, inputs.soft_prompts)


def _dividing_heads(sizes: PoolerSizes) -> int:
    if sizes.hidden_size % sizes.heads:
        raise ConfigError(
            f"heads={sizes.heads} does not divide hidden_size={sizes.hidden_size}. "
            "Choose a number of heads that does."
        )
    return sizes.heads
