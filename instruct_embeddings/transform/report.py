"""What a fit learned and how much it helps, measured on rows it did not see."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

PAIR_ACCURACY = "pair accuracy"
_SHOWN_LABELS = 8


@dataclass(frozen=True)
class FitReport:
    """Quality of a transform on held-out rows of its own sample.

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

    @property
    def helps(self) -> bool:
        """Whether the gain over the generic vectors exceeds its standard error.

        On labels that mean nothing many fits gain a little by chance, few gain that much. A
        stricter rule would refuse true gains from a few dozen labels.
        """
        return self.adapted - self.generic > self.gain_error

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with `helps` included."""
        return {**asdict(self), "helps": self.helps}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "FitReport":
        """The reverse of `to_dict`."""
        return cls(**{key: value for key, value in data.items() if key != "helps"})

    def __str__(self) -> str:
        """A few readable lines."""
        verdict = (
            "the adapted ranking is used"
            if self.helps
            else "the generic ranking is kept, since the gain may be chance"
        )
        judged = f"{self.judged} judged pairs" if self.measure == PAIR_ACCURACY else self.judged
        lines = [
            f"{self.measure} on held-out rows: generic {self.generic:.3f}, "
            f"folded {self.folded:.3f}, folded and rescored {self.adapted:.3f} "
            f"(gain {self.adapted - self.generic:+.3f}, standard error {self.gain_error:.3f}): "
            f"{verdict}",
            f"learned from {judged} of {self.rows} sampled rows in {self.seconds:.1f} s",
        ]
        if self.label_counts:
            shown = list(self.label_counts.items())[:_SHOWN_LABELS]
            more = len(self.label_counts) - len(shown)
            text = ", ".join(f"{label} {count}" for label, count in shown)
            lines.append(f"labels: {text}" + (f", and {more} more" if more else ""))
        return "\n".join(lines)
