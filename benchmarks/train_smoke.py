"""Training end to end in a minute: raw JSONL in, checkpoints out, learned or not.

    python -m benchmarks.train_smoke

Three tiny models with random weights are trained by the command line on sentences about a colour
and a shape, and measured on sentences and wordings of the instructions that they never saw:
precision@5 of the nearest neighbours under a new wording for the colour and for the shape. Fails
where one learned nothing.
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from instruct_embeddings import InstructEncoder
from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder.checkpoint import create_checkpoint
from instruct_embeddings.encoder.settings import EncoderSettings
from instruct_embeddings.transform.quality import precision_at_k
from tests.models import tiny
from tests.training import WORDINGS, texts

K = 5
LEAST_GAIN = 0.2
ASPECTS = ("colour", "shape")
KNOWN, HELD_OUT = WORDINGS[:-1], WORDINGS[-1]


@dataclass(frozen=True)
class Trial:
    """One tiny model to train."""

    name: str
    kind: str
    model: str
    steps: int


TRIALS = (
    Trial("InstEmb, bidirectional", "bert", 'soft_prompts = 2\npooling = "dual_anchor"', 200),
    Trial("InstEmb, causal", "llama", 'soft_prompts = 2\npooling = "dual_anchor"', 120),
    Trial("GIRCSE, causal", "llama", 'pooling = "last_token"\n[model.refinement]\nsteps = 3', 900),
)


def main() -> int:
    """Train, measure before and after, print."""
    table = Table(title=f"precision@{K} on sentences and wordings never seen; chance is 0.33")
    for heading in ("method", "steps", "seconds", "before", "after"):
        table.add_column(heading)
    learned = True
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        train, test = split()
        write(folder, train)
        for trial in TRIALS:
            before, after, seconds = run(trial, folder, test)
            learned &= after - before >= LEAST_GAIN
            numbers = (f"{seconds:.0f}", f"{before:.3f}", f"{after:.3f}")
            table.add_row(trial.name, str(trial.steps), *numbers)
    Console().print(table)
    if not learned:
        print(f"A method gained less than {LEAST_GAIN}", file=sys.stderr)
    return 0 if learned else 1


def split() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Sentences to learn from, and a quarter held out."""
    rows = texts()
    held = set(np.random.default_rng(0).permutation(len(rows))[: len(rows) // 4].tolist())
    return (
        [row for place, row in enumerate(rows) if place not in held],
        [row for place, row in enumerate(rows) if place in held],
    )


def write(folder: Path, rows: list[dict[str, Any]]) -> None:
    """The raw files of a user."""
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "things.jsonl").write_text(lines, encoding="utf-8")
    tables = "".join(
        f"[things.{aspect}]\ninstructions = {json.dumps([text.format(aspect) for text in KNOWN])}\n"
        for aspect in ASPECTS
    )
    (folder / "instructions.toml").write_text(tables, encoding="utf-8")


def run(trial: Trial, folder: Path, test: list[dict[str, Any]]) -> tuple[float, float, float]:
    """Precision before and after, and seconds of training."""
    name = trial.name.replace(", ", "-").lower()
    config = folder / f"{name}.toml"
    config.write_text(toml(trial, folder / name), encoding="utf-8")
    start = time.perf_counter()
    command = [sys.executable, "-m", "instruct_embeddings.cli", "train", str(config)]
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - start
    trained = folder / name / "checkpoint"
    saved = json.loads((trained / "instruct_encoder.json").read_text("utf-8"))
    saved |= {"adapter": False, "backbone": False}
    untrained = create_checkpoint(folder / f"{name}-start", EncoderSettings.from_dict(saved))
    return precision(untrained, test), precision(trained, test), seconds


def toml(trial: Trial, output: Path) -> str:
    """The whole run of a trial."""
    return f"""
[model]
base_model = {json.dumps(str(tiny(trial.kind)))}
max_tokens = 60
generic_max_tokens = 60
{trial.model}
[backbone]
train = "full"
freeze_embeddings = false
[data]
instructions = "instructions.toml"
batch_size = 16
sources = [{{ path = "things.jsonl" }}]
[loss]
temperature = 0.1
[optimiser]
learning_rate = 3e-3
soft_prompt_rate = 3.0
[run]
steps = {trial.steps}
device = "cpu"
output = {json.dumps(str(output))}
"""


def precision(checkpoint: Path, test: list[dict[str, Any]]) -> float:
    """Mean share of the k nearest sentences with the same label, over both aspects."""
    found = []
    with InstructEncoder.from_pretrained(checkpoint, device="cpu") as encoder:
        for aspect in ASPECTS:
            instruction = HELD_OUT.format(aspect)
            vectors = encoder.encode([str(row["text"]) for row in test], instruction=instruction)
            found.append(neighbours(vectors, [row["labels"][aspect] for row in test]))
    return float(np.mean(found))


def neighbours(vectors: FloatArray, labels: list[str]) -> float:
    """Precision@k of unit vectors (n, d) against each other."""
    known = np.array(labels)
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    return float(precision_at_k(scores, known[:, None] == known, K).mean())


if __name__ == "__main__":
    sys.exit(main())
