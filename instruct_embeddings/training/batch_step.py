"""One batch: rows, targets, forward, loss, backward."""

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from instruct_embeddings.errors import ConfigError, DataError
from instruct_embeddings.training.config import TrainingConfig
from instruct_embeddings.training.data.batches import Batch
from instruct_embeddings.training.data.examples import Example, answer_key
from instruct_embeddings.training.grad_cache import cached_backward
from instruct_embeddings.training.objective import Objective, Targets
from instruct_embeddings.training.rows import Chunk, RowMaker
from instruct_embeddings.training.student import AGAIN, POOLED, Passes, Student
from instruct_embeddings.training.teacher import make_start, make_teacher

# Padded tokens of a forward pass on a processor: larger ones fall out of its caches.
_CPU_TOKENS = 2048


@dataclass(frozen=True)
class Found:
    """What a batch gave.

    Attributes:
        parts: Weighted parts of the loss, by name.
        examples: Examples used.
        dropped: Examples whose instruction leaves no room for a text.
    """

    parts: dict[str, float]
    examples: int
    dropped: int


class BatchStep:
    """Computes gradients of batches.

    Attributes:
        rows: Tokenises for the student.
        teacher: Embeds answers.
        passes: The student's forward pass.
    """

    def __init__(self, config: TrainingConfig, student: Student) -> None:
        """Put student, teacher and objective together.

        Raises:
            ModelNotFoundError, CheckpointError: The teacher cannot be loaded.
        """
        loss, model = config.loss, student.model
        self._config, self._device = config, student.device
        self.rows = RowMaker(
            student.template,
            model.settings,
            device=student.device,
            causal=model.backbone.causal,
            limits={s.name: s.text_tokens for s in config.data.sources if s.text_tokens},
        )
        self.teacher = make_teacher(config, student, self.rows)
        named = loss.distillation is not None and bool(loss.distillation.teacher)
        own_start = loss.drift is not None and named
        self._start = make_start(config, student, self.rows) if own_start else self.teacher
        self.passes = Passes(model, again="dropout" in loss.views).train()
        refined, hidden = model.settings.refinement.steps > 0, model.backbone.hidden_size
        self._objective = Objective(
            loss,
            pooled=hidden if refined else model.pooler.dimension,
            hidden=hidden,
            teacher=self.teacher.width,
        ).to(student.device)

    def own_parameters(self) -> dict[str, nn.Parameter]:
        """The projections of the objective."""
        return {f"objective.{name}": p for name, p in self._objective.named_parameters()}

    def arithmetic(self) -> AbstractContextManager[Any]:
        """The type of the arithmetic, as a context of forward passes."""
        if self._config.run.precision == "float32":
            return nullcontext()
        return torch.autocast(torch.device(self._device).type, dtype=torch.bfloat16)

    def forget(self) -> None:
        """Embed answers anew; see `Teacher.forget`."""
        self.teacher.forget()
        self._start.forget()

    def backward(self, batch: Batch) -> Found:
        """Add the gradients of a batch, as its part of the batches of a step.

        Raises:
            DataError: Fewer than two examples of the batch can be used.
            ConfigError: The loss is no finite number.
        """
        examples = self._usable(batch)
        with self.arithmetic():
            targets = self._targets(examples, batch.answers)
        chunks = self._chunks(examples)
        targets = _in_order(targets, torch.cat([chunk.indices for chunk in chunks]))
        kept: dict[str, float] = {}

        def loss(outputs: Mapping[str, Tensor]) -> Tensor:
            with self.arithmetic():
                parts = self._objective(outputs, targets)
            kept.update({name: float(value.detach()) for name, value in parts.items()})
            _check_finite(kept)
            total: Tensor = torch.stack(list(parts.values())).sum()
            return total / self._config.run.accumulate

        self._differentiate(chunks, loss)
        return Found(kept, len(examples), len(batch.examples) - len(examples))

    def _usable(self, batch: Batch) -> list[Example]:
        found = [e for e in batch.examples if self.rows.fits(e) and self.teacher.fits(e)]
        if len(found) < 2:
            raise DataError(
                f"Instructions of {batch.group!r} leave no room for texts in "
                f"{self._config.model.max_tokens} tokens, such as "
                f"{batch.examples[0].instruction[:80]!r}. Shorten them, or raise [model] "
                "max_tokens."
            )
        return found

    def _differentiate(self, chunks: Sequence[Chunk], loss: Any) -> None:
        def forward(chunk: Chunk) -> dict[str, Tensor]:
            # Gradients are computed outside: autocast would round those of the loss too.
            with self.arithmetic():
                return self.passes(chunk.batch, chunk.plain)  # type: ignore[no-any-return]

        # The batch is the second axis of these.
        stacked = {POOLED, f"{AGAIN}{POOLED}"}
        if self._config.run.chunk:
            cached_backward(forward, chunks, loss, stacked=stacked)
            return
        found = [forward(chunk) for chunk in chunks]
        joined = {
            name: torch.cat([one[name] for one in found], dim=int(name in stacked))
            for name in found[0]
        }
        loss(joined).backward()

    def _chunks(self, examples: Sequence[Example]) -> list[Chunk]:
        rows = self._config.run.chunk or len(examples)
        tokens = _CPU_TOKENS if self._device == "cpu" else None
        return self.rows.chunks(examples, rows, tokens, plain=self._config.loss.drift is not None)

    def _targets(self, examples: Sequence[Example], further: Sequence[str]) -> Targets:
        own = [example.answer for example in examples]
        wrong = [answer for example in examples for answer in example.negatives]
        candidates = [*own, *_others(own, [*wrong, *further])]
        keys = [answer_key(answer) for answer in candidates]
        numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        numbered = torch.tensor([numbers[key] for key in keys], device=self._device)
        states = self.teacher.read(examples) if self._reads_answers() else None
        texts = [example.text for example in examples]
        return Targets(
            answers=numbered[: len(own)],
            candidates=self.teacher.embed(candidates),
            candidate_answers=numbered,
            answer_states=states.answer if states else None,
            whole=states.whole if states else None,
            generic=self._start.embed(texts) if self._config.loss.drift else None,
        )

    def _reads_answers(self) -> bool:
        loss = self._config.loss
        distil = loss.distillation
        states = distil is not None and distil.weight > 0 and distil.target == "answer_states"
        return states or "teacher" in loss.views or loss.gist is not None


def _others(own: Sequence[str], more: Sequence[str]) -> list[str]:
    """Each further answer once, without those of the rows."""
    known = {answer_key(answer) for answer in own}
    found = {answer_key(answer): answer for answer in more}
    return [answer for key, answer in found.items() if key not in known]


def _check_finite(parts: Mapping[str, float]) -> None:
    if not all(math.isfinite(value) for value in parts.values()):
        raise ConfigError(
            f"The loss is no finite number any more: {dict(parts)}. Lower [optimiser] "
            "learning_rate, raise [loss] temperature, or compute in [run] "
            'precision="float32".'
        )


def _in_order(targets: Targets, order: Tensor) -> Targets:
    """The targets of rows in the order in which chunks hold them."""
    order = order.to(targets.candidates.device)
    rest = torch.arange(len(order), len(targets.candidates), device=order.device)
    every = torch.cat([order, rest])

    def pick(states: Tensor | None) -> Tensor | None:
        return None if states is None else states[order]

    return Targets(
        answers=targets.answers[order],
        candidates=targets.candidates[every],
        candidate_answers=targets.candidate_answers[every],
        answer_states=pick(targets.answer_states),
        whole=pick(targets.whole),
        generic=pick(targets.generic),
    )
