"""What an evaluation on labelled texts found."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instruct_embeddings._printable import printed
from instruct_embeddings.config import at_least
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.explain.tables import as_text
from instruct_embeddings.transform.report import FitReport
from instruct_embeddings.transform.significance import LEVEL, ROUNDS, Difference, Estimate

if TYPE_CHECKING:
    from rich.table import Table

GENERIC, ADAPTED = "generic", "adapted"


@dataclass(frozen=True)
class EvaluationConfig:
    """How labelled texts are evaluated.

    Attributes:
        learn: Share of the rows that the transform may learn from; the others are measured.
        k: Results looked at for each query.
        queries: Rows that are asked for, at most; all measured rows are ranked for each.
        rounds: Resamples of the bootstrap.
        level: Share of the resampled figures inside an interval.
        force: Measure the transform even where searches would not use it.
        seed: Seed of the split, of k-means and of the bootstrap.
    """

    learn: float = 0.5
    k: int = 10
    queries: int = 500
    rounds: int = ROUNDS
    level: float = LEVEL
    force: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("k", "queries"):
            at_least(name, getattr(self, name), 1, optional=False)
        if not 0 < self.learn < 1:
            raise ConfigError(
                f"learn={self.learn!r} is not between 0 and 1. Use a share such as 0.5."
            )


@dataclass(frozen=True)
class Scored:
    """One method.

    Attributes:
        method: Its name.
        precision: Share of the best k rows that have the label of the query.
        v_measure: Agreement of clusters with labels.
        precision_gain: Over the generic vectors, on the same queries; None for them.
        v_measure_gain: Over the generic vectors, on the same rows; None for them.
    """

    method: str
    precision: Estimate
    v_measure: Estimate
    precision_gain: Difference | None
    v_measure_gain: Difference | None


@dataclass(frozen=True)
class Evaluation:
    """Generic against adapted vectors under one instruction.

    Attributes:
        instruction: The instruction.
        guide: Key of the guide that taught the transform.
        learned: Rows that the transform could learn from.
        measured: Rows apart from them, which were ranked and clustered.
        labels: Different labels among the measured rows.
        k: Results looked at for each query.
        used: Whether the transform ranked; where it gains nothing on held-out rows of its own
            sample, searches keep the generic ranking, and so does `adapted` here.
        methods: What was compared, generic first, then adapted, then others.
        fit: What the fit itself reports.
    """

    instruction: str
    guide: str
    learned: int
    measured: int
    labels: int
    k: int
    used: bool
    methods: tuple[Scored, ...]
    fit: FitReport

    def __getitem__(self, method: str) -> Scored:
        """One method by name.

        Raises:
            KeyError: It was not compared.
        """
        return {one.method: one for one in self.methods}[method]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "fit": self.fit.to_dict()}

    def table(self) -> "Table":
        """A line for each method; for a console of rich."""
        heads = ["method", f"precision@{self.k}", "gain", "V-measure", "gain"]
        lines = [
            [
                one.method,
                str(one.precision),
                one.precision_gain.brief() if one.precision_gain else "",
                str(one.v_measure),
                one.v_measure_gain.brief() if one.v_measure_gain else "",
            ]
            for one in self.methods
        ]
        return new_table(self.headline(), heads, lines)

    def headline(self) -> str:
        """Instruction, sizes, and whether the transform was not used; a line for each."""
        unused = "" if self.used else "\nthe transform is not used, since its gain may be chance"
        return (
            f'"{self.instruction}"\n{self.measured:,} rows with {self.labels:,} labels, learned '
            f"from {self.learned:,} others{unused}"
        )

    def plot(self, file: str | Path) -> Path:
        """Save a picture of the figures and their intervals.

        Args:
            file: A name that ends in .png, .svg or .pdf; its folder is made.

        Returns:
            The file.

        Raises:
            ConfigError: The name ends in something else.
            MissingExtraError: matplotlib is not installed (extra `eval`).
        """
        from instruct_embeddings.evaluation.plot import draw

        return draw(self, Path(file))

    @printed
    def __str__(self) -> str:
        return as_text(self.table())


def new_table(title: str, heads: Sequence[str], lines: Iterable[Sequence[str]]) -> "Table":
    """A table of rich: the first column holds names, the others figures."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", box=SIMPLE_HEAD, show_edge=False)
    for number, head in enumerate(heads):
        table.add_column(head, justify="right" if number else "left", overflow="fold")
    for line in lines:
        table.add_row(*map(Text, line))
    return table
