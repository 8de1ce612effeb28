"""One batch: rows, targets, forward, loss, backward; large ones in little memory (GradCache)."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from instruct_embeddings.config import normal_form
from instruct_embeddings.errors import ConfigError, DataError
from instruct_embeddings.training.config import TrainingConfig
from instruct_embeddings.training.data.batches import Batch
from instruct_embeddings.training.data.files import Example
from instruct_embeddings.training.objective import Objective, Targets
from instruct_embeddings.training.rows import Chunk, RowMaker
from instruct_embeddings.training.student import AGAIN, POOLED, Passes, Student
from instruct_embeddings.training.teacher import make_start, make_teacher

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
    """Computes gradients of batches."""

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
        loss(_join([forward(chunk) for chunk in chunks], stacked)).backward()

    def _chunks(self, examples: Sequence[Example]) -> list[Chunk]:
        rows = self._config.run.chunk or len(examples)
        tokens = _CPU_TOKENS if self._device == "cpu" else None
        return self.rows.chunks(examples, rows, tokens, plain=self._config.loss.drift is not None)

    def _targets(self, examples: Sequence[Example], further: Sequence[str]) -> Targets:
        own = [example.answer for example in examples]
        wrong = [answer for example in examples for answer in example.negatives]
        candidates = [*own, *_others(own, [*wrong, *further])]
        keys = [normal_form(answer) for answer in candidates]
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
    known = {normal_form(answer) for answer in own}
    found = {normal_form(answer): answer for answer in more}
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


def cached_backward(
    forward: Callable[[Piece], Mapping[str, Tensor]],
    chunks: Sequence[Piece],
    loss: Callable[[dict[str, Tensor]], Tensor],
    *,
    stacked: Collection[str] = (),
) -> Tensor:
    """Add the gradients of a loss over all chunks, with the activations of one chunk in memory.

    1. Each chunk is encoded without a graph.
    2. The loss of all outputs together gives the gradient of each output.
    3. Each chunk is encoded again, with the same random numbers, and its outputs' gradients go on
       into the parameters.

    Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup" (RepL4NLP
    2021, arXiv 2101.06983, section 3). The gradients are those of the whole batch in one piece, for
    one more forward pass. Parameters that only the loss uses get theirs in step 2. What a forward
    pass changes in the model, such as the statistics of batch normalisation, is changed twice.

    Args:
        forward: From a chunk to its outputs, each of shape (b, ...).
        chunks: The parts of the batch. A single one is encoded once only.
        loss: From the outputs of the whole batch, in the order of the chunks, to a scalar.
        stacked: Names of outputs with the batch on the second axis, such as (s, b, d).

    Returns:
        The loss, a scalar without a graph.

    Raises:
        ConfigError: There is no chunk, or chunks have outputs of other names.
    """
    if not chunks:
        raise ConfigError("chunks must be one or more parts of a batch, got none")
    if len(chunks) == 1:
        value = loss(dict(forward(chunks[0])))
        value.backward()  # type: ignore[no-untyped-call]
        return value.detach()
    states, parts = _encode(forward, chunks)
    leaves = _join(parts, stacked)
    for tensor in leaves.values():
        tensor.requires_grad_(tensor.is_floating_point())
    value = loss(leaves)
    value.backward()  # type: ignore[no-untyped-call]
    after = RandomState.now()  # of the loss too: its numbers must not come again
    gradients = _split(leaves, parts, stacked)
    for chunk, state, gradient in zip(chunks, states, gradients, strict=True):
        state.restore()
        _go_on(forward(chunk), gradient)
    after.restore()
    return value.detach()


@dataclass(frozen=True)
class RandomState:
    """What torch's generators will draw next."""

    cpu: Tensor
    cuda: tuple[Tensor, ...]
    mps: Tensor | None

    @classmethod
    def now(cls) -> "RandomState":
        """The state of the CPU, and of GPUs in use."""
        cuda = torch.cuda.get_rng_state_all() if _cuda_in_use() else []
        mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
        return cls(torch.get_rng_state(), tuple(cuda), mps)

    def restore(self) -> None:
        """Draw the same numbers again."""
        torch.set_rng_state(self.cpu)
        for device, state in enumerate(self.cuda):
            torch.cuda.set_rng_state(state, device)
        if self.mps is not None:
            torch.mps.set_rng_state(self.mps)


def _cuda_in_use() -> bool:
    in_use: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return in_use


def _encode(
    forward: Callable[[Piece], Mapping[str, Tensor]], chunks: Sequence[Piece]
) -> tuple[list[RandomState], list[Mapping[str, Tensor]]]:
    """Outputs without a graph, and the random state before each chunk."""
    states, parts = [], []
    with torch.no_grad():
        for chunk in chunks:
            states.append(RandomState.now())
            parts.append(forward(chunk))
            if parts[-1].keys() != parts[0].keys():
                raise ConfigError(
                    f"chunks must have the same outputs, got {sorted(parts[0])} and "
                    f"{sorted(parts[-1])}"
                )
    # Autocast keeps half-precision weights. In older versions of torch (its issue 112583) those of
    # this pass have no graph, and the gradients of step 3 would stop at them.
    torch.clear_autocast_cache()
    return states, parts


def _join(parts: Sequence[Mapping[str, Tensor]], stacked: Collection[str]) -> dict[str, Tensor]:
    """Outputs of the whole batch."""
    return {
        name: torch.cat([part[name] for part in parts], dim=int(name in stacked))
        for name in parts[0]
    }


def _split(
    leaves: Mapping[str, Tensor],
    parts: Sequence[Mapping[str, Tensor]],
    stacked: Collection[str],
) -> list[dict[str, Tensor]]:
    """Gradients of the outputs of each chunk; outputs that the loss did not use have none."""
    gradients: list[dict[str, Tensor]] = [{} for _ in parts]
    for name, leaf in leaves.items():
        if leaf.grad is None:
            continue
        axis = int(name in stacked)
        sizes = [part[name].shape[axis] for part in parts]
        for own, piece in zip(gradients, torch.split(leaf.grad, sizes, dim=axis), strict=True):
            own[name] = piece
    return gradients


def _go_on(outputs: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
    """Carry gradients of outputs on into the parameters; a frozen teacher's outputs have none."""
    names = [name for name in gradients if outputs[name].requires_grad]
    if names:
        torch.autograd.backward([outputs[n] for n in names], [gradients[n] for n in names])
