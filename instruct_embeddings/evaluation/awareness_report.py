"""Figures of instruction awareness, and the table of all of them."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from instruct_embeddings._printable import printed
from instruct_embeddings.evaluation.tables import as_text, new_table
from instruct_embeddings.transform.significance import signed

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class AwarenessFigure:
    """One figure of one method.

    Attributes:
        kind: `clustering` (V-measure), `triplets` (accuracy) or `similarity` (Spearman).
        subject: The aspect, or the pair of aspects.
        method: Name of the method.
        units: Rows or triplets under each seed.
        mean: Over seeds and wordings.
        spread: Standard deviation over seeds, wordings averaged.
        wording_spread: Standard deviation over wordings, seeds averaged.
        gain: Over the baseline; None for the baseline itself.
        p_value: The largest of the seeds' p-values of that gain (paired bootstrap, two-sided), so
            that no seed alone makes it significant.
    """

    kind: str
    subject: str
    method: str
    units: int
    mean: float
    spread: float
    wording_spread: float
    gain: float | None
    p_value: float | None

    @printed
    def __str__(self) -> str:
        """The mean with its spread; the gain with its p-value."""
        own = f"{self.mean:.3f} ±{self.spread:.3f}"
        return own if self.gain is None else f"{own} ({signed(self.gain)}, p={self.p_value:.3f})"


@dataclass(frozen=True)
class AwarenessReport:
    """What the suite found.

    Attributes:
        figures: One for each kind, subject and method.
        baseline: The method that the others are compared with.
        seeds: Seeds of rows, triplets and k-means.
    """

    figures: tuple[AwarenessFigure, ...]
    baseline: str
    seeds: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    def table(self) -> "Table":
        """A line for each kind and subject, a column for each method; for a console of rich."""
        methods = list(dict.fromkeys(figure.method for figure in self.figures))
        lines: dict[str, list[str]] = {}
        for figure in self.figures:
            name = f"{figure.kind}: {figure.subject}"
            lines.setdefault(name, []).append(str(figure))
        title = f"mean ± spread over {len(self.seeds)} seeds (gain over {self.baseline}, p)"
        return new_table(title, ["figure", *methods], [[k, *v] for k, v in lines.items()])

    @printed
    def __str__(self) -> str:
        return as_text(self.table())
