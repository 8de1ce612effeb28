"""The losses of training: pure functions on tensors, each named after its paper.

Shapes: b rows of a batch, n candidates, m further negatives of a row, d and e dimensions, s steps.
All compute in float32, whatever they are given and whatever autocast says: at a temperature of
0.05 the steps of bfloat16 around a cosine of 1 would move a logit by 0.08.
"""

from instruct_embeddings.training.losses.contrastive import (
    info_nce,
    info_nce_rows,
    same_answer_mask,
    supervised_contrastive,
)
from instruct_embeddings.training.losses.distillation import (
    representation_distillation,
    similarity_distillation,
)
from instruct_embeddings.training.losses.drift import compensate, drift, drift_vector
from instruct_embeddings.training.losses.focal import focal_weights
from instruct_embeddings.training.losses.gist import guided_exclusions
from instruct_embeddings.training.losses.matryoshka import layer_truncation, matryoshka
from instruct_embeddings.training.losses.mixing import mix_negatives
from instruct_embeddings.training.losses.refinement import iterative_refinement

__all__ = [
    "compensate",
    "drift",
    "drift_vector",
    "focal_weights",
    "guided_exclusions",
    "info_nce",
    "info_nce_rows",
    "iterative_refinement",
    "layer_truncation",
    "matryoshka",
    "mix_negatives",
    "representation_distillation",
    "same_answer_mask",
    "similarity_distillation",
    "supervised_contrastive",
]
