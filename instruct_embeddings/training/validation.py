"""How good the student is on what was held out."""

from collections.abc import Sequence
from statistics import mean

import torch
from torch import Tensor
from torch.nn import functional

from instruct_embeddings.config import normal_form
from instruct_embeddings.training.data.files import Example
from instruct_embeddings.training.data.opening import ValidationTask
from instruct_embeddings.training.log import SCORE
from instruct_embeddings.training.rows import RowMaker
from instruct_embeddings.training.student import Passes
from instruct_embeddings.training.teacher import Teacher

NEIGHBOURS = 10
_ROWS, _TOKENS = 64, 4096


@torch.no_grad()
def validate(
    passes: Passes, rows: RowMaker, teacher: Teacher, tasks: Sequence[ValidationTask]
) -> dict[str, float]:
    """Measure every task by its name, and "score", their mean; empty where nothing can be measured.

    Texts that share answers are measured by precision@k of nearest neighbours under the
    instruction, open questions by how often a text's own answer is the nearest. Rows are compared
    within their group only; a task is the mean over its rows.
    """
    training = passes.training
    passes.eval()
    try:
        values = {task.name: _task(passes, rows, teacher, task.examples) for task in tasks}
    finally:
        passes.train(training)
    found = {name: value for name, value in values.items() if value is not None}
    return {SCORE: mean(found.values()), **found} if found else {}


def neighbour_precision(vectors: Tensor, labels: Tensor, k: int = NEIGHBOURS) -> float | None:
    """Fraction of the k nearest others that have a row's label, over rows whose label others have.

    Of a label that fewer others have, only as many neighbours count. Unit vectors, shape (n, d),
    and labels, shape (n,); None where no two rows have a label in common.
    """
    same = labels[:, None] == labels
    same.fill_diagonal_(False)
    wanted = same.sum(1)
    counted = wanted > 0
    if not counted.any():
        return None
    scores = vectors @ vectors.T
    scores.fill_diagonal_(-torch.inf)
    best = scores.topk(min(k, len(vectors) - 1), dim=1).indices
    hits = same.gather(1, best)
    ranks = torch.arange(1, hits.shape[1] + 1)
    inside = ranks <= wanted[:, None]
    precision = (hits & inside).sum(1) / inside.sum(1).clamp(min=1)
    return float(precision[counted].mean())


def _task(
    passes: Passes, rows: RowMaker, teacher: Teacher, examples: Sequence[Example]
) -> float | None:
    kept = [example for example in examples if rows.fits(example)]
    if len(kept) < 2:
        return None
    vectors = _embed(passes, rows, kept)
    groups: dict[str, list[int]] = {}
    for index, example in enumerate(kept):
        groups.setdefault(example.group, []).append(index)
    total, counted = 0.0, 0
    for indices in groups.values():
        value = _group(vectors[indices], [kept[i].answer for i in indices], teacher)
        if value is not None:
            total, counted = total + value * len(indices), counted + len(indices)
    return total / counted if counted else None


def _group(vectors: Tensor, answers: Sequence[str], teacher: Teacher) -> float | None:
    known: dict[str, str] = {}
    for answer in answers:
        known.setdefault(normal_form(answer), answer)
    if len(known) < 2:
        return None
    order = {key: number for number, key in enumerate(known)}
    numbers = torch.tensor([order[normal_form(answer)] for answer in answers])
    if len(known) > len(answers) // 2 and vectors.shape[1] == teacher.width:
        embedded = teacher.embed(list(known.values())).cpu()
        return float(((vectors @ embedded.T).argmax(1) == numbers).float().mean())
    return neighbour_precision(vectors, numbers)


def _embed(passes: Passes, rows: RowMaker, examples: Sequence[Example]) -> Tensor:
    """Unit rows, shape (n, d), on the CPU."""
    chunks = rows.chunks(examples, _ROWS, _TOKENS)
    found = torch.cat([passes.embed(chunk.batch).cpu() for chunk in chunks])
    order = torch.cat([chunk.indices for chunk in chunks]).argsort()
    return functional.normalize(found[order], dim=-1)
