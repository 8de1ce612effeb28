"""The losses of training: pure functions on tensors, one file a family.

Shapes: b rows of a batch, n candidates, d and e dimensions, s steps. All compute in float32,
whatever they are given and whatever autocast says: at a temperature of 0.05 the steps of bfloat16
around a cosine of 1 would move a logit by 0.08.
"""

from instruct_embeddings.training.losses.contrastive import (
    guided_exclusions,
    info_nce,
    same_answer_mask,
    supervised_contrastive,
)
from instruct_embeddings.training.losses.distillation import representation_distillation
from instruct_embeddings.training.losses.drift import compensate, drift, drift_vector
from instruct_embeddings.training.losses.matryoshka import matryoshka
from instruct_embeddings.training.losses.refinement import iterative_refinement

__all__ = [
    "compensate",
    "drift",
    "drift_vector",
    "guided_exclusions",
    "info_nce",
    "iterative_refinement",
    "matryoshka",
    "representation_distillation",
    "same_answer_mask",
    "supervised_contrastive",
]
