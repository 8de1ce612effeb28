"""Iterative contrastive refinement: each soft token must improve the embedding."""

from torch import Tensor
from torch.nn import functional

from instruct_embeddings.errors import ConfigError

# Float32 tells losses near 0 apart in steps of 1e-7: ratios of smaller ones are rounding, and the
# logarithm of a loss of exactly 0, which well separated batches reach, is no number to subtract.
FLOOR = 1e-6


def iterative_refinement(step_losses: Tensor, *, weight: float = 1.0) -> Tensor:
    """Iterative contrastive refinement (GIRCSE, ICLR 2026, arXiv 2509.24291, section 3).

    `mean_k L_k + weight * mean_k relu(log L_(k+1) - log L_k)`, where L_k is the contrastive loss
    with the first k soft tokens pooled: every step learns, and a step that is worse than the one
    before costs extra. The paper sums the first part; with the mean its size, and so the right
    learning rate and the balance with other losses, does not depend on the number of steps.

    Args:
        step_losses: Loss after each step, shape (s,), none of them negative.
        weight: Factor of the second part.

    Returns:
        A scalar, float32.

    Raises:
        ConfigError: There is no step.
    """
    if step_losses.dim() != 1 or not len(step_losses):
        raise ConfigError(
            f"step_losses must have shape (s,) with s >= 1, got {tuple(step_losses.shape)}"
        )
    losses = step_losses.float()
    if len(losses) == 1:
        return losses.mean()
    logs = losses.clamp(min=FLOOR).log()
    return losses.mean() + weight * functional.relu(logs.diff()).mean()
