"""What a fit learned, and how well it agrees with its guide on rows it did not see."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from instruct_embeddings._printable import printed
from instruct_embeddings.transform.guide_check import GuideCheck
from instruct_embeddings.transform.quality import exceeds_chance
from instruct_embeddings.transform.question_report import QuestionReport

Stopped: TypeAlias = Literal["enough", "budget", "size"]
"""What ended the sample of a guide that encodes: agreement on held-out rows no longer rose, the
`guide_budget` was spent, or the `sample_size` (or the whole collection) was read."""

PAIR_ACCURACY = "pair accuracy"
_SHOWN_LABELS = 8
STOPS: Mapping[Stopped, str] = {
    "enough": "agreement no longer rose",
    "budget": "the guide's time was spent",
    "size": "the whole sample was read",
}
_DERIVED = ("gains", "blend", "used")
_FORMER = "helps"  # what `gains` was called up to format version 2
_UNASKED = (
    "this is agreement among documents, with the guide; what it does to questions of users was not "
    "measured: evaluate(queries, relevant) does that"
)


@dataclass(frozen=True)
class JudgementReport:
    """What judgements changed, in the share of (relevant, irrelevant) couples put in order.

    Couples are of one query wherever a query was judged both ways.

    Attributes:
        judged: Judgements that were used.
        queries: Queries they belong to.
        generic: The figure for the generic vectors.
        before: For the transform they corrected.
        same_queries: Corrected, for queries of which other rows were judged.
        new_queries: Corrected, for queries of which nothing was judged.
        gain_error: Standard error of `same_queries - generic`.
        everywhere: Whether queries far from all judged ones are moved too.
        used: Whether the transform was corrected; it is kept where that gains nothing.
    """

    judged: int
    queries: int
    generic: float
    before: float
    same_queries: float
    new_queries: float
    gain_error: float
    everywhere: bool
    used: bool

    @property
    def gains(self) -> bool:
        """Whether judged queries gain more over the generic vectors than chance would give."""
        return self.used and exceeds_chance(self.same_queries - self.generic, self.gain_error)

    @printed
    def __str__(self) -> str:
        """One line."""
        verdict = "the transform is corrected" if self.used else "the transform is kept as it was"
        return (
            f"{self.judged} judgements of {self.queries} queries, couples in order: generic "
            f"{self.generic:.3f}, before {self.before:.3f}, held-out rows of the same queries "
            f"{self.same_queries:.3f}, new queries {self.new_queries:.3f}: {verdict}"
        )


@dataclass(frozen=True)
class FitReport:
    """Agreement of a transform with its guide, on held-out rows of its own sample.

    What is measured is how well *documents* find documents that the guide says belong together.
    Questions of users are measured only where some were judged, in `questions`.

    Every figure is a mean over held-out units: each fold of the sample was ranked by transforms
    fitted on the other folds, with the settings that did best on those other folds.

    Attributes:
        rows: Rows in the sample.
        judged: Rows of the sample that the guide could judge, or judged pairs.
        label_counts: Judged rows for each label, most frequent first; empty without labels.
        measure: What the three figures are: `precision@k`, `agreement@k` or `pair accuracy`.
        generic: The figure for the generic vectors.
        folded: The figure for the folded query alone.
        adapted: The figure for folded prefetch and rescoring.
        chosen: Hyper-parameters chosen on the folds.
        seconds: Wall time of the fit, sampling included.
        gain_error: Standard error of `adapted - generic`.
        growth: Where a guide encodes, each sample size tried, and how well its targets of held-out
            rows were told from their vectors (mean cosine).
        judgements: What judgements changed afterwards; None where there are none.
        questions: What judged questions say about the transform; None where there are none.
        stopped: What ended the sample of a guide that encodes: "enough" where agreement no longer
            rose, "budget" where its time was spent, "size" where all of the sample was read; None
            for other guides, and for transforms written before this was kept.
        guide_check: Signs of whether a guide that learned no labels can be trusted on these rows;
            None for others, and for transforms written before this was kept.
    """

    rows: int
    judged: int
    label_counts: Mapping[str, int]
    measure: str
    generic: float
    folded: float
    adapted: float
    chosen: Mapping[str, float]
    seconds: float
    gain_error: float = 0.0
    growth: tuple[tuple[int, float], ...] = ()
    judgements: JudgementReport | None = None
    questions: QuestionReport | None = None
    stopped: Stopped | None = None
    guide_check: GuideCheck | None = None

    @property
    def gains(self) -> bool:
        """Whether agreement with the guide rose by more than chance would give.

        See `exceeds_chance`; of a few dozen labels true gains are often refused.
        """
        return exceeds_chance(self.adapted - self.generic, self.gain_error) or (
            self.judgements is not None and self.judgements.gains
        )

    @property
    def blend(self) -> float:
        """Share of the adapted score in searches that name none; 0 keeps the generic ranking.

        Judged questions decide where there are some, else whether the transform `gains`.
        """
        return float(self.gains) if self.questions is None else self.questions.blend

    @property
    def used(self) -> bool:
        """Whether searches use the transform."""
        return self.blend > 0

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with `gains`, `blend` and `used` included."""
        questions = self.questions and self.questions.to_dict()
        derived = {name: getattr(self, name) for name in _DERIVED}
        return {**asdict(self), "questions": questions, **derived}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "FitReport":
        """The reverse of `to_dict`."""
        values = {key: value for key, value in data.items() if key not in (*_DERIVED, _FORMER)}
        growth = tuple((int(size), float(agreement)) for size, agreement in data.get("growth", ()))
        judged = data.get("judgements")
        judgements = None if judged is None else JudgementReport(**judged)
        asked = data.get("questions")
        questions = None if asked is None else QuestionReport.from_dict(asked)
        held = data.get("guide_check")
        read = {
            "growth": growth,
            "judgements": judgements,
            "questions": questions,
            "guide_check": None if held is None else GuideCheck.from_dict(held),
        }
        return cls(**{**values, **read})

    @printed
    def __str__(self) -> str:
        """A few readable lines."""
        verdict = (
            "the adapted ranking is used"
            if self.gains
            else "the generic ranking is kept, since the gain may be chance"
        )
        if self.questions is not None:
            verdict = "judged questions decide"
        judged = f"{self.judged} judged pairs" if self.measure == PAIR_ACCURACY else self.judged
        lines = [
            f"{self.measure} on held-out rows: generic {self.generic:.3f}, "
            f"folded {self.folded:.3f}, folded and rescored {self.adapted:.3f} "
            f"(gain {self.adapted - self.generic:+.3f}, standard error {self.gain_error:.3f}): "
            f"{verdict}",
            _UNASKED if self.questions is None else self.questions.verdict(),
            f"learned from {judged} of {self.rows} sampled rows in {self.seconds:.1f} s",
        ]
        if self.judgements is not None:
            lines.append(str(self.judgements))
        if self.growth:
            curve = ", ".join(f"{size:,} rows {cosine:.3f}" for size, cosine in self.growth)
            why = f"; no further rows: {STOPS[self.stopped]}" if self.stopped else ""
            lines.append(f"agreement with the guide on held-out rows: {curve}{why}")
        if self.guide_check is not None:
            lines.append(str(self.guide_check))
        if self.label_counts:
            shown = list(self.label_counts.items())[:_SHOWN_LABELS]
            more = len(self.label_counts) - len(shown)
            text = ", ".join(f"{label} {count}" for label, count in shown)
            lines.append(f"labels: {text}" + (f", and {more} more" if more else ""))
        return "\n".join(lines)
