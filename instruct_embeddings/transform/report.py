"""What a fit learned, how well it agrees with its guide, and what judged questions say about it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, cast

from instruct_embeddings._printable import printed
from instruct_embeddings._reading import read_plain
from instruct_embeddings.transform.guide_check import GuideCheck
from instruct_embeddings.transform.quality import Difference, exceeds_chance, signed

Stopped: TypeAlias = Literal["enough", "budget", "size"]
"""What ended the sample of a guide that encodes: agreement on held-out rows no longer rose, the
`guide_budget` was spent, or the `sample_size` (or the whole collection) was read."""

PAIR_ACCURACY = "pair accuracy"
_SHOWN_LABELS = 8
_SHOWN_INSTRUCTIONS = 3
_STOPS: Mapping[Stopped, str] = {
    "enough": "agreement no longer rose",
    "budget": "the guide's time was spent",
    "size": "the whole sample was read",
}
_DERIVED = ("gains", "blend", "used")
_FORMER = "helps"  # what `gains` was called up to format version 2
_NOT_MEASURED = (
    "this is agreement among documents, with the guide; what it does to questions of users was not "
    "measured: evaluate(queries, relevant) does that"
)


@dataclass(frozen=True)
class BlendFigures:
    """The ranking of one blend, over all questions.

    Attributes:
        blend: Weight of the adapted score; 0 is the generic ranking.
        ndcg: Mean nDCG@k.
        recall: Mean recall@k.
        ndcg_gain: Over the generic ranking, on the same questions; None for that one.
        recall_gain: Likewise.
        better: Questions whose nDCG rises.
        worse: Questions whose nDCG falls.
    """

    blend: float
    ndcg: float
    recall: float
    ndcg_gain: Difference | None = None
    recall_gain: Difference | None = None
    better: int = 0
    worse: int = 0

    def _cells(self) -> list[str]:
        if self.ndcg_gain is None or self.recall_gain is None:
            return ["generic", f"{self.ndcg:.3f}", "", f"{self.recall:.3f}", "", "", ""]
        return [
            f"{self.blend:g}",
            f"{self.ndcg:.3f}",
            str(self.ndcg_gain),
            f"{self.recall:.3f}",
            signed(self.recall_gain.value),
            f"{self.better:,}",
            f"{self.worse:,}",
        ]


@dataclass(frozen=True)
class QuestionReport:
    """How judged questions are answered by the generic and by adapted rankings.

    The blend to use is chosen on the questions that it is measured on, so its figure is a little
    better than it will be on further ones.

    Attributes:
        instructions: Under what the questions were asked.
        questions: Questions that were measured.
        left_out: Questions none of whose relevant rows is in the collection.
        missing: Relevant rows that are not in the collection, those of left out questions included.
        k: Results looked at for each question.
        rankings: The generic ranking, then one for each blend.
    """

    instructions: tuple[str, ...]
    questions: int
    left_out: int
    missing: int
    k: int
    rankings: tuple[BlendFigures, ...]

    def __post_init__(self) -> None:
        if len(self.rankings) < 2 or not all(0 <= one.blend <= 1 for one in self.rankings):
            raise ValueError("a report of questions has a generic ranking and blends in [0, 1]")

    @property
    def blend(self) -> float:
        """The blend to use: the best one that gains more than chance; 0, generic, if none does."""
        best = self._best()
        return 0.0 if best is None else best.blend

    def __getitem__(self, blend: float) -> BlendFigures:
        """The ranking of one blend; 0 is the generic one.

        Raises:
            KeyError: It was not measured.
        """
        return {one.blend: one for one in self.rankings}[blend]

    def verdict(self) -> str:
        """One sentence: which ranking to use, and why."""
        best = self._best()
        asked = f"{self.questions:,} judged question{'s' * (self.questions != 1)}"
        if best is not None:
            return (
                f"Use blend={best.blend:g}: on {asked} nDCG@{self.k} rises by more than chance, "
                f"{best.ndcg_gain}."
            )
        sentence = (
            f"Keep the generic ranking (blend=0): on {asked} no blend raises nDCG@{self.k} by more "
            "than chance"
        )
        worst = min(self.rankings[1:], key=lambda one: _value(one.ndcg_gain))
        if _value(worst.ndcg_gain) < 0 and worst.ndcg_gain and worst.ndcg_gain.significant:
            return f"{sentence}, and blend={worst.blend:g} lowers it, {worst.ndcg_gain}."
        return f"{sentence}."

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with `blend` included."""
        return {**asdict(self), "blend": self.blend}

    @printed
    def __str__(self) -> str:
        """A table, what was left out, and the verdict."""
        lines = [*map('"{}"'.format, self.instructions[:_SHOWN_INSTRUCTIONS])]
        if more := self.instructions[_SHOWN_INSTRUCTIONS:]:
            lines.append(f"and {len(more):,} further instructions")
        heads = ["blend", f"nDCG@{self.k}", "gain", f"recall@{self.k}", "gain", "better", "worse"]
        lines += _table([heads, *(one._cells() for one in self.rankings)])
        if self.left_out:
            lines.append(
                f"{self.left_out:,} further question{'s' * (self.left_out != 1)} left out: none of "
                "their relevant rows is in the collection"
            )
        if self.missing:
            lines.append(f"{self.missing:,} relevant rows are not in the collection, and not asked")
        return "\n".join([*lines, self.verdict()])

    def _best(self) -> BlendFigures | None:
        gaining = [
            one
            for one in self.rankings
            if one.ndcg_gain is not None and one.ndcg_gain.significant and one.ndcg_gain.value > 0
        ]
        # Of equal ones the smallest blend, which changes least.
        return max(gaining, key=lambda one: (_value(one.ndcg_gain), -one.blend), default=None)


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
            rows were predicted from their vectors (mean cosine).
        judgements: What judgements changed afterwards; None where there are none.
        questions: What judged questions say about the transform; None where there are none.
        stopped: What ended the sample of a guide that encodes; None for other guides, and for
            transforms written before this was kept.
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
        """Weight of the adapted score in searches that name none; 0 keeps the generic ranking.

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
        """The reverse of `to_dict`.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: A field is missing or of another type.
        """
        report = read_plain(cls, {key: value for key, value in data.items() if key != _FORMER})
        return cast("FitReport", report)

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
            _NOT_MEASURED if self.questions is None else self.questions.verdict(),
            f"learned from {judged} of {self.rows} sampled rows in {self.seconds:.1f} s",
        ]
        if self.judgements is not None:
            lines.append(str(self.judgements))
        if self.growth:
            curve = ", ".join(f"{size:,} rows {cosine:.3f}" for size, cosine in self.growth)
            why = f"; no further rows: {_STOPS[self.stopped]}" if self.stopped else ""
            lines.append(f"agreement with the guide on held-out rows: {curve}{why}")
        if self.guide_check is not None:
            lines.append(str(self.guide_check))
        if self.label_counts:
            shown = list(self.label_counts.items())[:_SHOWN_LABELS]
            more = len(self.label_counts) - len(shown)
            text = ", ".join(f"{label} {count}" for label, count in shown)
            lines.append(f"labels: {text}" + (f", and {more} more" if more else ""))
        return "\n".join(lines)


def _value(gain: Difference | None) -> float:
    return 0.0 if gain is None else gain.value


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width, the first flush left."""
    first, *widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for head, *rest in rows:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths, strict=True)]
        lines.append("  ".join([head.ljust(first), *cells]).rstrip())
    return lines
