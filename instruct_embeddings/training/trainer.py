"""The training run: InstEmb and GIRCSE, resumable to the bit.

Every draw of a step (batch, paraphrase, dropout) is a function of seed and step alone, so that an
interrupted run that is resumed ends with the same weights as one that was not. The loop is our own:
`transformers.Trainer` would need a data loader, a sampler, a collator and callbacks for saving in
safetensors and JSON alone, GradCache and steps that are functions of their number, which is more
code than the loop.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from instruct_embeddings.errors import DataError
from instruct_embeddings.training.batch_step import BatchStep
from instruct_embeddings.training.config import TrainingConfig
from instruct_embeddings.training.data.batches import BatchSource
from instruct_embeddings.training.data.opening import TrainingData, open_data
from instruct_embeddings.training.log import SCORE, RunLog, TrainEvent, TrainResult, Window
from instruct_embeddings.training.optimiser import Processes, seed_of, update
from instruct_embeddings.training.state import (
    CHECKPOINT,
    Progress,
    load_state,
    recover,
    resumed,
    save_state,
)
from instruct_embeddings.training.student import make_student
from instruct_embeddings.training.validation import validate


def train(
    config: TrainingConfig,
    *,
    resume: bool = False,
    on_event: Callable[[TrainEvent], None] = lambda event: None,
) -> TrainResult:
    """Train an encoder.

    Writes into `[run] output`: `checkpoint/`, the result, which is the best one by validation where
    anything is held out; `state/`, from which a run goes on; `log.jsonl` and `loss.png`.

    Args:
        config: The whole run.
        resume: Go on from `state/`; start anew where there is none.
        on_event: Called every `[run] log_every` steps and after each validation, in the main
            process. What it raises ends the run.

    Raises:
        ConfigError: Settings do not fit the model; the loss is no finite number any more.
        DataError: A file cannot be used or changed; no text of a batch fits into its rows.
        ModelNotFoundError, CheckpointError: A model or the folder of the run cannot be used.
        MissingExtraError: accelerate, matplotlib or peft is not installed.
    """
    processes, output = Processes(config.run.device), config.run.output
    if processes.main:
        recover(output)
    processes.wait()
    progress = resumed(output, config.digest, resume=resume)
    with open_data(config.data, config.validation, seed=config.run.seed) as data:
        drawn = [(g.name, g.rows, g.answers, g.probability) for g in data.groups]
        digest = hashlib.sha256(repr(drawn).encode()).hexdigest()
        if progress.data not in ("", digest):
            raise DataError(
                f"The training files of the run in {str(output)!r} have changed since it started. "
                "Resume with the files of that time, or choose another [run] output."
            )
        return _Run(config, data, processes, replace(progress, data=digest), on_event).go()


def take_step(
    config: TrainingConfig,
    own: BatchStep,
    source: BatchSource,
    processes: Processes,
    step: int,
    window: Window,
) -> tuple[Window, int]:
    """One step of the optimiser: the window with its batches, and the examples left out."""
    run, dropped = config.run, 0
    # Dropout of a step does not depend on the steps before.
    torch.manual_seed(seed_of(run.seed, step, processes.index))
    for part in range(run.accumulate):
        batch = source.batch(step * run.accumulate + part, processes.index)
        found = own.backward(batch)
        window = window.batch(found.parts, found.examples * processes.count)
        dropped += found.dropped
    processes.average(own.named.values())
    update(own.optimiser, own.named, config.optimiser, step, run.steps)
    return window, dropped


class _Run:
    def __init__(
        self,
        config: TrainingConfig,
        data: TrainingData,
        processes: Processes,
        progress: Progress,
        on_event: Callable[[TrainEvent], None],
    ) -> None:
        self.config, self.data, self.processes = config, data, processes
        self.progress, self.on_event = progress, on_event
        self.output = config.run.output
        self.log = RunLog(self.output, resume_at=progress.step) if processes.main else None
        self.student = make_student(
            config.model, config.backbone, device=processes.device, seed=config.run.seed
        )
        self.step = BatchStep(config, self.student)
        if progress.step:
            load_state(self.output, self.step.named, self.step.optimiser)

    def go(self) -> TrainResult:
        run, held_out = self.config.run, self.config.validation
        patience = held_out.patience if held_out else 0
        # A run that is resumed may have lost its patience already.
        while self.progress.step < run.steps and not 0 < patience <= self.progress.waited:
            self._one_step()
            done = self.progress.step
            last = done == run.steps
            measured = self._measure(last)
            if measured or done % run.log_every == 0 or last:
                self._report(measured)
            if done % run.save_every == 0 and not last:
                self._save()
        self._save()
        folder, progress = self.output / CHECKPOINT, self.progress
        if self.log is not None:
            if progress.best is None:
                self.student.save(folder)
            self.log.plot()
        self.processes.wait()
        early = progress.step < run.steps
        return TrainResult(folder, progress.step, progress.best, early, progress.seconds)

    def _one_step(self) -> None:
        done, started = self.progress, time.perf_counter()
        window, dropped = take_step(
            self.config, self.step, self.data.source, self.processes, done.step, done.window
        )
        seconds = time.perf_counter() - started
        self.progress = replace(
            done,
            step=done.step + 1,
            seconds=done.seconds + seconds,
            examples=done.examples + window.examples - done.window.examples,
            dropped=done.dropped + dropped,
            window=replace(window, seconds=window.seconds + seconds),
        )

    def _measure(self, last: bool) -> dict[str, float] | None:
        """Measure what is held out, where it is time to, and keep the best checkpoint."""
        held_out, done, found = self.config.validation, self.progress, dict[str, float]()
        if held_out is None or (done.step % held_out.every and not last):
            return None
        started = time.perf_counter()
        if self.processes.main:
            step = self.step
            with step.arithmetic():
                found = validate(step.passes, step.rows, step.teacher, self.data.validation)
        found = self.processes.broadcast(found)
        if not found:
            return None
        score = found[SCORE]
        gained = done.best is None or score > done.best
        if gained and self.processes.main:
            self.student.save(self.output / CHECKPOINT)
        self.progress = replace(
            done,
            best=score if gained else done.best,
            best_step=done.step if gained else done.best_step,
            waited=0 if gained else done.waited + 1,
            seconds=done.seconds + time.perf_counter() - started,
        )
        return found

    def _report(self, measured: dict[str, float] | None) -> None:
        event = self.progress.window.event(self.progress.step, self.config.run.steps, measured)
        self.progress = replace(self.progress, window=Window())
        if self.log is not None:
            self.log.write(event)
            self.on_event(event)

    def _save(self) -> None:
        if self.processes.main:
            save_state(self.output, self.progress, self.step.named, self.step.optimiser)
        self.step.forget()
        self.processes.wait()
