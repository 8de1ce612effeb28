"""Whether a transform that was fitted long ago still does what its report says."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from instruct_embeddings._printable import printed
from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import GuideError, TransformMismatchError
from instruct_embeddings.guides.annotations import JudgementGuide
from instruct_embeddings.guides.base import chosen_guide
from instruct_embeddings.protocols import Guide, VectorCollection
from instruct_embeddings.retrieval.sampling import sample_rows
from instruct_embeddings.supervision import Labels, Supervision, Targets
from instruct_embeddings.transform.fit import cosine, mixed_score
from instruct_embeddings.transform.problems import Problem, problem_of
from instruct_embeddings.transform.quality import (
    Scorer,
    exceeds_chance,
    mean_quality,
    standard_error,
)
from instruct_embeddings.transform.report import FitReport
from instruct_embeddings.transform.transform import InstructionTransform

_SHOWN_LABELS = 8


@dataclass(frozen=True)
class Drift:
    """Quality of a transform on a fresh sample of its collection, beside its fit report.

    Compared is the gain over the generic vectors: how hard the rows are changes with them, and
    shows in both rankings alike.

    Attributes:
        instruction: The instruction it was fitted for.
        created: When it was fitted.
        report: What held-out rows said then.
        rows: Rows of the fresh sample.
        judged: Rows, or pairs, that the guide could judge.
        measure: What the figures are.
        generic: The figure for the generic vectors now.
        adapted: The figure for the transform now.
        gain_error: Standard error of `adapted - generic`.
        seen: Share of the fresh sample that the transform is expected to have learned from, at
            most. Such rows flatter it: near 1, drift shows only by what was added or changed.
        new_labels: Fresh rows under each label that it never learned, most frequent first.
    """

    instruction: str
    created: str
    report: FitReport
    rows: int
    judged: int
    measure: str
    generic: float
    adapted: float
    gain_error: float
    seen: float
    new_labels: Mapping[str, int] = field(default_factory=dict)

    @property
    def lost(self) -> float:
        """How much of the reported gain is gone; negative where it grew."""
        return (self.report.adapted - self.report.generic) - (self.adapted - self.generic)

    @property
    def lost_error(self) -> float:
        """Standard error of `lost`."""
        return float(np.hypot(self.report.gain_error, self.gain_error))

    @property
    def refit(self) -> bool:
        """Whether `refit()` is due: more is lost than twice the standard error."""
        return exceeds_chance(self.lost, self.lost_error)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with `lost`, `lost_error` and `refit` included."""
        derived = {"lost": self.lost, "lost_error": self.lost_error, "refit": self.refit}
        return {**asdict(self), "report": self.report.to_dict(), **derived}

    @printed
    def __str__(self) -> str:
        """A few readable lines."""
        verdict = "refit() is due" if self.refit else "this may be chance, it can stay"
        then = self.report
        lines = [
            f"{then.measure} when it was fitted ({self.created}): generic {then.generic:.3f}, "
            f"adapted {then.adapted:.3f}",
            f"{self.measure} on {self.rows:,} fresh rows: generic {self.generic:.3f}, "
            f"adapted {self.adapted:.3f}",
            f"lost of the gain: {self.lost:+.3f}, standard error {self.lost_error:.3f}: {verdict}",
        ]
        if self.seen:
            lines.append(f"up to {self.seen:.0%} of these rows it has learned from")
        if self.new_labels:
            shown = list(self.new_labels.items())[:_SHOWN_LABELS]
            more = len(self.new_labels) - len(shown)
            text = ", ".join(f"{label} {count}" for label, count in shown)
            rest = f", and {more} more" if more else ""
            lines.append(f"labels it never learned: {text}{rest}")
        return "\n".join(lines)


def find_drift(
    collection: VectorCollection,
    guide: Guide | None,
    transform: InstructionTransform,
    *,
    seed: int | None = None,
) -> Drift:
    """Let the guide of a transform judge a fresh sample, and measure the transform on it.

    The sample is as large as the one that the transform learned from. What judgements corrected is
    left out, as it is in the report: their start is measured, by its own guide.

    Raises:
        GuideError: There is no guide, another one taught the transform, or too little was judged.
        TransformMismatchError: The transform belongs to another collection.
        EmptyCollectionError: The collection is empty.
    """
    if transform.collection != collection.info():
        raise TransformMismatchError(
            f"The transform of {transform.instruction!r} belongs to {transform.collection}, not to "
            f"{collection.info()}. Measure it on its own collection, or fit one for this."
        )
    teacher = _teacher(guide, transform)
    config, known = transform.config, teacher.ids()
    chosen = config.seed + 1 if seed is None else seed
    sample = sample_rows(collection, transform.report.rows, seed=chosen, ids=known)
    supervision = teacher.judge(transform.instruction, sample)
    seen = min(1.0, transform.report.rows / max(1, collection.count()))
    return measure_drift(
        transform, sample.vectors, supervision, seen=seen if known is None else 1.0
    )


def measure_drift(
    transform: InstructionTransform,
    vectors: FloatArray,
    supervision: Supervision,
    *,
    seen: float = 0.0,
) -> Drift:
    """Compare a transform on a judged sample, stored vectors of shape (n, d), with its report."""
    problem = problem_of(vectors, supervision)
    folds = list(_folds(problem, transform))
    generic = [fold.quality(cosine) for fold in folds]
    adapted = [fold.quality(_uncorrected(transform)) for fold in folds]
    gains = np.concatenate(adapted) - np.concatenate(generic)
    if not gains.size:
        raise GuideError(
            f"The guide judged {problem.size} rows, and no two of them belong together, so the "
            f"transform of {transform.instruction!r} cannot be measured. Take a larger sample or "
            "judge more rows."
        )
    return Drift(
        instruction=transform.instruction,
        created=transform.created,
        report=transform.report,
        rows=len(vectors),
        judged=problem.size,
        measure=folds[0].measure,
        generic=mean_quality(generic),
        adapted=mean_quality(adapted),
        gain_error=standard_error(gains),
        seen=seen,
        new_labels=_new_labels(transform.report, supervision),
    )


def _teacher(guide: Guide | None, transform: InstructionTransform) -> Guide:
    """The guide that taught it, or what that one started from."""
    if guide is None:
        raise GuideError(
            f"There is no guide to judge a fresh sample for {transform.instruction!r}. Pass the "
            f"one that taught the transform, {transform.guide!r}."
        )
    teacher = chosen_guide(guide, transform.instruction)
    if teacher.key != transform.guide:
        raise GuideError(
            f"The transform of {transform.instruction!r} was taught by {transform.guide!r}, and "
            f"the guide at hand is {teacher.key!r}. Only its own guide can tell whether it drifted."
        )
    while isinstance(teacher, JudgementGuide) and teacher.start is not None:
        teacher = chosen_guide(teacher.start, transform.instruction)
    return teacher


def _folds(problem: Problem, transform: InstructionTransform) -> Iterator[Problem]:
    """Folds as large as those of the fit: the best ten of more rows are easier to fill."""
    judged = max(1, transform.report.judged)
    count = max(1, round(transform.config.folds * problem.size / judged))
    groups = problem.groups
    if groups.max() + 1 < count:
        groups = np.arange(problem.size)
    order = np.random.default_rng(transform.config.seed).permutation(int(groups.max()) + 1)
    for chosen in np.array_split(order, count):
        yield problem.subset(np.flatnonzero(np.isin(groups, chosen)))


def _uncorrected(transform: InstructionTransform) -> Scorer:
    """The scores that the report of the fit is about: without what judgements corrected later."""
    query = replace(transform.query, correction=None)
    return mixed_score(query, transform.space, transform.mix)


def _new_labels(report: FitReport, supervision: Supervision) -> dict[str, int]:
    labels = supervision.labels if isinstance(supervision, Targets) else supervision
    counts = labels.counts() if isinstance(labels, Labels) else {}
    return {label: count for label, count in counts.items() if label not in report.label_counts}
