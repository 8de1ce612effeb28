"""Settings of the loss: each part is on where its table is there."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from instruct_embeddings.encoder.options import one_of
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training._tables import as_names, as_number, as_sizes, as_text

View: TypeAlias = Literal["answer", "dropout", "teacher"]
VIEWS: tuple[View, ...] = ("answer", "dropout", "teacher")


@dataclass(frozen=True)
class DistillationConfig:
    """Representation distillation of the soft prompts (InstEmb): `[loss.distillation]`.

    Without soft prompts the embedding itself is pulled.

    Attributes:
        weight: Of this part; 0 switches it off.
        kind: "cosine" or "smooth_l1".
        target: The teacher's mean state over the answer's tokens, behind text and instruction, or
            its embedding of the answer alone.
        teacher: Hub id or folder of the teacher; "" is the frozen start of the student itself.
    """

    weight: float = 1.0
    kind: Literal["cosine", "smooth_l1"] = "cosine"
    target: Literal["answer_states", "answer_embedding"] = "answer_states"
    teacher: str = ""

    def __post_init__(self) -> None:
        where = "[loss.distillation]"
        as_number(self, where, "weight", low=0.0)
        one_of(f"{where} kind", self.kind, ("cosine", "smooth_l1"))
        one_of(f"{where} target", self.target, ("answer_states", "answer_embedding"))
        as_text(self, where, "teacher", empty=True)


@dataclass(frozen=True)
class RefinementConfig:
    """Iterative contrastive refinement (GIRCSE): `[loss.refinement]`.

    Attributes:
        weight: Of the penalty on steps that are worse than the one before.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        as_number(self, "[loss.refinement]", "weight", low=0.0)


@dataclass(frozen=True)
class GistConfig:
    """Guided false-negative filtering (GISTEmbed): `[loss.gist]`.

    Attributes:
        margin: Candidates that the guide finds nearer than the positive, less this cosine, are no
            negatives.
    """

    margin: float = 0.0

    def __post_init__(self) -> None:
        as_number(self, "[loss.gist]", "margin", low=0.0)


@dataclass(frozen=True)
class MatryoshkaConfig:
    """The loss on the first dimensions too (Matryoshka): `[loss.matryoshka]`.

    Attributes:
        dimensions: How many; the full length among them, where it is to count.
        weights: One for each; by default 1.
    """

    dimensions: tuple[int, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        as_sizes(self, "[loss.matryoshka]", "dimensions")
        _as_weights(self, "[loss.matryoshka]", len(self.dimensions))


@dataclass(frozen=True)
class DriftConfig:
    """Keeping the generic space (Query Drift Compensation): `[loss.drift]`.

    Attributes:
        weight: Of the distance from the frozen generic embeddings.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        as_number(self, "[loss.drift]", "weight", low=0.0)


@dataclass(frozen=True)
class LossConfig:
    """What is minimised: `[loss]`.

    Attributes:
        temperature: Divides the cosines of the contrastive loss.
        views: Positives of a row: the embedding of its answer, a second dropout pass, the teacher's
            embedding.
        anchors: "pooled": the loss on the embedding; "both": on the final token and on the soft
            prompts apart.
        supervised: Weight of the supervised contrastive loss within the batch.
        distillation: See `DistillationConfig`; this and all below are off when None.
        refinement: See `RefinementConfig`.
        gist: See `GistConfig`.
        matryoshka: See `MatryoshkaConfig`.
        drift: See `DriftConfig`.
    """

    temperature: float = 0.05
    views: tuple[View, ...] = ("answer",)
    anchors: Literal["pooled", "both"] = "pooled"
    supervised: float = 0.0
    distillation: DistillationConfig | None = None
    refinement: RefinementConfig | None = None
    gist: GistConfig | None = None
    matryoshka: MatryoshkaConfig | None = None
    drift: DriftConfig | None = None

    def __post_init__(self) -> None:
        as_number(self, "[loss]", "temperature", above=0.0, low=0.0)
        as_number(self, "[loss]", "supervised", low=0.0)
        as_names(self, "[loss]", "views")
        for view in self.views:
            one_of("[loss] views", view, VIEWS)
        one_of("[loss] anchors", self.anchors, ("pooled", "both"))
        distils = self.distillation is not None and self.distillation.weight > 0
        if not (self.views or self.supervised or distils):
            raise ConfigError(
                "[loss] views=[] leaves nothing to learn from. Name at least one of "
                f"{list(VIEWS)}, or add [loss.distillation]."
            )


LOSS_PARTS: dict[str, Any] = {
    "distillation": DistillationConfig,
    "refinement": RefinementConfig,
    "gist": GistConfig,
    "matryoshka": MatryoshkaConfig,
    "drift": DriftConfig,
}


def _as_weights(owner: Any, where: str, count: int) -> None:
    """Keep weights as a tuple of positive numbers, one for each of `count`, or none.

    Raises:
        ConfigError: There are others.
    """
    weights = owner.weights
    numbers = isinstance(weights, list | tuple) and all(
        isinstance(w, int | float) and not isinstance(w, bool) and 0 < w < float("inf")
        for w in weights
    )
    if not numbers or len(weights) not in (0, count):
        raise ConfigError(
            f"{where} weights={weights!r} is no list of {count} positive numbers. Give one for "
            "each, or leave them out."
        )
    object.__setattr__(owner, "weights", tuple(float(w) for w in weights))
