"""Large contrastive batches in little memory.

Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup" (RepL4NLP
2021, arXiv 2101.06983, section 3).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from instruct_embeddings.errors import ConfigError

Chunk = TypeVar("Chunk")


def cached_backward(
    forward: Callable[[Chunk], Mapping[str, Tensor]],
    chunks: Sequence[Chunk],
    loss: Callable[[dict[str, Tensor]], Tensor],
    *,
    stacked: Collection[str] = (),
) -> Tensor:
    """Add the gradients of a loss over all chunks, with the activations of one chunk in memory.

    1. Each chunk is encoded without a graph.
    2. The loss of all outputs together gives the gradient of each output.
    3. Each chunk is encoded again, with the same random numbers, and its outputs' gradients go on
       into the parameters.

    The gradients are those of the whole batch in one piece, for one more forward pass. Parameters
    that only the loss uses get theirs in step 2. What a forward pass changes in the model, such as
    the statistics of batch normalisation, is changed twice.

    Args:
        forward: From a chunk to its outputs, each of shape (b, ...). Its random numbers come from
            torch's own generators.
        chunks: The parts of the batch. A single one is encoded once only.
        loss: From the outputs of the whole batch, joined in the order of the chunks, to a scalar.
        stacked: Names of outputs with the batch on the second axis, such as (s, b, d).

    Returns:
        The loss, a scalar without a graph.

    Raises:
        ConfigError: There is no chunk, or chunks have outputs of other names.
    """
    if not chunks:
        raise ConfigError("chunks must be one or more parts of a batch, got none")
    if len(chunks) == 1:
        value = loss(dict(forward(chunks[0])))
        value.backward()  # type: ignore[no-untyped-call]
        return value.detach()
    states, parts = _encode(forward, chunks)
    leaves = _join(parts, stacked)
    value = loss(leaves)
    value.backward()  # type: ignore[no-untyped-call]
    after = RandomState.now()  # of the loss too: its numbers must not come again
    gradients = _split(leaves, parts, stacked)
    for chunk, state, gradient in zip(chunks, states, gradients, strict=True):
        state.restore()
        _go_on(forward(chunk), gradient)
    after.restore()
    return value.detach()


@dataclass(frozen=True)
class RandomState:
    """What torch's generators will draw next."""

    cpu: Tensor
    cuda: tuple[Tensor, ...]
    mps: Tensor | None

    @classmethod
    def now(cls) -> "RandomState":
        """The state of the CPU, and of GPUs in use."""
        cuda = torch.cuda.get_rng_state_all() if _cuda_in_use() else []
        mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
        return cls(torch.get_rng_state(), tuple(cuda), mps)

    def restore(self) -> None:
        """Draw the same numbers again."""
        torch.set_rng_state(self.cpu)
        for device, state in enumerate(self.cuda):
            torch.cuda.set_rng_state(state, device)
        if self.mps is not None:
            torch.mps.set_rng_state(self.mps)


def _cuda_in_use() -> bool:
    in_use: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return in_use


def _encode(
    forward: Callable[[Chunk], Mapping[str, Tensor]], chunks: Sequence[Chunk]
) -> tuple[list[RandomState], list[Mapping[str, Tensor]]]:
    """Outputs without a graph, and the random state before each chunk."""
    states, parts = [], []
    with torch.no_grad():
        for chunk in chunks:
            states.append(RandomState.now())
            parts.append(forward(chunk))
            if parts[-1].keys() != parts[0].keys():
                raise ConfigError(
                    f"chunks must have the same outputs, got {sorted(parts[0])} and "
                    f"{sorted(parts[-1])}"
                )
    # Autocast keeps half-precision weights. In older versions of torch (its issue 112583) those of
    # this pass have no graph, and the gradients of step 3 would stop at them.
    torch.clear_autocast_cache()
    return states, parts


def _join(parts: Sequence[Mapping[str, Tensor]], stacked: Collection[str]) -> dict[str, Tensor]:
    """Outputs of the whole batch, new leaves of the graph where they are floating point."""
    joined = {
        name: torch.cat([part[name] for part in parts], dim=int(name in stacked))
        for name in parts[0]
    }
    return {
        name: tensor.requires_grad_(tensor.is_floating_point()) for name, tensor in joined.items()
    }


def _split(
    leaves: Mapping[str, Tensor],
    parts: Sequence[Mapping[str, Tensor]],
    stacked: Collection[str],
) -> list[dict[str, Tensor]]:
    """Gradients of the outputs of each chunk; outputs that the loss did not use have none."""
    gradients: list[dict[str, Tensor]] = [{} for _ in parts]
    for name, leaf in leaves.items():
        if leaf.grad is None:
            continue
        axis = int(name in stacked)
        sizes = [part[name].shape[axis] for part in parts]
        for own, piece in zip(gradients, torch.split(leaf.grad, sizes, dim=axis), strict=True):
            own[name] = piece
    return gradients


def _go_on(outputs: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
    """Carry gradients of outputs on into the parameters; a frozen teacher's outputs have none."""
    names = [name for name in gradients if outputs[name].requires_grad]
    if names:
        torch.autograd.backward([outputs[n] for n in names], [gradients[n] for n in names])
