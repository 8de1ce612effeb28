"""What each part of InstEmb and GIRCSE contributes: short trainings that differ in one thing.

    python -m benchmarks.ablation --data FOLDER [--steps 160] [--only NAME ...] [--quick]

Every variant is trained on the same data by the recipe of the shipped encoder, in smaller batches
and for fewer steps, and measured on the tasks of `benchmarks.encoder_quality` with pools of
300 rows. Results are kept after each variant, and the state of a training every 100 steps: an
interrupted run goes on where it was. Another recipe or another seed starts anew; results of other
steps are kept beside.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.encoder_quality import Sizes, by_cosine, cut
from benchmarks.environment import environment, save
from benchmarks.environment import load as load_results
from benchmarks.tasks import CACHE, TASKS, Task, embed, load
from benchmarks.transform import judge
from instruct_embeddings import InstructEncoder
from instruct_embeddings.encoder import BASE_MODEL
from instruct_embeddings.supervision import Targets
from instruct_embeddings.training.config import TrainingConfig, load_config
from instruct_embeddings.training.recipes import recipes
from instruct_embeddings.training.trainer import train
from instruct_embeddings.transform.problems import TargetProblem
from instruct_embeddings.transform.vectors import unit_rows

RECIPE = "instruct-minilm-l6-v1"
SIZES = Sizes(sample=300, pool=300)
QUICK = Sizes(sample=80, pool=80)
RUNS = CACHE / "ablation"
REPOSITORY = Path(__file__).parents[1]
# What decides how the training data are prepared.
MAKERS = ("scripts/prepare_training_data.py", "scripts/training_data/*.py")
TABLE = "instruct_embeddings/training/recipes/minilm-instructions.toml"
BASE = "as shipped"
STEPS, BATCH = 160, 32
Changes = Mapping[str, Any]
_BARE: Changes = {"model.soft_prompts": 0, "loss.distillation.weight": 0.0}
_REFINED: Changes = {"loss.refinement.weight": 1.0}

VARIANTS: Mapping[str, Changes] = {
    BASE: {},
    "final token only": {**_BARE, "model.pooling": "last_token"},
    "soft prompts only": {"model.pooling": "soft_prompt_mean"},
    "both anchors, concatenated": {"model.pooling": "dual_anchor_concat"},
    "both anchors, gated": {"model.pooling": "dual_anchor_gate"},
    "mean over all tokens": {**_BARE, "model.pooling": "mean"},
    "without distillation": {"loss.distillation.weight": 0.0},
    "distilled to the answer read in context": {"loss.distillation.target": "answer_states"},
    "1 soft prompt": {"model.soft_prompts": 1},
    "4 soft prompts": {"model.soft_prompts": 4},
    "16 soft prompts": {"model.soft_prompts": 16},
    "without same-answer attraction": {"loss.supervised": 0.0},
    "without the answer view": {"loss.views": ["teacher"]},
    "with the teacher view": {"loss.views": ["answer", "teacher"]},
    "with the dropout view": {"loss.views": ["answer", "dropout"], "backbone.dropout": 0.1},
    "1 refinement step": {"model.refinement.steps": 1, **_REFINED},
    "2 refinement steps": {"model.refinement.steps": 2, **_REFINED},
    "4 refinement steps": {"model.refinement.steps": 4, **_REFINED},
}


def main() -> int:
    """Train and measure what is not kept yet, print the table."""
    arguments = parse()
    prepared = arguments.prepared or prepare(arguments.data)
    results = kept(prepared, arguments)
    for name in arguments.only or VARIANTS:
        if name in results["variants"]:
            continue
        Console(stderr=True).print(f"training: {name}")
        results["variants"][name] = run(name, prepared, arguments)
        if not arguments.quick:
            save(_file(arguments), results)
        shutil.rmtree(RUNS)
    show(results)
    return 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and dev/")
    parser.add_argument(
        "--prepared", type=Path, help="what scripts.prepare_training_data made; by default made"
    )
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=sorted(VARIANTS))
    parser.add_argument("--quick", action="store_true", help="two tasks of 80 rows; keeps nothing")
    return parser.parse_args()


def kept(prepared: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """What an earlier run by the same recipe, of the same length and seed, left."""
    found = {} if arguments.quick else load_results(_file(arguments))
    config = configure(BASE, prepared, arguments)
    if found.get("digest") == config.digest:
        return found
    return {
        "environment": environment(arguments.seed),
        "digest": config.digest,
        "steps": arguments.steps,
        "batch_size": config.data.batch_size,
        "pool": (QUICK if arguments.quick else SIZES).pool,
        "variants": {"generic": measure(InstructEncoder.from_pretrained(BASE_MODEL), arguments)},
    }


def _file(arguments: argparse.Namespace) -> str:
    return "ablation" if arguments.steps == STEPS else f"ablation-{arguments.steps}"


def prepare(data: Path) -> Path:
    """The training data, made once for each state of the scripts that make them."""
    digest = hashlib.sha256(str(data.resolve()).encode())
    for file in sorted(file for name in (*MAKERS, TABLE) for file in REPOSITORY.glob(name)):
        digest.update(file.read_bytes())
    folder = CACHE / f"training-data-{digest.hexdigest()[:16]}"
    if not folder.is_dir():
        dev = [str(file) for file in sorted((data / "dev").glob("*.jsonl"))]
        # Under another name first: an interrupted preparation is not taken for a whole one.
        partial = folder.with_suffix(".partial")
        command = [sys.executable, "-m", "scripts.prepare_training_data", str(data), str(partial)]
        subprocess.run([*command, "--without", *dev], check=True)
        partial.rename(folder)
    return folder


def run(name: str, prepared: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train one variant, or go on with it, and measure it."""
    config = configure(name, prepared, arguments)
    # A training that was interrupted is known by its digest.
    output = RUNS / config.digest[:16]
    trained = train(replace(config, run=replace(config.run, output=output)), resume=True)
    with InstructEncoder.from_pretrained(trained.folder) as encoder:
        found = measure(encoder, arguments)
    return found | {"seconds": round(trained.seconds, 1)}


def configure(name: str, prepared: Path, arguments: argparse.Namespace) -> TrainingConfig:
    """The recipe, shorter and with the changes of a variant."""
    changes = {
        **VARIANTS[name],
        "run.steps": arguments.steps,
        "run.seed": arguments.seed,
        "data.batch_size": BATCH,
        "run.save_every": 100,
        # Measured here, and by other means.
        "validation.rows": 4,
        "validation.every": arguments.steps + 1,
    }
    return load_config(recipes()[RECIPE], data=prepared, changes=list(changes.items()))


def measure(encoder: InstructEncoder, arguments: argparse.Namespace) -> dict[str, Any]:
    """Means over the tasks: re-encoding under the instruction, and as guide of the stored vectors.

    The plain backbone has no instruction to follow: for it both are its generic vectors.
    """
    tasks = TASKS[:2] if arguments.quick else TASKS
    found = [measure_task(task, encoder, arguments) for task in tasks]
    names = ("precision@10", "v_measure", "guide precision@10", "guide v_measure")
    columns = zip(*found, strict=True)
    return {name: round(mean(own), 4) for name, own in zip(names, columns, strict=True)}


def measure_task(
    task: Task, encoder: InstructEncoder, arguments: argparse.Namespace
) -> tuple[float, ...]:
    """Precision@10 and V-measure of both."""
    seed = arguments.seed
    split = cut(load(task, arguments.data, seed), QUICK if arguments.quick else SIZES)
    base = InstructEncoder.from_pretrained(BASE_MODEL)
    stored, pool = embed(base, split.texts), embed(base, split.pool_texts)
    if encoder.name == BASE_MODEL:
        return judge(*by_cosine(pool), split, seed) * 2
    ours = unit_rows(encoder.encode(split.pool_texts, instruction=task.instruction))
    taught = encoder.encode(split.texts, instruction=task.instruction)
    problem = TargetProblem.of(stored, Targets(taught, (taught != 0).any(axis=1)))
    query = problem.fit_queries(problem.strengths[0])
    space = problem.fit_space(query, seed).encoder.encode(pool)
    return *judge(*by_cosine(ours), split, seed), *judge(*by_cosine(space), split, seed)


def show(results: dict[str, Any]) -> None:
    """The table, as it came out."""
    batch, steps = results["batch_size"], results["steps"]
    table = Table(title=f"precision@10 / V-measure after {steps} steps of {batch} examples")
    for heading in ("variant", "re-encoded", "as guide", "seconds"):
        table.add_column(heading)
    for name, row in results["variants"].items():
        own = f"{row['precision@10']:.3f} / {row['v_measure']:.3f}"
        guide = f"{row['guide precision@10']:.3f} / {row['guide v_measure']:.3f}"
        table.add_row(name, own, guide, f"{row.get('seconds', 0):.0f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    sys.exit(main())
