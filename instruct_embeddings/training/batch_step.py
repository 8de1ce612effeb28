"""One batch: rows, targets, forward, loss, backward; large ones in little memory (GradCache)."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from instruct_embeddings.config import normal_form
from instruct_embeddings.errors import ConfigError, DataError
from instruct_embeddings.training.config import TrainingConfig
from instruct_embeddings.training.data.batches import Batch
from instruct_embeddings.training.data.files import Example
from instruct_embeddings.training.objective import Objective, Targets
from instruct_embeddings.training.optimiser import make_optimiser
from instruct_embeddings.training.rows import Chunk, RowMaker
from instruct_embeddings.training.student import Passes, Student
from instruct_embeddings.training.teacher import make_teacher

Piece = TypeVar("Piece")
# Padded tokens of a forward pass on a processor: larger ones fall out of its caches.
_CPU_TOKENS = 2048


@dataclass(frozen=True)
class Found:
    """What a batch gave."""

    parts: dict[str, float]  # weighted parts of the loss, by name
    examples: int
    dropped: int  # examples whose instruction leaves no room for a text


class BatchStep:
    """Computes gradients of batches, for the optimiser of the `named` parameters."""

    def __init__(self, config: TrainingConfig, student: Student) -> None:
        """Put student, teacher and objective together."""
        loss, model = config.loss, student.model
        self._config, self._device = config, student.device
        self.rows = RowMaker(
            student.template,
            model.settings,
            device=student.device,
            causal=model.backbone.causal,
            limits={s.name: s.text_tokens for s in config.data.sources if s.text_tokens},
        )
        name = loss.distillation.teacher if loss.distillation else ""
        self.teacher = self._start = make_teacher(config, student, self.rows, name)
        if name and loss.drift is not None:
            self._start = make_teacher(config, student, self.rows)
        self.passes = Passes(model, again="dropout" in loss.views).train()
        self._objective = Objective(
            loss,
            pooled=self.passes.width,
            hidden=model.backbone.hidden_size,
            teacher=self.teacher.width,
        ).to(student.device)
        projections = self._objective.named_parameters()
        self.named = student.trainable() | {f"objective.{n}": p for n, p in projections}
        soft = config.optimiser.soft_prompt_rate
        self.optimiser = make_optimiser(
            self.named, config.optimiser, lambda name: soft if name == "soft_prompts" else 1.0
        )

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
        fits, run = self.teacher.rows.fits, self._config.run
        examples = [e for e in batch.examples if self.rows.fits(e) and fits(e)]
        if len(examples) < 2:
            raise DataError(
                f"Instructions of {batch.group!r} leave no room for texts in "
                f"{self._config.model.max_tokens} tokens, such as "
                f"{batch.examples[0].instruction[:80]!r}. Shorten them, or raise [model] "
                "max_tokens."
            )
        with self.arithmetic():
            targets = self._targets(examples, batch.answers)
        chunks = self._chunks(examples)
        targets = _in_order(targets, torch.cat([chunk.indices for chunk in chunks]))
        kept: dict[str, float] = {}

        def forward(chunk: Chunk) -> dict[str, Tensor]:
            # Gradients are computed outside: autocast would round those of the loss too.
            with self.arithmetic():
                return self.passes(chunk.batch, chunk.plain)  # type: ignore[no-any-return]

        def loss(outputs: Mapping[str, Tensor]) -> Tensor:
            with self.arithmetic():
                parts = self._objective(outputs, targets)
            kept.update({name: float(value.detach()) for name, value in parts.items()})
            if not all(map(math.isfinite, kept.values())):
                raise ConfigError(
                    f"The loss is no finite number any more: {kept}. Lower [optimiser] "
                    "learning_rate, raise [loss] temperature, or compute in [run] "
                    'precision="float32".'
                )
            return torch.stack(list(parts.values())).sum() / run.accumulate

        if run.chunk:
            cached_backward(forward, chunks, loss)
        else:
            whole: Any = loss(_join([forward(chunk) for chunk in chunks]))
            whole.backward()
        return Found(kept, len(examples), len(batch.examples) - len(examples))

    def _chunks(self, examples: Sequence[Example]) -> list[Chunk]:
        rows = self._config.run.chunk or len(examples)
        tokens = _CPU_TOKENS if self._device == "cpu" else None
        return self.rows.chunks(examples, rows, tokens, plain=self._config.loss.drift is not None)

    def _targets(self, examples: Sequence[Example], further: Sequence[str]) -> Targets:
        loss, own = self._config.loss, [example.answer for example in examples]
        wrong = [answer for example in examples for answer in example.negatives]
        candidates = [*own, *_others(own, [*wrong, *further])]
        keys = [normal_form(answer) for answer in candidates]
        numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        numbered = torch.tensor([numbers[key] for key in keys], device=self._device)
        distil, more = loss.distillation, dict[str, Tensor]()
        states = distil is not None and distil.weight > 0 and distil.target == "answer_states"
        if states or "teacher" in loss.views or loss.gist is not None:
            more["answer_states"], more["whole"] = self.teacher.read(examples)
        embedded = self.teacher.embed(candidates)
        if loss.drift is not None:
            more["generic"] = self._start.embed([example.text for example in examples])
        return Targets(numbered[: len(own)], embedded, numbered, **more)


def _others(own: Sequence[str], more: Sequence[str]) -> list[str]:
    """Each further answer once, without those of the rows."""
    known = {normal_form(answer) for answer in own}
    found = {normal_form(answer): answer for answer in more}
    return [answer for key, answer in found.items() if key not in known]


def _in_order(targets: Targets, order: Tensor) -> Targets:
    """The targets of rows in the order in which chunks hold them; further candidates follow."""
    rest = torch.arange(len(order), len(targets.candidates))
    # On the CPU an index serves tensors of any device; those that nobody asked for are there too.
    every = torch.cat([order, rest])
    return Targets(**{name: value[every[: len(value)]] for name, value in vars(targets).items()})


def cached_backward(
    forward: Callable[[Piece], Mapping[str, Tensor]],
    chunks: Sequence[Piece],
    loss: Callable[[Mapping[str, Tensor]], Any],
) -> None:
    """Add the gradients of a loss over all chunks, with the activations of one chunk in memory.

    Each chunk is encoded without a graph; the loss of all outputs together, in the order of the
    chunks, gives the gradient of each output; then each chunk is encoded again, with the same
    random numbers, and its outputs' gradients go on into the parameters. `forward` gives outputs of
    shape (..., b, d).

    Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup" (RepL4NLP
    2021, arXiv 2101.06983, section 3). The gradients are those of the whole batch in one piece, for
    one more forward pass. What a forward pass changes in the model, such as the statistics of batch
    normalisation, is changed twice.
    """
    if len(chunks) == 1:
        loss(forward(chunks[0])).backward()
        return
    states, parts = [], []
    with torch.no_grad():
        for chunk in chunks:
            states.append(_random_state())
            parts.append(forward(chunk))
    # Autocast keeps half-precision weights. In older versions of torch (its issue 112583) those of
    # this pass have no graph, and the gradients of the second one would stop at them.
    torch.clear_autocast_cache()
    leaves = {name: value.requires_grad_() for name, value in _join(parts).items()}
    loss(leaves).backward()
    after = _random_state()  # of the loss too: its numbers must not come again
    gradients = {
        name: torch.split(leaf.grad, [part[name].shape[-2] for part in parts], dim=-2)
        for name, leaf in leaves.items()
        if leaf.grad is not None
    }
    for number, (chunk, state) in enumerate(zip(chunks, states, strict=True)):
        _set_random_state(state)
        outputs = forward(chunk)
        # A frozen model's outputs have no graph.
        names = [name for name in gradients if outputs[name].requires_grad]
        torch.autograd.backward(
            [outputs[name] for name in names], [gradients[name][number] for name in names]
        )
    _set_random_state(after)


def _random_state() -> tuple[Tensor, list[Tensor], Tensor | None]:
    """What torch's generators will draw next: of the CPU, of GPUs in use, of MPS."""
    in_use: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    cuda = torch.cuda.get_rng_state_all() if in_use else []
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    return torch.get_rng_state(), cuda, mps


def _set_random_state(state: tuple[Tensor, list[Tensor], Tensor | None]) -> None:
    """Draw the same numbers again."""
    cpu, cuda, mps = state
    torch.set_rng_state(cpu)
    torch.cuda.set_rng_state_all(cuda)
    if mps is not None:
        torch.mps.set_rng_state(mps)


def _join(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Outputs of the whole batch."""
    return {name: torch.cat([part[name] for part in parts], dim=-2) for name in parts[0]}
