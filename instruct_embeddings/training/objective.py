"""The loss of a batch: the parts that a configuration switches on, put together.

InstEmb (ICML 2026) for views and distillation, GIRCSE (ICLR 2026, arXiv 2509.24291) for refinement.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from instruct_embeddings.training.losses import (
    drift,
    guided_exclusions,
    info_nce,
    iterative_refinement,
    matryoshka,
    representation_distillation,
    same_answer_mask,
    supervised_contrastive,
)
from instruct_embeddings.training.settings import DistillationConfig, LossConfig
from instruct_embeddings.training.student import AGAIN, GENERIC, POOLED, PRIMARY, SOFT

Loss: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Targets:
    """What a batch is pulled to; no gradient flows into it."""

    answers: Tensor  # number of each row's answer, shape (b,)
    candidates: Tensor  # embeddings of the answers of the rows, then of further ones, shape (n, e)
    candidate_answers: Tensor  # number of the answer of each candidate, shape (n,)
    # The teacher's states over the answer, shape (b, e), where asked for.
    answer_states: Tensor | None = None
    # The teacher's embedding of text, instruction and answer, shape (b, e), likewise.
    whole: Tensor | None = None
    # The frozen generic embeddings of the texts, shape (b, e), likewise.
    generic: Tensor | None = None


class Objective(nn.Module):
    """The loss of a configuration.

    Where teacher and student differ in width, learned linear layers carry the student's embeddings
    over; they are trained along and are no part of a checkpoint.
    """

    def __init__(self, config: LossConfig, *, pooled: int, hidden: int, teacher: int) -> None:
        """Prepare the projections from the student's embeddings and hidden states."""
        super().__init__()
        self.config = config
        self.project_pooled = _projection(pooled, teacher)
        self.project_hidden = _projection(hidden, teacher)

    def forward(self, outputs: Mapping[str, Tensor], targets: Targets) -> dict[str, Tensor]:
        """The parts of the loss by name, each with its weight in it; their sum is the loss.

        `outputs` are those of `Passes.forward`, `targets` of the same rows.
        """
        config = self.config
        last = outputs[POOLED][-1]
        parts: dict[str, Tensor] = {}
        if config.views:
            parts["contrastive"] = self._contrastive(outputs, targets)
        if config.supervised:
            parts["supervised"] = config.supervised * self._supervised(last, targets.answers)
        if config.distillation is not None and config.distillation.weight:
            parts["distillation"] = self._distil(config.distillation, outputs, targets)
        if config.drift is not None:
            start = _needed(targets.generic, "drift")
            parts["drift"] = config.drift.weight * drift(outputs[GENERIC], start)
        return parts

    def _contrastive(self, outputs: Mapping[str, Tensor], targets: Targets) -> Tensor:
        """GIRCSE's refinement over the steps, where there are several."""
        if self.config.anchors == "both":
            anchors = [
                self._viewed(outputs[name], outputs.get(f"{AGAIN}{name}"), targets, hidden=True)
                for name in (PRIMARY, SOFT)
            ]
            return torch.stack(anchors).mean()
        again = outputs.get(f"{AGAIN}{POOLED}")
        second = None if again is None else again[-1]
        steps = torch.stack([self._viewed(z, second, targets) for z in outputs[POOLED]])
        if len(steps) == 1:
            return steps[0]
        weight = self.config.refinement.weight if self.config.refinement else 1.0
        return iterative_refinement(steps, weight=weight)

    def _supervised(self, z: Tensor, answers: Tensor) -> Tensor:
        temperature = self.config.temperature
        return self._sized(lambda v: supervised_contrastive(v, answers, temperature=temperature))(z)

    def _sized(self, loss: Loss) -> Loss:
        """The loss over several lengths of the embedding, where asked for."""
        sizes = self.config.matryoshka
        if sizes is None:
            return loss
        return lambda z: matryoshka(loss, z, sizes.dimensions, weights=sizes.weights or None)

    def _viewed(
        self, z: Tensor, again: Tensor | None, targets: Targets, *, hidden: bool = False
    ) -> Tensor:
        """The mean over the views of InfoNCE, each against its own candidates."""
        project = self.project_hidden if hidden else self.project_pooled

        def loss(z: Tensor) -> Tensor:
            losses = []
            for view in self.config.views:
                if view == "dropout":
                    own, known = z, _needed(again, view)
                else:
                    own = z if project is None else _through(project, z)
                    known = targets.candidates if view == "answer" else _needed(targets.whole, view)
                # A shortened embedding is compared with candidates of its length.
                losses.append(self._nce(own, known[:, : own.shape[1]], targets))
            return torch.stack(losses).mean()

        return self._sized(loss)(z)

    def _nce(self, z: Tensor, candidates: Tensor, targets: Targets) -> Tensor:
        """InfoNCE of (b, d) against (n, d) candidates, the first of which belong to the rows."""
        config = self.config
        # Candidates of every view stand in the order of the answers.
        numbers = targets.candidate_answers[: len(candidates)]
        positive = torch.arange(len(z), device=z.device)
        excluded = same_answer_mask(targets.answers, numbers)
        if config.gist is not None:
            rows = _needed(targets.whole, "gist")
            known = targets.candidates[: len(candidates)]
            excluded |= guided_exclusions(rows, known, positive, margin=config.gist.margin)
        return info_nce(z, candidates, positive, temperature=config.temperature, excluded=excluded)

    def _distil(
        self, config: DistillationConfig, outputs: Mapping[str, Tensor], targets: Targets
    ) -> Tensor:
        # Without soft prompts the embedding itself is pulled.
        soft = outputs.get(SOFT)
        student = outputs[POOLED][-1] if soft is None else soft
        project = self.project_pooled if soft is None else self.project_hidden
        if config.target == "answer_embedding":
            teacher = targets.candidates[: len(student)]
        else:
            teacher = _needed(targets.answer_states, "distillation")
        loss = representation_distillation(student, teacher, kind=config.kind, projection=project)
        return config.weight * loss


def _projection(own: int, teacher: int) -> nn.Linear | None:
    return None if own == teacher else nn.Linear(own, teacher, bias=False)


def _through(project: nn.Linear, z: Tensor) -> Tensor:
    return nn.functional.linear(z.float(), project.weight[:, : z.shape[1]])


def _needed(states: Tensor | None, what: str) -> Tensor:
    if states is None:
        raise RuntimeError(f"The states for {what} were not computed.")
    return states
