"""The suite of instruction awareness: aspects, wordings, seeds, methods and their significance."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.config import at_least, check_instruction
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.evaluation.awareness import (
    can_be_anchors,
    clustering_agreement,
    conditioned_similarity,
    draw_triplets,
    triplet_accuracy,
)
from instruct_embeddings.evaluation.awareness_report import AwarenessFigure, AwarenessReport
from instruct_embeddings.transform.significance import (
    ROUNDS,
    Difference,
    Statistic,
    paired_bootstrap,
)
from instruct_embeddings.transform.vectors import unit_rows

CLUSTERING, TRIPLETS, SIMILARITY = "clustering", "triplets", "similarity"
# Rows among which anchors are looked for: all of them are compared with each other.
_COMPARED = 4000

Method: TypeAlias = Callable[[str], ArrayLike]
"""Embeddings of all texts under an instruction, shape (n, d)."""


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
class AwarenessSizes:
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


def measure_awareness(
    aspects: Sequence[Aspect],
    methods: Mapping[str, Method],
    *,
    baseline: str,
    sizes: AwarenessSizes | None = None,
    seeds: Sequence[int] = range(5),
) -> AwarenessReport:
    """Measure how well methods obey instructions on texts with labels in several respects.

    Every method sees the same rows and the same triplets. A seed draws both, and starts k-means.

        measure_awareness(
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
    chosen = sizes or AwarenessSizes()
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
    figures = [
        figure
        for studies in found.values()
        for figure in _figures(studies, baseline, chosen.rounds)
    ]
    return AwarenessReport(tuple(figures), baseline, tuple(seeds))


_Embedded: TypeAlias = Mapping[str, Mapping[str, FloatArray]]
"""Embeddings of all texts by method and instruction."""


@dataclass(frozen=True)
class _Study:
    """One kind and subject under one seed: a statistic of the units for each method and wording."""

    kind: str
    subject: str
    seed: int
    units: int
    statistics: Mapping[str, list[Statistic]]

    def gain(self, method: str, baseline: str, rounds: int) -> Difference:
        """Of one method over another, wordings averaged."""
        return paired_bootstrap(
            _average(self.statistics[method]),
            _average(self.statistics[baseline]),
            self.units,
            rounds=rounds,
            seed=self.seed,
        )


def _studies(
    aspects: Sequence[Aspect], embedded: _Embedded, sizes: AwarenessSizes, seed: int
) -> Iterator[_Study]:
    for aspect in aspects:
        rng = np.random.default_rng(seed)
        rows = rng.permutation(_labelled(aspect))[: sizes.rows]
        labels = [str(aspect.labels[row]) for row in rows]
        if len(set(labels)) > 1:
            yield _Study(
                CLUSTERING,
                aspect.name,
                seed,
                len(rows),
                {
                    name: [
                        clustering_agreement(own[text][rows], labels, seed)
                        for text in aspect.instructions
                    ]
                    for name, own in embedded.items()
                },
            )
    for one, other in combinations(aspects, 2):
        yield from _pair_studies(one, other, embedded, sizes, seed)


def _pair_studies(
    one: Aspect, other: Aspect, embedded: _Embedded, sizes: AwarenessSizes, seed: int
) -> Iterator[_Study]:
    rng = np.random.default_rng(seed)
    both = rng.permutation(np.intersect1d(_labelled(one), _labelled(other)))[:_COMPARED]
    labels = np.array([[one.labels[row], other.labels[row]] for row in both]).reshape(-1, 2)
    places = can_be_anchors(labels)[: sizes.rows]
    rows, labels = both[places], labels[places]
    triplets = draw_triplets(labels, sizes.triplets, rng)
    if len(triplets) < 2:
        return
    # The first wording of the one meets the first of the other, and so on.
    asked = list(zip(one.instructions, other.instructions, strict=False))
    for kind, measure in ((TRIPLETS, triplet_accuracy), (SIMILARITY, conditioned_similarity)):
        yield _Study(
            kind,
            f"{one.name} + {other.name}",
            seed,
            len(triplets),
            {
                name: [measure(own[a][rows], own[b][rows], triplets) for a, b in asked]
                for name, own in embedded.items()
            },
        )


def _figures(studies: Sequence[_Study], baseline: str, rounds: int) -> Iterator[AwarenessFigure]:
    """The figures of one kind and subject from its studies, one a seed."""
    first = studies[0]
    for method in first.statistics:
        values = np.array(
            [[one(np.arange(s.units)) for one in s.statistics[method]] for s in studies]
        )  # (seeds, wordings)
        others = [] if method == baseline else studies
        gains = [study.gain(method, baseline, rounds) for study in others]
        yield AwarenessFigure(
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
    if baseline not in methods:
        raise ConfigError(
            f"baseline={baseline!r} is no method; there are {list(methods)}. Name one of them."
        )
    if not seeds or len(set(seeds)) != len(seeds):
        raise ConfigError(f"seeds={list(seeds)} holds none, or one twice. Pass distinct seeds.")
