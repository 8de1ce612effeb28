"""From hidden states to one vector a row: the maths as functions, poolers by name, layers behind.

A row of a batch is `[padding?] [text] [instruction] [soft prompts] [padding?]` without gaps.
Shapes: b batch, t tokens, d hidden, p soft prompts, r trainable latents. `last` is the position of
a row's final input token, the one before its soft prompts; `mask` is 1 at real positions, soft
prompts included. Nothing depends on the side or the content of the padding, no argument is changed,
and half precision is widened to float32 before anything is summed. Results are not normalised.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from instruct_embeddings.encoder.files import require_safetensors
from instruct_embeddings.encoder.limits import read_tensors, shapes_of
from instruct_embeddings.encoder.sentence_transformers import Layer, refuse
from instruct_embeddings.encoder.settings import Pooling
from instruct_embeddings.errors import ConfigError


def last_token_pool(hidden: Tensor, last: Tensor) -> Tensor:
    """State of the final input token, the primary anchor of InstEmb: (b, t, d), (b,) to (b, d)."""
    return _wide(hidden[_rows(hidden), last])


def cls_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """State of the first real position: (b, t, d), (b, t) to (b, d)."""
    return last_token_pool(hidden, mask.bool().int().argmax(1))


def mean_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real positions: (b, t, d), (b, t) to (b, d); zeros for a row without any."""
    real = mask.bool()
    total = _real_only(hidden, real).sum(1, dtype=_wide_type(hidden))
    return total / real.sum(1, keepdim=True).clamp(min=1)


def mean_sqrt_len_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """Sum over the real positions by the root of their number: (b, t, d), (b, t) to (b, d)."""
    return mean_pool(hidden, mask) * mask.bool().sum(1, keepdim=True).sqrt()


def weighted_mean_pool(hidden: Tensor, mask: Tensor, read: Tensor) -> Tensor:
    """Mean over the real positions, weighted by the position in the row (SGPT).

    Shapes (b, t, d), (b, t) to (b, d); zeros for a row that has no real position. Positions are
    counted over `read`, shape (b, t), 1 at every position that was read.
    """
    real = mask.bool()
    weights = (read.bool().cumsum(1) * real).to(_wide_type(hidden))
    total = torch.einsum("btd,bt->bd", _wide(_real_only(hidden, real)), weights)
    return total / weights.sum(1, keepdim=True).clamp(min=1)


def max_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """Largest value of each dimension over the real positions: (b, t, d), (b, t) to (b, d)."""
    return _wide(hidden).masked_fill(~mask.bool().unsqueeze(-1), float("-inf")).amax(1)


def soft_prompt_pool(hidden: Tensor, last: Tensor, p: int) -> Tensor:
    """Mean over the p soft prompts, the complementary anchor of InstEmb: (b, t, d) to (b, d).

    Raises:
        ConfigError: There are no soft prompts.
    """
    if p < 1:
        raise ConfigError(f"There is no soft prompt to pool: p={p!r}. At least 1 is needed.")
    positions = last.unsqueeze(1) + torch.arange(1, p + 1, device=hidden.device)  # (b, p)
    return _wide(hidden[_rows(hidden).unsqueeze(1), positions]).mean(1)


def dual_anchor_average(primary: Tensor, complementary: Tensor) -> Tensor:
    """Dual-Anchor Alignment Pooling (InstEmb, ICML 2026): the average of the two unit anchors.

    Shapes (b, d) and (b, d) to (b, d), of length at most 1.
    """
    return (_unit(primary) + _unit(complementary)) / 2


def dual_anchor_concat(primary: Tensor, complementary: Tensor) -> Tensor:
    """The two unit anchors side by side, shape (b, 2d); cosines are the mean of both cosines."""
    return torch.cat([_unit(primary), _unit(complementary)], dim=-1)


def dual_anchor_gate(primary: Tensor, complementary: Tensor, gate: Tensor) -> Tensor:
    """A mixture of the two unit anchors; `gate`, shape (d,), is the primary one's in [0, 1]."""
    return gate * _unit(primary) + (1 - gate) * _unit(complementary)


def latent_attention_pool(
    hidden: Tensor,
    mask: Tensor,
    latents: Tensor,
    *,
    up: Tensor,
    up_bias: Tensor,
    down: Tensor,
    down_bias: Tensor,
    heads: int,
) -> Tensor:
    """Latent attention (NV-Embed, Lee et al., 2024, section 3.1), added to the plain mean.

    Each token attends over the trainable latents, which are keys and values, and goes through a
    network of two linear layers; the mean over the real tokens follows. The tokens themselves are
    added as a residual, so that with `down` at zero the result is the plain mean.

    Shapes: `latents` (r, d), `up` (h, d), `up_bias` (h,), `down` (d, h), `down_bias` (d,); `heads`
    divides d. Returns (b, d).
    """
    # Padding may hold NaN, and NaN * 0 would spoil the gradient of the weights.
    tokens = _wide(_real_only(hidden, mask.bool()))
    queries = _split(functional.layer_norm(tokens, tokens.shape[-1:]), heads).transpose(1, 2)
    keys = _split(latents, heads).transpose(0, 1).expand(len(hidden), -1, -1, -1)
    attended = functional.scaled_dot_product_attention(queries, keys, keys)  # (b, heads, t, _)
    active = functional.gelu(functional.linear(attended.transpose(1, 2).flatten(2), up, up_bias))
    # The second layer is linear: after the mean it gives the same at a cost without t.
    return mean_pool(tokens, mask) + functional.linear(mean_pool(active, mask), down, down_bias)


@dataclass(frozen=True, eq=False)
class PoolInputs:
    """What a backbone hands to a pooler.

    Attributes:
        hidden: Last hidden states, shape (b, t, d).
        mask: 1 at real positions, soft prompts included, shape (b, t).
        last: Position of the final input token before the soft prompts, shape (b,).
        soft_prompts: Number p of soft prompts.
        prompt: First positions of each row that "mean", "cls" and their like leave out.
    """

    hidden: Tensor
    mask: Tensor
    last: Tensor
    soft_prompts: int
    prompt: int = 0

    @property
    def pooled(self) -> Tensor:
        """1 at positions that are pooled, shape (b, t)."""
        return self.mask * (self.mask.cumsum(1) > self.prompt) if self.prompt else self.mask

    @property
    def anchors(self) -> tuple[Tensor, Tensor]:
        """Primary and complementary anchor, each of shape (b, d)."""
        complementary = soft_prompt_pool(self.hidden, self.last, self.soft_prompts)
        return last_token_pool(self.hidden, self.last), complementary


class Pooler(nn.Module):
    """One float32 vector of length `dimension` from hidden states; here without parameters."""

    def __init__(self, pooling: Pooling, hidden_size: int) -> None:
        super().__init__()
        self.pooling = pooling
        self.dimension = hidden_size * (2 if pooling == "dual_anchor_concat" else 1)

    def forward(self, inputs: PoolInputs) -> Tensor:
        """Embeddings, shape (b, dimension)."""
        return _PLAIN[self.pooling](inputs)


class DualAnchorGate(Pooler):
    """A learned mixture of the anchors, at first their average; `gate`, (d,), holds logits."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__("dual_anchor_gate", hidden_size)
        self.gate = nn.Parameter(torch.zeros(hidden_size, device="cpu"))

    def forward(self, inputs: PoolInputs) -> Tensor:
        """Embeddings, shape (b, d)."""
        return dual_anchor_gate(*inputs.anchors, self.gate.sigmoid())


class LatentAttention(Pooler):
    """Latent attention, whose network has an inner layer of 2d units; at first the mean.

    Its last matrix starts at zero, as in LoRA: in the first step it alone is trained, and what
    stands in front of it from the second.
    """

    def __init__(self, hidden_size: int, latents: int, heads: int, seed: int) -> None:
        super().__init__("latent_attention", hidden_size)
        if hidden_size % heads:
            raise ConfigError(
                f"heads={heads} does not divide hidden_size={hidden_size}. "
                "Choose a number of heads that does."
            )
        self.heads = heads
        d, h, generator = hidden_size, 2 * hidden_size, torch.Generator("cpu").manual_seed(seed)

        def normal(spread: float, *shape: int) -> nn.Parameter:
            values = torch.empty(shape, dtype=torch.float32, device="cpu")
            return nn.Parameter(values.normal_(0.0, spread, generator=generator))

        self.latents = normal(1.0, latents, d)
        self.up = normal(d**-0.5, h, d)
        self.up_bias = nn.Parameter(torch.zeros(h, device="cpu"))
        self.down = nn.Parameter(torch.zeros(d, h, device="cpu"))
        self.down_bias = nn.Parameter(torch.zeros(d, device="cpu"))

    def forward(self, inputs: PoolInputs) -> Tensor:
        """Embeddings, shape (b, d)."""
        weights = dict(self.named_parameters())
        return latent_attention_pool(inputs.hidden, inputs.mask, heads=self.heads, **weights)


_PLAIN: Mapping[str, Callable[[PoolInputs], Tensor]] = {
    "last_token": lambda inputs: last_token_pool(inputs.hidden, inputs.last),
    "mean": lambda inputs: mean_pool(inputs.hidden, inputs.pooled),
    "cls": lambda inputs: cls_pool(inputs.hidden, inputs.pooled),
    "max": lambda inputs: max_pool(inputs.hidden, inputs.pooled),
    "mean_sqrt_len": lambda inputs: mean_sqrt_len_pool(inputs.hidden, inputs.pooled),
    "weighted_mean": lambda inputs: weighted_mean_pool(inputs.hidden, inputs.pooled, inputs.mask),
    "soft_prompt_mean": lambda inputs: inputs.anchors[1],
    "dual_anchor": lambda inputs: dual_anchor_average(*inputs.anchors),
    "dual_anchor_concat": lambda inputs: dual_anchor_concat(*inputs.anchors),
}


def make_pooler(
    pooling: Pooling, *, hidden_size: int, latents: int = 64, heads: int = 4, seed: int = 0
) -> Pooler:
    """The untrained pooler of a name; ConfigError where `heads` do not divide the width.

    `latents`, `heads` and `seed` are those of "latent_attention".
    """
    if pooling == "latent_attention":
        return LatentAttention(hidden_size, latents, heads, seed)
    if pooling == "dual_anchor_gate":
        return DualAnchorGate(hidden_size)
    return Pooler(pooling, hidden_size)


class Normalize(nn.Module):
    """Rows of unit length."""

    def forward(self, rows: Tensor) -> Tensor:
        """Shape (..., d) to the same."""
        return functional.normalize(rows, dim=-1)


class Dense(nn.Module):
    """A linear layer, an activation, and what came in where asked for."""

    def __init__(self, sizes: tuple[int, int], layer: Layer, *, bias: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(*sizes, bias=bias)
        self.activation: nn.Module = getattr(nn, layer.activation)()
        self.adds, same = layer.residual, sizes[0] == sizes[1]
        self.residual = nn.Identity() if same or not self.adds else nn.Linear(*sizes, bias=False)

    def forward(self, rows: Tensor) -> Tensor:
        """Shape (..., in) to (..., out)."""
        out: Tensor = self.activation(self.linear(rows))
        return out + self.residual(rows) if self.adds else out


def load_layers(layers: Sequence[Layer], width: int) -> nn.Sequential:
    """Load layers in their order, from the length of what is pooled.

    Raises:
        CheckpointError: Weights are missing, damaged, no safetensors, or do not fit.
    """
    made: list[nn.Module] = []
    for layer in layers:
        made.append(_load(layer, width))
        width = layer.width or width
    return nn.Sequential(*made).float()


def _load(layer: Layer, width: int) -> nn.Module:
    if layer.kind == "normalize":
        return Normalize()
    require_safetensors(layer.path, "The layer behind the pooling")
    file = layer.path / "model.safetensors"
    if layer.kind == "layer_norm":
        if layer.width != width:
            refuse(layer.path, "a LayerNorm of the dimension", layer.width, width)
        made: nn.Module = nn.ModuleDict({"norm": nn.LayerNorm(width)})
    else:
        sizes = (width, layer.width or width)
        made = Dense(sizes, layer, bias="linear.bias" in shapes_of(file))
    state = made.state_dict()
    made.load_state_dict(read_tensors(file, {name: tuple(v.shape) for name, v in state.items()}))
    return made["norm"] if isinstance(made, nn.ModuleDict) else made


def _rows(hidden: Tensor) -> Tensor:
    return torch.arange(len(hidden), device=hidden.device)


def _real_only(hidden: Tensor, real: Tensor) -> Tensor:
    return hidden.masked_fill(~real.unsqueeze(-1), 0.0)


def _wide_type(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(_wide_type(tensor))


def _unit(rows: Tensor) -> Tensor:
    return functional.normalize(_wide(rows), dim=-1)


def _split(tensor: Tensor, heads: int) -> Tensor:
    """(..., d) to (..., heads, d / heads)."""
    return tensor.reshape(*tensor.shape[:-1], heads, tensor.shape[-1] // heads)
