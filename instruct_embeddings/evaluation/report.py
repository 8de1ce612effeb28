"""What an evaluation on labelled texts found."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from instruct_embeddings._printable import printed
from instruct_embeddings.config import at_least
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.explain.figures import (
    FRAME,
    INK,
    PALE_INK,
    check_figure_file,
    find_fonts,
    new_figure,
    save_figure,
)
from instruct_embeddings.explain.tables import as_text
from instruct_embeddings.transform.quality import LEVEL, ROUNDS, Difference, Estimate
from instruct_embeddings.transform.report import FitReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.table import Table

GENERIC, ADAPTED = "generic", "adapted"
_HEAD = 110  # letters in a line of the title of a figure
# Distinct with any colour vision (Okabe and Ito): generic, adapted, all others.
_GENERIC_COLOUR, _ADAPTED_COLOUR, _OTHER_COLOUR = "#59636E", "#0072B2", "#E69F00"


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
            number = at_least(name, getattr(self, name), 1, optional=False)
            object.__setattr__(self, name, number)
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
        check_figure_file(Path(file))
        return save_figure(picture(self), Path(file))

    @printed
    def __str__(self) -> str:
        return as_text(self.table())


def picture(evaluation: Evaluation) -> "Figure":
    """The figure of matplotlib.

    Raises:
        MissingExtraError: matplotlib is not installed (extra `eval`).
    """
    figure = new_figure(10, 2.2 + 0.45 * len(evaluation.methods))
    names = [one.method for one in evaluation.methods]
    fonts = find_fonts([evaluation.headline(), *names])
    fonts.warn_of_missing("they are left out")
    with fonts.used():
        lines = fonts.writable(evaluation.headline()).splitlines()
        head = "\n".join(fill(line, _HEAD) for line in lines)
        figure.suptitle(head, x=0.01, ha="left", color=INK, fontsize=11, parse_math=False)
        left, right = figure.subplots(1, 2, sharey=True)
        names = [fonts.writable(name) for name in names]
        precision = [one.precision for one in evaluation.methods]
        _panel(left, f"precision@{evaluation.k}", names, precision)
        _panel(right, "V-measure", names, [one.v_measure for one in evaluation.methods])
    return figure


def _panel(axes: "Axes", title: str, names: Sequence[str], figures: Sequence[Estimate]) -> None:
    colours = [_GENERIC_COLOUR, _ADAPTED_COLOUR, *[_OTHER_COLOUR] * len(names)]
    for index, (one, colour) in enumerate(zip(figures, colours, strict=False)):
        axes.plot([one.low, one.high], [index, index], color=colour, lw=2.5, solid_capstyle="round")
        axes.plot([one.value], [index], "o", color=colour, ms=8, mec="white")
        axes.annotate(
            f"{one.value:.3f}",
            (one.value, index),
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
            color=INK,
            fontsize=10,
        )
    axes.set_title(title, loc="left", color=PALE_INK, fontsize=10)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.7)
    axes.margins(x=0.12)
    axes.grid(axis="x", color=FRAME)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, colors=INK)


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
