"""What a model does with a few tokens, found by letting it read them.

Model types are many and new ones come with every release. So no list says how one of them counts
positions or treats padding: it is looked at once, when the model is loaded.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from instruct_embeddings._reading import brief
from instruct_embeddings.errors import CheckpointError, InstructEmbeddingsError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from instruct_embeddings.encoder.backbone import Backbone

_LENGTH = 5
_LONG = 9
# Half precision and the kernels of a GPU differ by less, models that mix padding in by more.
_SAME, _SAME_IN_HALF = 0.01, 0.2


class _EnoughSeenError(Exception):
    """The first layer was reached."""


class _Lookups(TorchFunctionMode):
    """Keeps the tables that are looked up, and the rows that are asked of them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is nn.functional.embedding:
            named = dict(zip(("input", "weight"), args, strict=False)) | (kwargs or {})
            self.seen.append((named["input"], named["weight"]))
        return func(*args, **(kwargs or {}))


def count_positions(
    body: "PreTrainedModel", layers: tuple[nn.Module, str] | None, *, given: bool
) -> tuple[int | None, int]:
    """Find out how a model counts positions.

    A table that is asked for rows one after the other, while the tokens are all the same, counts
    positions: from its first row, from behind a padding id, or from wherever the model begins.

    Args:
        body: The model.
        layers: Parent and name of its layers; it is run up to the first.
        given: Whether its caller gives it positions.

    Returns:
        Most positions that it can read, None where they are computed and have no end; and what it
        gives the first token, where its caller is to.
    """
    counted = [] if body.device.type == "meta" else _tables(body, layers)
    if not counted:
        return None, 0
    most = min(size - first for first, size in counted)
    if not given:
        return most, 0
    ids = torch.arange(_LENGTH, device=body.device)[None]
    from_zero = _tables(body, layers, position_ids=ids)
    return most, counted[0][0] - from_zero[0][0] if from_zero else 0


def _tables(
    body: "PreTrainedModel", layers: tuple[nn.Module, str] | None, **arguments: Any
) -> list[tuple[int, int]]:
    """First row and number of rows of every table that counts positions."""
    ids = torch.full((1, _LENGTH), _some_tokens(body, 1)[0], device=body.device)
    lookups = _Lookups()

    def stop(*_: Any) -> None:
        raise _EnoughSeenError

    first = None if layers is None else getattr(*layers)[0]
    hook = None if first is None else first.register_forward_pre_hook(stop)
    try:
        with lookups, torch.no_grad():
            body(input_ids=ids, attention_mask=torch.ones_like(ids), **arguments)
    except _EnoughSeenError:
        pass
    except Exception:
        # Whatever it is, the first text meets it too; `check_reading` gives it a name.
        return []
    finally:
        if hook is not None:
            hook.remove()
    return [
        (int(rows.flatten()[0]), len(table))
        for rows, table in lookups.seen
        # One row of tokens, which some models fill up; relative distances are a square of them.
        if rows.dim()
        and rows.numel() == rows.shape[-1] >= _LENGTH
        and bool((rows.flatten()[:_LENGTH].diff() == 1).all())
    ]


def check_reading(backbone: "Backbone", place: Path) -> None:
    """Refuse a model whose embedding of a text depends on other texts.

    A row is read alone, and padded beside a longer one.
    """
    body, device = backbone.body, backbone.device
    length = min(_LONG, backbone.positions or _LONG)
    long, count = _some_tokens(body, length), max(1, length // 2)
    pad, table = getattr(body.config, "pad_token_id", None), body.get_input_embeddings()
    if not isinstance(pad, int) or not 0 <= pad < len(table.weight):  # type: ignore[arg-type]
        pad = long[-1]
    inside = slice(None, count) if backbone.needs_right_padding else slice(length - count, None)
    ids, mask = torch.full((2, length), pad), torch.zeros(2, length, dtype=torch.long)
    ids[0], mask[0] = torch.tensor(long), 1
    ids[1, inside], mask[1, inside] = ids[0, :count], 1
    ids, mask = ids.to(device), mask.to(device)
    before, why = _plain_state(body), None
    try:
        with torch.no_grad():
            expected = backbone(ids[:1, :count], mask[:1, :count])
            found = backbone(ids, mask)[1:, inside]
        if expected.shape != (1, count, backbone.hidden_size):
            raise ValueError(f"{count} tokens have states of the shape {tuple(expected.shape)}")
        off = float((found.float() - expected.float()).norm() / expected.float().norm())
        # Damaged weights give numbers that are none; that is reported elsewhere.
        if off > (_SAME if expected.dtype == torch.float32 else _SAME_IN_HALF):
            why = "A text that is padded gets other states than one that is not"
        elif _plain_state(body) != before:
            why = "Reading a short text changes how it reads the next one"
    except (InstructEmbeddingsError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as exc:
        why = f"It cannot read plain rows of tokens ({brief(exc)})"
    if why is not None:
        raise CheckpointError(
            f"The model in {str(place)!r} (model type {body.config.model_type!r}) cannot be used "
            f"for embeddings here. {why}; allowed are models that give a text the same states in "
            "every batch. Use another one, such as a BERT, RoBERTa, ModernBERT, Qwen or Llama."
        )


def _plain_state(body: "PreTrainedModel") -> list[Any]:
    """The ways that its parts have chosen; BigBird turns to another attention for short texts."""
    return [
        {key: value for key, value in vars(part).items() if isinstance(value, str)}
        for part in body.modules()
    ]


def _some_tokens(body: "PreTrainedModel", count: int) -> list[int]:
    """Ordinary tokens, different ones where the vocabulary has so many."""
    table: Any = body.get_input_embeddings()
    size: int = table.weight.shape[0]
    names = ("pad", "bos", "eos", "mask")
    special = {getattr(body.config, f"{name}_token_id", None) for name in names}
    start = size // 3
    usable = [i for i in (*range(start, size), *range(start)) if i not in special][: 4 * count]
    return [(usable or [0])[i * 3 % len(usable or [0])] for i in range(count)]
