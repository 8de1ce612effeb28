"""Quality of an encoder without labels: by task, without an instruction, and its obedience.

    python -m benchmarks.encoder_quality --data FOLDER [--model FOLDER] [--quick]

The tasks, the pools of at most 1,500 rows and the 500 queries are those of the transforms
(`benchmarks.transform`), and so are precision@10 and V-measure. No method sees a label.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.encoder_quality_kept import measure_kept
from benchmarks.encoder_quality_report import print_report
from benchmarks.environment import environment, save
from benchmarks.tasks import TASKS, Split, Task, embed, embed_under, load
from benchmarks.transform import GENERIC, PREFIX, Ranked, folded, judge
from benchmarks.triplets import measure_triplets, measure_wordings
from instruct_embeddings import FitConfig, InstructEncoder, InstructionTransform
from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder import BASE_MODEL
from instruct_embeddings.protocols import CollectionInfo
from instruct_embeddings.retrieval.ranking import DEFAULT_RESCORE
from instruct_embeddings.supervision import Targets
from instruct_embeddings.transform import fit_transform
from instruct_embeddings.transform.quality import leave_self_out
from instruct_embeddings.transform.regression import fit_ridge_map
from instruct_embeddings.transform.vectors import unit_rows

OURS = "ours, everything re-encoded"
RIDGE = "plain ridge map to ours"
GUIDE_FOLDED = "ours as guide, folded"
GUIDE = "ours as guide, folded and rescored"
GUIDE_EXACT = "ours as guide, every row rescored"


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        sample: Texts that a guide judges.
        pool: Rows that are ranked.
        wordings: Rows of the pool that are encoded under other wordings as well.
        triplet_rows: Rows that triplets are made of, for each pair of aspects.
        triplets: Triplets of each pair of aspects.
        pairs: Pairs of STS-B.
        documents: Documents of SciFact.
    """

    sample: int = 1000
    pool: int = 1500
    wordings: int = 300
    triplet_rows: int = 600
    triplets: int = 1000
    pairs: int = 100_000
    documents: int = 100_000


QUICK = Sizes(400, 400, 200, 250, 500, 500, 400)


def main() -> None:
    """Measure, print the tables, keep the results."""
    arguments = parse()
    chosen = [task for task in TASKS if not arguments.tasks or task.name in arguments.tasks]
    sizes = QUICK if arguments.quick else Sizes()
    generic = InstructEncoder.from_pretrained(BASE_MODEL)
    encoder = InstructEncoder.from_pretrained(arguments.model)
    data, seed = arguments.data, arguments.seed
    results: dict[str, Any] = {
        "environment": environment(seed),
        "model": {
            "name": encoder.name,
            "fingerprint": encoder.fingerprint(instruction=TASKS[0].instruction),
        },
        "rows": [],
        "wordings": [],
    }
    for task in track(chosen, description="tasks", console=Console(stderr=True)):
        split = cut(load(task, data, seed), sizes)
        results["rows"].extend(run_task(task, split, generic, encoder, seed))
        few = replace(split, pool_texts=split.pool_texts[: sizes.wordings])
        results["wordings"].extend(measure_wordings(task, few, generic, encoder))
    if not arguments.tasks:
        results["triplets"] = list(measure_triplets(data, generic, encoder, sizes, seed))
        results["kept"] = list(measure_kept(data, generic, encoder, sizes, seed))
    print_report(results)
    if not (arguments.tasks or arguments.quick):
        Console().print(f"kept in {save('encoder-quality', results)}")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds dev/")
    parser.add_argument("--model", help="folder or hub id; by default the package's own model")
    parser.add_argument("--tasks", nargs="*", help="names such as trec/coarse; all by default")
    parser.add_argument("--quick", action="store_true", help="pools of 400 rows; keeps nothing")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    unknown = set(arguments.tasks or ()) - {task.name for task in TASKS}
    if unknown:
        parser.error(f"no tasks {sorted(unknown)}; there are {[task.name for task in TASKS]}")
    return arguments


def cut(split: Split, sizes: Sizes) -> Split:
    """The first rows of sample and pool, which are in random order."""
    return Split(
        split.texts[: sizes.sample],
        split.labels[: sizes.sample],
        split.pool_texts[: sizes.pool],
        split.pool_labels[: sizes.pool],
    )


def run_task(
    task: Task, split: Split, generic: InstructEncoder, encoder: InstructEncoder, seed: int
) -> Iterator[dict[str, Any]]:
    """Measure every method."""
    for name, (scores, space) in rank(task, split, generic, encoder, seed).items():
        precision, v_measure = judge(scores, space, split, seed)
        yield {
            "task": task.name,
            "sample": len(split.texts),
            "pool": len(split.pool_texts),
            "method": name,
            "precision@10": round(precision, 4),
            "v_measure": round(v_measure, 4),
        }


def rank(
    task: Task, split: Split, generic: InstructEncoder, encoder: InstructEncoder, seed: int
) -> dict[str, Ranked]:
    """Scores and vectors of the pool by each method."""
    stored, pool = embed(generic, split.texts), embed(generic, split.pool_texts)
    targets = embed_under(encoder, split.texts, task.instruction)
    transform = fit(stored, targets, task, seed)
    weights, bias = fit_ridge_map(stored, unit_rows(targets), 1.0)
    ranked = {
        GENERIC: by_cosine(pool),
        PREFIX: by_cosine(embed(generic, split.pool_texts, task.instruction)),
        OURS: by_cosine(unit_rows(embed_under(encoder, split.pool_texts, task.instruction))),
        RIDGE: by_cosine(unit_rows(pool @ weights.T + bias)),
        GUIDE_FOLDED: folded(transform, pool),
    }
    exact = exactly(transform, pool)
    ranked[GUIDE] = searched(ranked[GUIDE_FOLDED][0], *exact)
    ranked[GUIDE_EXACT] = exact
    return ranked


def exactly(transform: InstructionTransform, pool: FloatArray) -> Ranked:
    """What a search with `exact=True` ranks, all queries at once; clusters in the space."""
    scores, _ = folded(transform, pool)
    mixed = (1 - transform.mix) * scores + transform.mix * transform.space.score(pool, pool)
    return mixed, transform.space.encoder.encode(pool)


def searched(prefetched: FloatArray, scores: FloatArray, space: FloatArray) -> Ranked:
    """A search in an index: the best rows by the folded query are scored again, and no others."""
    prefetched = leave_self_out(prefetched)
    best = np.argpartition(-prefetched, DEFAULT_RESCORE, axis=1)[:, :DEFAULT_RESCORE]
    out = np.full_like(scores, -10.0)
    np.put_along_axis(out, best, np.take_along_axis(scores, best, axis=1), axis=1)
    return out, space


def by_cosine(vectors: FloatArray) -> Ranked:
    """Unit rows ranked by themselves."""
    return vectors @ vectors.T, vectors


def fit(stored: FloatArray, targets: FloatArray, task: Task, seed: int) -> InstructionTransform:
    """The transform that the encoder teaches."""
    return fit_transform(
        stored,
        Targets(targets, np.ones(len(targets), dtype=np.bool_)),
        instruction=task.instruction,
        guide=f"encoder:{task.name}",
        collection=CollectionInfo(task.file, task.name, stored.shape[1], "cosine"),
        config=FitConfig(seed=seed),
    )


if __name__ == "__main__":
    main()
