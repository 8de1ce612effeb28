"""Layers behind the pooling, as sentence-transformers saves them: Dense, LayerNorm, Normalize."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from instruct_embeddings.encoder.compat.sentence_transformers import Layer, refuse
from instruct_embeddings.encoder.limits import read_tensors, shapes_of
from instruct_embeddings.errors import CheckpointError

_WEIGHTS = "model.safetensors"


class Normalize(nn.Module):
    """Rows of unit length."""

    def forward(self, rows: Tensor) -> Tensor:
        """Shape (..., d) to the same."""
        return functional.normalize(rows, dim=-1)


class Dense(nn.Module):
    """A linear layer, an activation, and what came in where asked for."""

    def __init__(self, sizes: tuple[int, int], layer: Layer, *, bias: bool) -> None:
        """Build it empty, of the lengths of what it gets and gives."""
        super().__init__()
        self.linear = nn.Linear(*sizes, bias=bias)
        self.activation: nn.Module = getattr(nn, layer.activation)()
        self.adds = layer.residual
        if self.adds and sizes[0] != sizes[1]:
            self.residual = nn.Linear(*sizes, bias=False)

    def forward(self, rows: Tensor) -> Tensor:
        """Shape (..., in) to (..., out)."""
        out: Tensor = self.activation(self.linear(rows))
        if not self.adds:
            return out
        kept: Tensor = self.residual(rows) if hasattr(self, "residual") else rows
        return out + kept


class LayerNorm(nn.Module):
    """Layer normalisation."""

    def __init__(self, size: int) -> None:
        """Build it empty."""
        super().__init__()
        self.norm = nn.LayerNorm(size)

    def forward(self, rows: Tensor) -> Tensor:
        """Shape (..., d) to the same."""
        out: Tensor = self.norm(rows)
        return out


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
    file, out = layer.path / _WEIGHTS, layer.width or width
    if not file.is_file():
        others = sorted(one.name for one in layer.path.glob("*.bin"))
        raise CheckpointError(
            f"The layer behind the pooling in {str(layer.path)!r} has no {_WEIGHTS}, but {others}. "
            "Only safetensors are read: save it again with safe_serialization."
        )
    wanted: dict[str, tuple[int, ...]]
    if layer.kind == "layer_norm":
        if out != width:
            refuse(layer.path, "a LayerNorm of the dimension", out, width)
        wanted = {"norm.weight": (width,), "norm.bias": (width,)}
    else:
        wanted = {"linear.weight": (out, width)}
        if "linear.bias" in shapes_of(file):
            wanted["linear.bias"] = (out,)
        if layer.residual and out != width:
            wanted["residual.weight"] = (out, width)
    found = read_tensors(file, wanted)
    made: nn.Module = (
        LayerNorm(width)
        if layer.kind == "layer_norm"
        else Dense((width, out), layer, bias="linear.bias" in wanted)
    )
    made.load_state_dict(found)
    return made
