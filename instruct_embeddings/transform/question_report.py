"""What judged questions say about a transform: generic beside adapted, at several blends."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from instruct_embeddings._printable import printed
from instruct_embeddings.transform.significance import Difference, signed

_SHOWN = 3


@dataclass(frozen=True)
class BlendFigures:
    """The ranking of one blend, over all questions.

    Attributes:
        blend: Share of the adapted score; 0 is the generic ranking.
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

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "BlendFigures":
        """The reverse of `dataclasses.asdict`."""
        gains = {
            name: None if data[name] is None else Difference(**data[name])
            for name in ("ndcg_gain", "recall_gain")
        }
        return cls(**{**data, **gains})


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

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "QuestionReport":
        """The reverse of `to_dict`."""
        values = {key: value for key, value in data.items() if key != "blend"}
        rankings = tuple(BlendFigures.from_dict(one) for one in data["rankings"])
        return cls(**{**values, "rankings": rankings, "instructions": tuple(data["instructions"])})

    def check(self) -> None:
        """Refuse a report that was read and cannot be shown, or carried on as JSON.

        Raises:
            ValueError, TypeError, AttributeError: A field has the wrong form.
        """
        numbers: list[float] = [self.questions, self.left_out, self.missing, self.k]
        for one in self.rankings:
            gains = [gain for gain in (one.ndcg_gain, one.recall_gain) if gain is not None]
            numbers += [one.blend, one.ndcg, one.recall, one.better, one.worse]
            numbers += [value for gain in gains for value in asdict(gain).values()]
        if len(self.rankings) < 2 or not all(map(math.isfinite, numbers)):
            raise ValueError("its report of questions is incomplete, or holds no finite numbers")
        if not all(0 <= one.blend <= 1 for one in self.rankings):
            raise ValueError("a blend is outside [0, 1]")
        if not all(isinstance(text, str) for text in self.instructions):
            raise ValueError("instructions are text")
        str(self)

    @printed
    def __str__(self) -> str:
        """A table, what was left out, and the verdict."""
        lines = [*map('"{}"'.format, self.instructions[:_SHOWN])]
        if more := self.instructions[_SHOWN:]:
            lines.append(f"and {len(more):,} further instructions")
        return "\n".join([*lines, *self._table(), *self._left_out(), self.verdict()])

    def _best(self) -> BlendFigures | None:
        gaining = [
            one
            for one in self.rankings
            if one.ndcg_gain is not None and one.ndcg_gain.significant and one.ndcg_gain.value > 0
        ]
        # Of equal ones the smallest blend, which changes least.
        return max(gaining, key=lambda one: (_value(one.ndcg_gain), -one.blend), default=None)

    def _table(self) -> list[str]:
        heads = ["blend", f"nDCG@{self.k}", "gain", f"recall@{self.k}", "gain", "better", "worse"]
        rows = [[*_cells(one)] for one in self.rankings]
        widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
        return [_aligned(row, widths) for row in (heads, *rows)]

    def _left_out(self) -> list[str]:
        lines = []
        if self.left_out:
            lines.append(
                f"{self.left_out:,} further question{'s' * (self.left_out != 1)} left out: none of "
                "their relevant rows is in the collection"
            )
        if self.missing:
            lines.append(f"{self.missing:,} relevant rows are not in the collection, and not asked")
        return lines


def _value(gain: Difference | None) -> float:
    return 0.0 if gain is None else gain.value


def _cells(one: BlendFigures) -> list[str]:
    """One line of the table; intervals are at the level of the difference."""
    if one.ndcg_gain is None or one.recall_gain is None:
        return ["generic", f"{one.ndcg:.3f}", "", f"{one.recall:.3f}", "", "", ""]
    recall = signed(one.recall_gain.value)
    changed = [f"{one.better:,}", f"{one.worse:,}"]
    gain = str(one.ndcg_gain)
    return [f"{one.blend:g}", f"{one.ndcg:.3f}", gain, f"{one.recall:.3f}", recall, *changed]


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = cells
    figures = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
    return "  ".join([first.ljust(widths[0]), *figures]).rstrip()
