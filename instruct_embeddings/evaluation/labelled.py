"""Generic against adapted vectors on one's own labelled texts, with confidence intervals."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from instruct_embeddings._types import FloatArray
from instruct_embeddings.config import FitConfig
from instruct_embeddings.errors import ConfigError, TransformWarning
from instruct_embeddings.evaluation.arrays import ArrayCollection
from instruct_embeddings.evaluation.clustering import codes, k_means, v_measure_of
from instruct_embeddings.evaluation.report import (
    ADAPTED,
    GENERIC,
    Evaluation,
    EvaluationConfig,
    Scored,
)
from instruct_embeddings.guides.labels import LabelGuide, MetadataGuide
from instruct_embeddings.protocols import Guide, VectorCollection
from instruct_embeddings.retrieval.retriever import InstructRetriever
from instruct_embeddings.retrieval.sampling import sample_rows
from instruct_embeddings.transform.quality import precision_at_k
from instruct_embeddings.transform.significance import (
    Statistic,
    bootstrap,
    mean_of,
    paired_bootstrap,
)
from instruct_embeddings.transform.transform import InstructionTransform
from instruct_embeddings.transform.vectors import unit_rows


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
            that know rows by id find them under "0", "1", ..., their places.
        others: Further vectors of the rows by name, each of shape (n, any), to compare with.
        config: How it is measured.
        fit: How the transform is fitted.

    Raises:
        ConfigError: The arguments differ in length, or too few rows or labels are left to measure.
        GuideError: The guide finds nothing to learn from.
        MissingExtraError: scikit-learn is not installed (extra `eval`).
    """
    chosen = config or EvaluationConfig()
    rows = _Labelled.of(vectors, labels, texts, chosen)
    taught = guide or LabelGuide({str(i): str(labels[i]) for i in rows.learn})
    transform = _taught(rows, instruction, taught, fit or FitConfig(seed=chosen.seed))
    used = transform.report.gains or chosen.force
    pool = rows.vectors[rows.measure]
    spaces = {GENERIC: pool, ADAPTED: transform.space.encoder.encode(pool) if used else pool}
    ranked = {GENERIC: _cosines(pool, chosen), ADAPTED: _cosines(pool, chosen)}
    if used:
        ranked[ADAPTED] = _adapted(transform, pool, chosen)
    for name, given in (others or {}).items():
        spaces[name] = rows.measured(name, given)
        ranked[name] = _cosines(spaces[name], chosen)
    found = _statistics(rows.labels, spaces, ranked, chosen)
    return Evaluation(
        instruction=instruction,
        guide=taught.key,
        learned=len(rows.learn),
        measured=len(pool),
        labels=len(set(rows.labels)),
        k=chosen.k,
        used=used,
        methods=tuple(_scored(name, found, chosen) for name in spaces),
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


@dataclass(frozen=True)
class _Labelled:
    """Rows with labels, split.

    Attributes:
        vectors: Unit rows, shape (n, d), unlabelled ones too.
        texts: One a row.
        learn: Places of the rows to learn from.
        measure: Places of the rows to measure.
        labels: Of the rows to measure.
    """

    vectors: FloatArray
    texts: Sequence[str | None]
    learn: list[int]
    measure: list[int]
    labels: tuple[str, ...]

    @classmethod
    def of(
        cls,
        vectors: ArrayLike,
        labels: Sequence[str | None],
        texts: Sequence[str] | None,
        config: EvaluationConfig,
    ) -> "_Labelled":
        unit = unit_rows(vectors)
        if not len(unit) == len(labels) == len(labels if texts is None else texts):
            raise ConfigError(
                f"Got {len(unit)} vectors, {len(labels)} labels and "
                f"{'no' if texts is None else len(texts)} texts. Pass one of each for every row."
            )
        known = [i for i, label in enumerate(labels) if label is not None]
        order = np.random.default_rng(config.seed).permutation(known).tolist()
        cut = round(config.learn * len(order))
        measured = order[cut:]
        own = tuple(str(labels[i]) for i in measured)
        if len(measured) <= config.k or len(set(own)) < 2:
            raise ConfigError(
                f"{len(measured)} rows with {len(set(own))} labels are left to measure; more than "
                f"k={config.k} rows and at least 2 labels are needed. Pass more labelled rows."
            )
        return cls(unit, texts or [None] * len(unit), order[:cut], measured, own)

    def measured(self, name: str, vectors: ArrayLike) -> FloatArray:
        """Other vectors of the measured rows, shape (m, any)."""
        unit = unit_rows(vectors)
        if len(unit) != len(self.vectors) or name in (GENERIC, ADAPTED):
            raise ConfigError(
                f"others[{name!r}] holds {len(unit)} vectors for {len(self.vectors)} rows. Pass "
                f"one a row, under a name other than {GENERIC!r} and {ADAPTED!r}."
            )
        return unit[self.measure]


def _taught(
    rows: _Labelled, instruction: str, guide: Guide, fit: FitConfig
) -> InstructionTransform:
    """What a guide teaches on the part to learn from; the report says whether it gains."""
    collection = ArrayCollection(
        [str(i) for i in rows.learn], rows.vectors[rows.learn], [rows.texts[i] for i in rows.learn]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TransformWarning)
        return InstructRetriever(collection, guide, fit=fit).transform(instruction)


def _cosines(pool: FloatArray, config: EvaluationConfig) -> FloatArray:
    return _without_self(pool[: config.queries] @ pool.T)


def _adapted(
    transform: InstructionTransform, pool: FloatArray, config: EvaluationConfig
) -> FloatArray:
    """Scores of all measured rows for each query, as an exact search gives them."""
    queries = pool[: config.queries]
    return _without_self(np.stack([transform.score(query[None], pool) for query in queries]))


def _without_self(scores: FloatArray) -> FloatArray:
    """Queries are the first rows, and do not find themselves; shape (q, n)."""
    np.fill_diagonal(scores, -np.inf)
    return scores


@dataclass(frozen=True)
class _Found:
    """Precision as a statistic of queries and V-measure as one of rows, by method."""

    statistics: Mapping[str, tuple[Statistic, Statistic]]
    queries: int
    rows: int


def _statistics(
    labels: Sequence[str],
    spaces: Mapping[str, FloatArray],
    ranked: Mapping[str, FloatArray],
    config: EvaluationConfig,
) -> _Found:
    names = codes(labels)
    asked = names[: config.queries]
    relevant: NDArray[np.bool_] = asked[:, None] == names[None]
    np.fill_diagonal(relevant, val=False)
    answerable = relevant.any(axis=1)
    if answerable.sum() < 2:
        raise ConfigError(
            f"Only {int(answerable.sum())} of {len(asked)} queries share their label with another "
            "measured row; at least 2 are needed. Pass more rows of each label."
        )
    found = {}
    for name, space in spaces.items():
        precision = precision_at_k(ranked[name][answerable], relevant[answerable], config.k)
        clusters = k_means(space, int(names.max()) + 1, config.seed)
        found[name] = (mean_of(precision), v_measure_of(names, clusters))
    return _Found(found, int(answerable.sum()), len(names))


def _scored(name: str, found: _Found, config: EvaluationConfig) -> Scored:
    rounds, level, seed = config.rounds, config.level, config.seed
    estimates, gains = [], []
    for one, generic, size in zip(
        found.statistics[name], found.statistics[GENERIC], (found.queries, found.rows), strict=True
    ):
        estimates.append(bootstrap(one, size, rounds=rounds, level=level, seed=seed))
        gain = paired_bootstrap(one, generic, size, rounds=rounds, level=level, seed=seed)
        gains.append(None if name == GENERIC else gain)
    return Scored(name, estimates[0], estimates[1], gains[0], gains[1])
