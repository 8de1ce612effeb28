"""The loss of a batch: the parts that a configuration switches on, put together.

InstEmb (ICML 2026) for views and distillation, GIRCSE (ICLR 2026, arXiv 2509.24291) for refinement.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor, nn

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training.losses import (
    guided_exclusions,
    info_nce,
    iterative_refinement,
    matryoshka,
    representation_distillation,
    supervised_contrastive,
)
from instruct_embeddings.training.settings import DistillationConfig, LossConfig
from instruct_embeddings.training.student import AGAIN, GENERIC, POOLED, PRIMARY, SOFT

Loss: TypeAlias = Callable[[Tensor], Tensor]


def _none() -> Tensor:
    return torch.empty(0)


@dataclass(frozen=True)
class Targets:
    """What a batch is pulled to; no gradient flows into it."""

    answers: Tensor  # number of each row's answer, shape (b,)
    candidates: Tensor  # embeddings of the answers of the rows, then of further ones, shape (n, e)
    candidate_answers: Tensor  # number of the answer of each candidate, shape (n,)
    # Each of shape (b, e), and empty where the loss does not ask for it: the teacher's states over
    # the answer, its embedding of text, instruction and answer, the texts' first generic embedding.
    answer_states: Tensor = field(default_factory=_none)
    whole: Tensor = field(default_factory=_none)
    generic: Tensor = field(default_factory=_none)


class Objective(nn.Module):
    """The loss of a configuration.

    Where teacher and student differ in width, learned linear layers carry the student's embeddings
    over; they are trained along and are no part of a checkpoint.
    """

    def __init__(self, config: LossConfig, *, pooled: int, hidden: int, teacher: int) -> None:
        """Prepare the projections from the student's embeddings and hidden states."""
        super().__init__()
        check_dimensions(config, pooled)
        self.config = config
        self.project_pooled = _projection(pooled, teacher)
        self.project_hidden = _projection(hidden, teacher)

    def forward(self, outputs: Mapping[str, Tensor], targets: Targets) -> dict[str, Tensor]:
        """The parts of the loss by name, each with its weight in it; their sum is the loss.

        `outputs` are those of `Passes.forward`, `targets` of the same rows.
        """
        config = self.config
        parts: dict[str, Tensor] = {}
        if config.views:
            parts["contrastive"] = self._contrastive(outputs, targets)
        if config.supervised:
            parts["supervised"] = config.supervised * self._sized(
                lambda z: supervised_contrastive(
                    z, targets.answers, temperature=config.temperature
                ),
                outputs[POOLED][-1],
            )
        if config.distillation is not None and config.distillation.weight:
            parts["distillation"] = self._distil(config.distillation, outputs, targets)
        if config.drift is not None:
            # The embedding distillation of Goswami et al., "Query Drift Compensation" (CoLLAs 2025,
            # arXiv 2506.00037): vectors stored before training stay of use after it.
            moved = representation_distillation(outputs[GENERIC], targets.generic)
            parts["drift"] = config.drift.weight * moved
        return parts

    def _contrastive(self, outputs: Mapping[str, Tensor], targets: Targets) -> Tensor:
        """GIRCSE's refinement over the steps, where there are several."""
        if self.config.anchors == "both":
            anchors = [
                self._viewed(z, outputs.get(f"{AGAIN}{name}", z), targets, self.project_hidden)
                for name, z in ((PRIMARY, outputs[PRIMARY]), (SOFT, outputs[SOFT]))
            ]
            return torch.stack(anchors).mean()
        pooled, project = outputs[POOLED], self.project_pooled
        again = outputs.get(f"{AGAIN}{POOLED}", pooled)[-1]
        steps = torch.stack([self._viewed(z, again, targets, project) for z in pooled])
        if len(steps) == 1:
            return steps[0]
        weight = self.config.refinement.weight if self.config.refinement else 1.0
        return iterative_refinement(steps, weight=weight)

    def _sized(self, loss: Loss, z: Tensor) -> Tensor:
        """The loss over several lengths of the embedding, where asked for."""
        sizes = self.config.matryoshka
        return matryoshka(loss, z, sizes.dimensions, sizes.weights) if sizes else loss(z)

    def _viewed(
        self, z: Tensor, again: Tensor, targets: Targets, project: nn.Linear | None
    ) -> Tensor:
        """The mean over the views of InfoNCE, each against its own candidates."""
        known = {"answer": targets.candidates, "teacher": targets.whole, "dropout": again}

        def loss(z: Tensor) -> Tensor:
            losses = []
            for view in self.config.views:
                own = z if project is None or view == "dropout" else _through(project, z)
                # A shortened embedding is compared with candidates of its length.
                losses.append(self._nce(own, known[view][:, : own.shape[1]], targets))
            return torch.stack(losses).mean()

        return self._sized(loss, z)

    def _nce(self, z: Tensor, candidates: Tensor, targets: Targets) -> Tensor:
        """InfoNCE of (b, d) against (n, d) candidates, the first of which belong to the rows."""
        config = self.config
        # Candidates of every view stand in the order of the answers. Those that answer like a row
        # are no negatives of it.
        excluded = targets.answers[:, None] == targets.candidate_answers[: len(candidates)]
        positive = torch.arange(len(z), device=z.device)
        if config.gist is not None:
            known = targets.candidates[: len(candidates)]
            excluded |= guided_exclusions(targets.whole, known, positive, margin=config.gist.margin)
        return info_nce(z, candidates, positive, temperature=config.temperature, excluded=excluded)

    def _distil(
        self, config: DistillationConfig, outputs: Mapping[str, Tensor], targets: Targets
    ) -> Tensor:
        # Without soft prompts the embedding itself is pulled.
        student, project = outputs[POOLED][-1], self.project_pooled
        if SOFT in outputs:
            student, project = outputs[SOFT], self.project_hidden
        teacher = targets.answer_states
        if config.target == "answer_embedding":
            teacher = targets.candidates[: len(student)]
        loss = representation_distillation(student, teacher, kind=config.kind, projection=project)
        return config.weight * loss


def check_dimensions(config: LossConfig, width: int) -> None:
    """Raise ConfigError for lengths that an embedding of this width does not have."""
    if config.matryoshka is not None and max(config.matryoshka.dimensions) > width:
        raise ConfigError(
            f"[loss.matryoshka] dimensions={list(config.matryoshka.dimensions)}, and an embedding "
            f"has {width}. Use at most that many."
        )


def _projection(own: int, teacher: int) -> nn.Linear | None:
    return None if own == teacher else nn.Linear(own, teacher, bias=False)


def _through(project: nn.Linear, z: Tensor) -> Tensor:
    return nn.functional.linear(z.float(), project.weight[:, : z.shape[1]])
