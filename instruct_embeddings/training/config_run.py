"""Settings of the optimiser and of the run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from instruct_embeddings.config import at_least
from instruct_embeddings.encoder.options import one_of
from instruct_embeddings.training._tables import as_number, as_path, as_share, as_text


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW and its schedule: `[optimiser]`.

    Attributes:
        learning_rate: The highest.
        soft_prompt_rate: Soft prompts learn so many times as fast.
        weight_decay: Of matrices; soft prompts, biases and norms do not decay.
        warmup: Share of the steps in which the rate rises.
        schedule: How it falls afterwards.
        clip: Largest norm of the gradient; 0 does not clip.
    """

    learning_rate: float = 3e-4
    soft_prompt_rate: float = 10.0
    weight_decay: float = 0.01
    warmup: float = 0.05
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    clip: float = 1.0

    def __post_init__(self) -> None:
        where = "[optimiser]"
        for name in ("learning_rate", "soft_prompt_rate"):
            as_number(self, where, name, above=0.0, low=0.0)
        for name in ("weight_decay", "clip"):
            as_number(self, where, name, low=0.0)
        as_share(self, where, "warmup")
        one_of(f"{where} schedule", self.schedule, ("linear", "cosine", "constant"))


@dataclass(frozen=True)
class RunConfig:
    """How long, where and how exactly: `[run]`.

    Attributes:
        steps: Steps of the optimiser.
        seed: Of everything that is drawn.
        accumulate: Batches in a step.
        chunk: Rows that are computed at a time (GradCache), so that a batch may be larger than
            memory; 0 computes the whole batch at once.
        precision: Type of the arithmetic.
        device: A torch device; by default the best one.
        log_every: Steps between lines of the log.
        save_every: Steps between states from which a run can be resumed.
        output: Folder of the run, relative to the working directory.
    """

    steps: int = 1000
    seed: int = 0
    accumulate: int = 1
    chunk: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    device: str | None = None
    log_every: int = 20
    save_every: int = 500
    output: Path = Path("runs/model")

    def __post_init__(self) -> None:
        where = "[run]"
        for name in ("steps", "accumulate", "log_every", "save_every"):
            at_least(f"{where} {name}", getattr(self, name), 1, optional=False)
        for name in ("seed", "chunk"):
            at_least(f"{where} {name}", getattr(self, name), 0, optional=False)
        one_of(f"{where} precision", self.precision, ("float32", "bfloat16"))
        if self.device is not None:
            as_text(self, where, "device")
        as_path(self, where, "output")
