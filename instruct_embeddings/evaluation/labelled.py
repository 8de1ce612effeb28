"""Generic against adapted vectors on one's own labelled texts, with confidence intervals."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from instruct_embeddings._printable import as_text, figures_table, printed
from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.config import FitConfig, at_least
from instruct_embeddings.errors import ConfigError, TransformWarning
from instruct_embeddings.evaluation.metrics import codes, k_means, v_measure_of
from instruct_embeddings.explain.figures import (
    FRAME,
    INK,
    PALE_INK,
    check_figure_file,
    find_fonts,
    new_figure,
    save_figure,
)
from instruct_embeddings.guides.annotations import LabelGuide, MetadataGuide
from instruct_embeddings.protocols import Guide, VectorCollection
from instruct_embeddings.retrieval.retriever import InstructRetriever
from instruct_embeddings.retrieval.sampling import sample_rows
from instruct_embeddings.testing import InMemoryCollection
from instruct_embeddings.transform.quality import (
    LEVEL,
    ROUNDS,
    Difference,
    Estimate,
    Statistic,
    bootstrap,
    leave_self_out,
    mean_of,
    paired_bootstrap,
    precision_at_k,
)
from instruct_embeddings.transform.report import FitReport
from instruct_embeddings.transform.vectors import unit_rows

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
        """One method by name; a `KeyError` for one that was not compared."""
        return {one.method: one for one in self.methods}[method]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "fit": self.fit.to_dict()}

    def table(self) -> "Table":
        """A line for each method; for a console of rich."""
        heads = ["method", f"precision@{self.k}", "gain", "V-measure", "gain"]
        lines = []
        for one in self.methods:
            found = (one.precision, one.precision_gain, one.v_measure, one.v_measure_gain)
            shown = (x.brief() if isinstance(x, Difference) else str(x or "") for x in found)
            lines.append([one.method, *shown])
        return figures_table(self.headline(), heads, lines)

    def headline(self) -> str:
        """Instruction, sizes, and whether the transform was not used; a line for each."""
        unused = "" if self.used else "\nthe transform is not used, since its gain may be chance"
        return (
            f'"{self.instruction}"\n{self.measured:,} rows with {self.labels:,} labels, learned '
            f"from {self.learned:,} others{unused}"
        )

    def plot(self, file: str | Path) -> Path:
        """Save a picture of the figures and their intervals; its folder is made.

        Raises:
            ConfigError: The name of the file does not end in .png, .svg or .pdf.
            MissingExtraError: matplotlib is not installed (extra `eval`).
        """
        check_figure_file(Path(file))
        return save_figure(picture(self), Path(file))

    @printed
    def __str__(self) -> str:
        return as_text(self.table())


def picture(evaluation: Evaluation) -> "Figure":
    """The figure of matplotlib."""
    methods = evaluation.methods
    figure = new_figure(10, 2.2 + 0.45 * len(methods))
    names = [one.method for one in methods]
    fonts = find_fonts([evaluation.headline(), *names])
    fonts.warn_of_missing("they are left out")
    with fonts.used():
        lines = fonts.writable(evaluation.headline()).splitlines()
        head = "\n".join(fill(line, _HEAD) for line in lines)
        figure.suptitle(head, x=0.01, ha="left", color=INK, fontsize=11, parse_math=False)
        left, right = figure.subplots(1, 2, sharey=True)
        names = [fonts.writable(name) for name in names]
        _panel(left, f"precision@{evaluation.k}", names, [one.precision for one in methods])
        _panel(right, "V-measure", names, [one.v_measure for one in methods])
    return figure


def _panel(axes: "Axes", title: str, names: Sequence[str], figures: Sequence[Estimate]) -> None:
    colours = [_GENERIC_COLOUR, _ADAPTED_COLOUR, *[_OTHER_COLOUR] * len(names)]
    look: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "color": INK}
    for index, (one, colour) in enumerate(zip(figures, colours, strict=False)):
        axes.plot([one.low, one.high], [index, index], color=colour, lw=2.5, solid_capstyle="round")
        axes.plot([one.value], [index], "o", color=colour, ms=8, mec="white")
        axes.annotate(f"{one.value:.3f}", (one.value, index), xytext=(0, 9), fontsize=10, **look)
    axes.set_title(title, loc="left", color=PALE_INK, fontsize=10)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.7)
    axes.margins(x=0.12)
    axes.grid(axis="x", color=FRAME)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, colors=INK)


def evaluate(
    vectors: ArrayLike,
    labels: Sequence[str | None],
    *,
    instruction: str,
    texts: Sequence[str] | None = None,
    guide: Guide | None = None,
    others: Mapping[str, ArrayLike] | None = None,
    config: EvaluationConfig | None = None,
    fit: FitConfig | None = None,
) -> Evaluation:
    """Compare stored vectors with the same vectors under an instruction, on labelled rows.

    The transform learns from one part of the rows; the other part is ranked and clustered. Two
    rows belong together where they have the same label.

        report = evaluate(vectors, labels, instruction="Which area is it about?",
                          texts=texts, guide=EncoderGuide())
        print(report)
        report.plot("report.png")

    Args:
        vectors: Generic vectors of the rows, shape (n, d).
        labels: What the instruction asks for, one a row; rows whose label is None are left out.
        instruction: A plain sentence.
        texts: Texts of the rows, for a guide that reads them.
        guide: What the transform learns from; None for the labels of its part of the rows. Guides
            that know rows by id find them under "0", "1", ..., their positions.
        others: Further vectors of the rows by name, each of shape (n, any), to compare with.
        config: How it is measured.
        fit: How the transform is fitted.

    Raises:
        ConfigError: The arguments differ in length, or too few rows or labels are left to measure.
        GuideError: The guide finds nothing to learn from.
        MissingExtraError: scikit-learn is not installed (extra `eval`).
    """
    chosen = config or EvaluationConfig()
    unit = unit_rows(vectors)
    read: Sequence[str | None] = [None] * len(labels) if texts is None else texts
    if not len(unit) == len(labels) == len(read):
        raise ConfigError(
            f"Got {len(unit)} vectors, {len(labels)} labels and {len(read)} texts. Pass one of "
            "each for every row, or no texts."
        )
    learn, measure = _split(labels, chosen)
    names = codes([str(labels[row]) for row in measure])
    pool = unit[measure]
    queries = pool[: chosen.queries]

    ids = [str(row) for row in learn]
    teacher = guide or LabelGuide({row: str(labels[int(row)]) for row in ids})
    collection = InMemoryCollection(unit[learn], ids=ids, texts=[read[row] for row in learn])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TransformWarning)  # the report says the same
        retriever = InstructRetriever(collection, teacher, fit=fit or FitConfig(seed=chosen.seed))
        transform = retriever.transform(instruction)
    used = transform.report.gains or chosen.force

    spaces = {GENERIC: pool, ADAPTED: pool}
    scores = dict.fromkeys(spaces, queries @ pool.T)
    if used:
        spaces[ADAPTED] = transform.space.encoder.encode(pool)
        # One query at a time, as an exact search scores it.
        scores[ADAPTED] = np.stack([transform.score(query[None], pool) for query in queries])
    for name, given in (others or {}).items():
        spaces[name] = _other(name, given, len(unit))[measure]
        scores[name] = spaces[name][: chosen.queries] @ spaces[name].T
    return Evaluation(
        instruction=instruction,
        guide=teacher.key,
        learned=len(learn),
        measured=len(pool),
        labels=int(names.max()) + 1,
        k=chosen.k,
        used=used,
        methods=_methods(names, spaces, scores, chosen),
        fit=transform.report,
    )


def evaluate_collection(
    collection: VectorCollection,
    metadata_key: str,
    *,
    instruction: str,
    guide: Guide | None = None,
    rows: int = 3000,
    config: EvaluationConfig | None = None,
    fit: FitConfig | None = None,
) -> Evaluation:
    """The same for a sample of a stored collection whose metadata holds the labels.

    Args:
        collection: What a retriever searches: `retriever.engine.collection` of the adapters.
        metadata_key: Where the labels are; rows without one, or with several, are left out.
        instruction: Asks for these labels.
        guide: What the transform learns from; None for the labels.
        rows: Rows read, at most.
        config: How it is measured.
        fit: How the transform is fitted.

    Raises:
        GuideError: No row read has the key, or the guide finds nothing to learn from.
        ConfigError: Too few rows or labels are left to measure.
        MissingExtraError: scikit-learn is not installed (extra `eval`).
    """
    chosen = config or EvaluationConfig()
    sample = sample_rows(collection, rows, seed=chosen.seed)
    found = MetadataGuide(metadata_key).judge(instruction, sample).rows
    labels = [next(iter(names)) if len(names) == 1 else None for names in found]
    return evaluate(
        sample.vectors,
        labels,
        instruction=instruction,
        texts=[text or "" for text in sample.read_texts],
        guide=guide,
        config=chosen,
        fit=fit,
    )


def _split(labels: Sequence[str | None], config: EvaluationConfig) -> tuple[list[int], list[int]]:
    """Rows to learn from and rows to measure, among those with a label."""
    known = [row for row, label in enumerate(labels) if label is not None]
    order = np.random.default_rng(config.seed).permutation(known).tolist()
    cut = round(config.learn * len(order))
    learn, measure = order[:cut], order[cut:]
    distinct = len({str(labels[row]) for row in measure})
    if len(measure) <= config.k or distinct < 2:
        raise ConfigError(
            f"{len(measure)} rows with {distinct} labels are left to measure; more than "
            f"k={config.k} rows and at least 2 labels are needed. Pass more labelled rows."
        )
    return learn, measure


def _other(name: str, vectors: ArrayLike, rows: int) -> FloatArray:
    unit = unit_rows(vectors)
    if len(unit) != rows or name in (GENERIC, ADAPTED):
        raise ConfigError(
            f"others[{name!r}] holds {len(unit)} vectors for {rows} rows. Pass one a row, under a "
            f"name other than {GENERIC!r} and {ADAPTED!r}."
        )
    return unit


def _methods(
    names: IntArray,
    spaces: Mapping[str, FloatArray],
    scores: Mapping[str, FloatArray],
    config: EvaluationConfig,
) -> tuple[Scored, ...]:
    """Precision of the queries, which are the first rows, and V-measure of all, by method.

    Labels of shape (m,), what is clustered of shape (m, any), scores of shape (q, m).
    """
    queries = names[: config.queries]
    relevant = queries[:, None] == names[None]
    np.fill_diagonal(relevant, val=False)
    answerable = relevant.any(axis=1)
    count = int(answerable.sum())
    if count < 2:
        raise ConfigError(
            f"Only {count} of {len(queries)} queries share their label with another measured row; "
            "at least 2 are needed. Pass more rows of each label."
        )
    settings: dict[str, Any] = {"rounds": config.rounds, "level": config.level, "seed": config.seed}
    generic: tuple[Statistic, Statistic] | None = None
    methods = []
    for name, space in spaces.items():  # generic first
        own = leave_self_out(scores[name])
        precision = mean_of(precision_at_k(own[answerable], relevant[answerable], config.k))
        agreement = v_measure_of(names, k_means(space, int(names.max()) + 1, config.seed))
        methods.append(
            Scored(
                name,
                bootstrap(precision, count, **settings),
                bootstrap(agreement, len(names), **settings),
                generic and paired_bootstrap(precision, generic[0], count, **settings),
                generic and paired_bootstrap(agreement, generic[1], len(names), **settings),
            )
        )
        generic = generic or (precision, agreement)
    return tuple(methods)
