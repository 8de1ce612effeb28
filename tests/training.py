"""Training data in the words of the tiny models: texts of a colour and a shape."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

from torch import Tensor

from instruct_embeddings.training.batch_step import BatchStep, Found
from instruct_embeddings.training.config import TrainingConfig
from instruct_embeddings.training.data.opening import TrainingData, open_data
from instruct_embeddings.training.student import Student, make_student
from tests.models import build_model, new_folder, tiny

COLOURS, SHAPES = ("red", "green", "blue"), ("ball", "cube", "ring")
# Each names the aspect, so that wordings which were held out can be understood.
WORDINGS = (
    "which {} is it",
    "what {}",
    "the {} of it",
    "in which {} is it",
    "what is the {} of it",
    "{}",
    "which is the {}",
    "what {} is every ball",
    "the round {}",
    "of which {} is it",
)


def texts() -> list[dict[str, object]]:
    """Rows with both labels: 3 colours, 3 shapes, 24 sentences each."""
    starts = ("the", "a", "every", "not a")
    ends = ("", "sits on the table", "is in the photo", "on paper", "and the data", "is not lost")
    return [
        {
            "text": " ".join(f"{start} {colour} {shape} {end}".split()),
            "labels": {"colour": colour, "shape": shape},
        }
        for start, colour, shape, end in product(starts, COLOURS, SHAPES, ends)
    ]


def write_things(folder: Path) -> Path:
    """Write `things.jsonl` and `instructions.toml`.

    Args:
        folder: Where to.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row) for row in texts()]
    (folder / "things.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    asked = {aspect: [text.format(aspect) for text in WORDINGS] for aspect in ("colour", "shape")}
    tables = [f"[things.{name}]\ninstructions = {json.dumps(own)}" for name, own in asked.items()]
    (folder / "instructions.toml").write_text("\n".join(tables), encoding="utf-8")
    return folder


@cache
def learner(kind: str) -> str:
    """The folder of a tiny model that can learn: its random weights are small, as is usual."""
    return str(build_model(new_folder(f"learner-{kind}"), kind, initializer_range=0.1))


def tiny_config(folder: Path, kind: str = "bert", **changes: object) -> TrainingConfig:
    """A run over a tiny model; `write_things(folder)` must have been called.

    Args:
        folder: Of the data; the run goes into `run` inside it.
        kind: Type of the tiny model.
        changes: Values by dotted name with "__" for the dots, such as run__steps=3.
    """
    tables: dict[str, dict[str, object]] = {
        "model": {"base_model": str(tiny(kind)), "soft_prompts": 2, "pooling": "dual_anchor"}
        | {"max_tokens": 60, "generic_max_tokens": 60},
        "backbone": {"rank": 8, "alpha": 8},
        "data": {
            "instructions": str(folder / "instructions.toml"),
            "batch_size": 16,
            "sources": [{"path": str(folder / "things.jsonl")}],
        },
        "loss": {"temperature": 0.1},
        "optimiser": {"learning_rate": 3e-3, "soft_prompt_rate": 3.0},
        "run": {"steps": 4, "device": "cpu", "output": str(folder / "run"), "log_every": 1},
    }
    for name, value in changes.items():
        *parents, last = name.split("__")
        table = tables
        for parent in parents:
            table = table.setdefault(parent, {})  # type: ignore[assignment]
        table[last] = value  # type: ignore[assignment]
    return TrainingConfig.from_dict(tables)


@dataclass(frozen=True)
class Parts:
    """What a run is made of, before its first step."""

    config: TrainingConfig
    student: Student
    step: BatchStep
    data: TrainingData

    def gradients(self, *batches: int) -> dict[str, Tensor]:
        """Gradients after some batches by name of the parameter, where it has one."""
        self.student.model.zero_grad()
        self.backward(*batches)
        return {n: p.grad.clone() for n, p in self.step.named.items() if p.grad is not None}

    def backward(self, *batches: int) -> list[Found]:
        """Add the gradients of batches, given by their numbers."""
        return [self.step.backward(self.data.source.batch(number)) for number in batches or (0,)]


@contextmanager
def open_parts(config: TrainingConfig) -> Iterator[Parts]:
    """Student, data and step of a configuration."""
    student = make_student(config.model, config.backbone, device="cpu", seed=config.run.seed)
    with open_data(config.data, config.validation, seed=config.run.seed) as data:
        yield Parts(config, student, BatchStep(config, student), data)
