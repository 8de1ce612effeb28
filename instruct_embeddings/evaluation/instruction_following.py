"""Whether embeddings follow instructions: clusters, triplets and similarities of labelled texts.

- Clustering: do clusters under an instruction agree with the labels that it asks for (V-measure)?
- Triplets: of two texts that share one aspect each with a third, is the one closer whose aspect the
  instruction asks for? Embeddings that ignore the instruction are right under exactly one of the
  two instructions: their accuracy is 0.5.
- Similarity: do cosines of all pairs under all instructions follow whether the pair agrees in what
  is asked (Spearman)? Embeddings that ignore the instruction give each pair one cosine for two
  opposite answers: their correlation is 0.

The kinds are those of InBedder (ACL 2024, arXiv 2402.09642) and GSTransform (arXiv 2505.24754),
made of any texts with labels in two respects.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from instruct_embeddings._printable import as_text, figures_table, printed
from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.config import at_least, check_instruction
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.evaluation.metrics import (
    can_be_anchors,
    codes,
    conditioned_similarity,
    draw_triplets,
    k_means,
    triplet_accuracy,
    v_measure_of,
)
from instruct_embeddings.transform.quality import (
    ROUNDS,
    Statistic,
    paired_bootstrap,
    signed,
)
from instruct_embeddings.transform.vectors import unit_rows

if TYPE_CHECKING:
    from rich.table import Table

CLUSTERING, TRIPLETS, SIMILARITY = "clustering", "triplets", "similarity"
# Rows among which anchors are looked for: all of them are compared with each other.
_COMPARED = 4000

Method: TypeAlias = Callable[[str], ArrayLike]
"""Embeddings of all texts under an instruction, shape (n, d)."""
_Embedded: TypeAlias = Mapping[str, Mapping[str, FloatArray]]
"""Embeddings of all texts by method and instruction."""


@dataclass(frozen=True)
class Aspect:
    """One respect in which the texts carry labels, and how it is asked for.

    Attributes:
        name: Name of the aspect.
        instructions: The same question in several wordings.
        labels: One for each text; None where it has none.
    """

    name: str
    instructions: tuple[str, ...]
    labels: tuple[str | None, ...]

    def __post_init__(self) -> None:
        if isinstance(self.instructions, str) or not self.instructions:
            raise ConfigError(
                f"The aspect {self.name!r} has the instructions {self.instructions!r}. Pass at "
                "least one wording, as a tuple of sentences."
            )
        for text in self.instructions:
            check_instruction(text)


@dataclass(frozen=True)
class InstructionFollowingSizes:
    """How much is measured under each seed.

    Attributes:
        rows: Texts that are clustered, and texts that triplets are made of, at most.
        triplets: Triplets of each pair of aspects.
        rounds: Resamples of the paired bootstrap.
    """

    rows: int = 500
    triplets: int = 500
    rounds: int = ROUNDS

    def __post_init__(self) -> None:
        at_least("rows", self.rows, 4, optional=False)
        at_least("triplets", self.triplets, 2, optional=False)


@dataclass(frozen=True)
class InstructionFollowingScore:
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
class InstructionFollowingReport:
    """How well methods follow instructions.

    Attributes:
        figures: One for each kind, subject and method.
        baseline: The method that the others are compared with.
        seeds: Seeds of rows, triplets and k-means.
    """

    figures: tuple[InstructionFollowingScore, ...]
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
            lines.setdefault(name, [name]).append(str(figure))
        title = f"mean ± spread over {len(self.seeds)} seeds (gain over {self.baseline}, p)"
        return figures_table(title, ["figure", *methods], lines.values())

    @printed
    def __str__(self) -> str:
        return as_text(self.table())


def measure_instruction_following(
    aspects: Sequence[Aspect],
    methods: Mapping[str, Method],
    *,
    baseline: str,
    sizes: InstructionFollowingSizes | None = None,
    seeds: Sequence[int] = range(5),
) -> InstructionFollowingReport:
    """Measure how well methods follow instructions on texts with labels in several respects.

    Every method sees the same rows and the same triplets. A seed draws both, and starts k-means.

        measure_instruction_following(
            [Aspect("topic", ("What is it about?", "Name the topic."), topics), ...],
            {"generic": lambda instruction: vectors,
             "ours": lambda instruction: encoder.encode(texts, instruction=instruction)},
            baseline="generic",
        )

    Args:
        aspects: Of the same texts. Two of which one decides the other give no triplets together.
        methods: By name; each is called once for each wording.
        baseline: The method that the others are compared with.
        sizes: How much is measured.
        seeds: At least one.

    Raises:
        ConfigError: An argument is out of its range, labels and embeddings differ in number, or
            nothing can be measured.
        MissingExtraError: scikit-learn is not installed (extra `eval`).
    """
    chosen = sizes or InstructionFollowingSizes()
    _check(aspects, methods, baseline, seeds)
    wordings = dict.fromkeys(text for aspect in aspects for text in aspect.instructions)
    embedded = {
        name: {text: _rows_of(name, method(text), aspects) for text in wordings}
        for name, method in methods.items()
    }
    found: defaultdict[tuple[str, str], list[_Study]] = defaultdict(list)
    for seed in seeds:
        for study in _studies(aspects, embedded, chosen, seed):
            found[study.kind, study.subject].append(study)
    if not found:
        raise ConfigError(
            f"Nothing can be measured on the aspects {[a.name for a in aspects]}: none has two "
            "labels. Pass texts whose labels differ."
        )
    figures = [one for own in found.values() for one in _figures(own, baseline, chosen.rounds)]
    return InstructionFollowingReport(tuple(figures), baseline, tuple(seeds))


@dataclass(frozen=True)
class _Study:
    """One kind and subject under one seed: a statistic of the units for each method and wording."""

    kind: str
    subject: str
    seed: int
    units: int
    statistics: Mapping[str, list[Statistic]]


def _studies(
    aspects: Sequence[Aspect], embedded: _Embedded, sizes: InstructionFollowingSizes, seed: int
) -> Iterator[_Study]:
    for aspect in aspects:
        rows = np.random.default_rng(seed).permutation(_labelled(aspect))[: sizes.rows]
        names = codes([str(aspect.labels[row]) for row in rows])
        count = len(set(names.tolist()))
        if count > 1:
            statistics = {}
            for method, own in embedded.items():
                clusters = [k_means(own[text][rows], count, seed) for text in aspect.instructions]
                statistics[method] = [v_measure_of(names, one) for one in clusters]
            yield _Study(CLUSTERING, aspect.name, seed, len(rows), statistics)
    for one, other in combinations(aspects, 2):
        yield from _pair_studies(one, other, embedded, sizes, seed)


def _pair_studies(
    one: Aspect, other: Aspect, embedded: _Embedded, sizes: InstructionFollowingSizes, seed: int
) -> Iterator[_Study]:
    rng = np.random.default_rng(seed)
    both = rng.permutation(np.intersect1d(_labelled(one), _labelled(other)))[:_COMPARED]
    labels = np.array([[one.labels[row], other.labels[row]] for row in both]).reshape(-1, 2)
    anchors = can_be_anchors(labels)[: sizes.rows]
    rows, labels = both[anchors], labels[anchors]
    triplets = draw_triplets(labels, sizes.triplets, rng)
    if len(triplets) < 2:
        return
    # The first wording of the one meets the first of the other, and so on.
    asked = list(zip(one.instructions, other.instructions, strict=False))
    for kind, measure in ((TRIPLETS, triplet_accuracy), (SIMILARITY, conditioned_similarity)):
        statistics = {
            method: [measure(own[a][rows], own[b][rows], triplets) for a, b in asked]
            for method, own in embedded.items()
        }
        yield _Study(kind, f"{one.name} + {other.name}", seed, len(triplets), statistics)


def _figures(
    studies: Sequence[_Study], baseline: str, rounds: int
) -> Iterator[InstructionFollowingScore]:
    """The figures of one kind and subject from its studies, one a seed."""
    first = studies[0]
    for method in first.statistics:
        values = np.array(
            [[one(np.arange(s.units)) for one in s.statistics[method]] for s in studies]
        )  # (seeds, wordings)
        gains = []
        for study in studies if method != baseline else ():
            own, other = (_average(study.statistics[name]) for name in (method, baseline))
            gains.append(paired_bootstrap(own, other, study.units, rounds=rounds, seed=study.seed))
        yield InstructionFollowingScore(
            kind=first.kind,
            subject=first.subject,
            method=method,
            units=first.units,
            mean=float(values.mean()),
            spread=_deviation(values.mean(1)),
            wording_spread=_deviation(values.mean(0)),
            gain=float(np.mean([gain.value for gain in gains])) if gains else None,
            p_value=max(gain.p_value for gain in gains) if gains else None,
        )


def _average(statistics: Sequence[Statistic]) -> Statistic:
    return lambda units: sum(one(units) for one in statistics) / len(statistics)


def _deviation(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def _labelled(aspect: Aspect) -> IntArray:
    return np.flatnonzero([label is not None for label in aspect.labels])


def _rows_of(name: str, embeddings: ArrayLike, aspects: Sequence[Aspect]) -> FloatArray:
    rows = unit_rows(embeddings)
    if len(rows) != len(aspects[0].labels):
        raise ConfigError(
            f"The method {name!r} gave {len(rows)} embeddings for {len(aspects[0].labels)} texts. "
            "It must embed every text, in their order."
        )
    return rows


def _check(
    aspects: Sequence[Aspect], methods: Mapping[str, Method], baseline: str, seeds: Sequence[int]
) -> None:
    if len({len(aspect.labels) for aspect in aspects}) != 1:
        raise ConfigError(
            f"Aspects have labels of {[len(a.labels) for a in aspects]} texts. Pass at least one "
            "aspect, and for each one label a text (None where there is none)."
        )
    if baseline not in methods or not seeds or len(set(seeds)) != len(seeds):
        raise ConfigError(
            f"Got baseline={baseline!r} of the methods {list(methods)} and seeds={list(seeds)}. "
            "The baseline has to be one of the methods, seeds at least one, each once."
        )
