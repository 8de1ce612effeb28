"""Keeping the generic space: vectors stored before training stay of use after it.

Goswami et al., "Query Drift Compensation" (CoLLAs 2025, arXiv 2506.00037).
"""

import torch
from torch import Tensor

from instruct_embeddings.training.losses.distillation import representation_distillation
from instruct_embeddings.training.losses.similarity import check_shape, unit


def drift(student: Tensor, frozen: Tensor) -> Tensor:
    """Embedding distillation of the paper: the mean cosine distance to the model before training.

    Args:
        student: Embeddings without an instruction, shape (b, d).
        frozen: Those of the model before training, shape (b, d); no gradient flows into them.

    Returns:
        A scalar from 0 to 2, float32.

    Raises:
        ConfigError: The shapes differ.
    """
    return representation_distillation(student, frozen)


@torch.no_grad()
def drift_vector(old: Tensor, new: Tensor) -> Tensor:
    """The mean way, shape (d,), that unit embeddings of the same texts went during training.

    Args:
        old: Embeddings before training, shape (n, d).
        new: Embeddings after it, shape (n, d).

    Raises:
        ConfigError: The shapes differ.
    """
    check_shape("new", new, tuple(old.shape))
    return (unit(new) - unit(old)).mean(0)


@torch.no_grad()
def compensate(new: Tensor, vector: Tensor) -> Tensor:
    """Queries of the trained model, moved back to where the stored vectors are.

    Args:
        new: Embeddings of the trained model, shape (b, d).
        vector: What `drift_vector` returned, shape (d,).

    Returns:
        Unit rows, shape (b, d), float32.
    """
    return unit(unit(new) - vector.float())
