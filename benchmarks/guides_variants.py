"""What else could be learned from an encoder, from fewer texts, from other texts, from labels."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.cluster import MiniBatchKMeans

from benchmarks.tasks import Split, Task
from instruct_embeddings import FitConfig, InstructionTransform
from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.errors import GuideError
from instruct_embeddings.protocols import CollectionInfo
from instruct_embeddings.supervision import Labels, Pairs, Supervision, Targets
from instruct_embeddings.transform import fit_transform
from instruct_embeddings.transform.problems import find_clusters
from instruct_embeddings.transform.vectors import centred

LABELLED = (20, 100, 1000)
SAMPLES = (250, 500, 1000)
COVERED = 250
_PAIRS = 4000
_NEAREST = 5


def variants(
    task: Task, split: Split, stored: FloatArray, targets: FloatArray, seed: int
) -> Iterator[tuple[str, InstructionTransform | None]]:
    """Transforms by name; None where there is too little to learn from.

    Args:
        task: What is asked.
        split: Texts and labels.
        stored: Generic vectors of the texts, shape (n, d).
        targets: The encoder's vectors of the texts, shape (n, p).
        seed: Of the fits and draws.
    """

    def fitted(rows: IntArray, supervision: Supervision) -> InstructionTransform:
        return fit_transform(
            stored[rows],
            supervision,
            instruction=task.instruction,
            guide=f"benchmark:{task.name}",
            collection=CollectionInfo(task.file, task.name, stored.shape[1], "cosine"),
            config=FitConfig(seed=seed),
        )

    every = np.arange(len(stored))
    for size in SAMPLES:
        rows = every[:size]
        yield f"encoder, {size:,} texts", fitted(rows, _all(targets[rows]))
    rows = covering(stored, COVERED, seed)
    yield f"encoder, {COVERED} texts by k-means", fitted(rows, _all(targets[rows]))
    read = centred(targets)
    clusters = [str(cluster) for cluster in find_clusters(read)]
    yield "encoder, its clusters as labels", fitted(every, Labels.single(clusters))
    yield "encoder, its similarities as pairs", fitted(every, pairs(stored, read, seed))
    for size in LABELLED:
        rows = every[:size]
        try:
            learned = fitted(rows, Labels.single([split.labels[i] for i in rows]))
        except GuideError:  # too few rows of any label: the generic ranking is all there is
            learned = None
        yield f"{size:,} labels", learned


def _all(targets: FloatArray) -> Targets:
    return Targets(targets, np.ones(len(targets), dtype=np.bool_))


def covering(stored: FloatArray, size: int, seed: int) -> IntArray:
    """Rows nearest to the centres of k-means over the stored vectors, shape (at most `size`,)."""
    if len(stored) <= size:
        return np.arange(len(stored))
    model: Any = MiniBatchKMeans(size, n_init=1, random_state=seed).fit(stored)
    return np.unique((model.cluster_centers_ @ stored.T).argmax(axis=1))


def pairs(stored: FloatArray, targets: FloatArray, seed: int) -> Pairs:
    """Each row with its nearest by the targets, and with as many drawn at random."""
    rng = np.random.default_rng(seed)
    scores = targets @ targets.T
    np.fill_diagonal(scores, -2.0)
    near = np.argsort(-scores, axis=1)[:, :_NEAREST]
    one = np.repeat(np.arange(len(stored)), _NEAREST)
    far = rng.integers(0, len(stored), len(one))
    queries, documents = np.concatenate([one, one]), np.concatenate([near.ravel(), far])
    relevant = np.arange(len(queries)) < len(one)
    chosen = rng.permutation(len(queries))[:_PAIRS]
    return Pairs(stored[queries[chosen]], stored[documents[chosen]], relevant[chosen])
