"""Generic against adapted vectors on one's own labelled texts, with confidence intervals."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.config import FitConfig
from instruct_embeddings.errors import ConfigError, TransformWarning
from instruct_embeddings.evaluation.arrays import ArrayCollection
from instruct_embeddings.evaluation.metrics import codes, k_means, v_measure_of
from instruct_embeddings.evaluation.report import (
    ADAPTED,
    GENERIC,
    Evaluation,
    EvaluationConfig,
    Scored,
)
from instruct_embeddings.guides.annotations import LabelGuide, MetadataGuide
from instruct_embeddings.protocols import Guide, VectorCollection
from instruct_embeddings.retrieval.retriever import InstructRetriever
from instruct_embeddings.retrieval.sampling import sample_rows
from instruct_embeddings.transform.quality import (
    Statistic,
    bootstrap,
    mean_of,
    paired_bootstrap,
    precision_at_k,
)
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
    if not len(unit) == len(labels) == len(labels if texts is None else texts):
        raise ConfigError(
            f"Got {len(unit)} vectors, {len(labels)} labels and "
            f"{'no' if texts is None else len(texts)} texts. Pass one of each for every row."
        )
    learn, measure = _split(labels, chosen)
    names = codes([str(labels[row]) for row in measure])
    pool = unit[measure]
    queries = pool[: chosen.queries]

    teacher = guide or LabelGuide({str(row): str(labels[row]) for row in learn})
    collection = ArrayCollection(
        [str(row) for row in learn],
        unit[learn],
        None if texts is None else [texts[i] for i in learn],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TransformWarning)  # the report says the same
        retriever = InstructRetriever(collection, teacher, fit=fit or FitConfig(seed=chosen.seed))
        transform = retriever.transform(instruction)
    used = transform.report.gains or chosen.force

    spaces = {GENERIC: pool, ADAPTED: transform.space.encoder.encode(pool) if used else pool}
    scores = {GENERIC: queries @ pool.T, ADAPTED: queries @ pool.T}
    if used:
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
    """Precision of the queries and V-measure of the rows, with intervals, by method.

    Labels of shape (m,), what is clustered of shape (m, any), scores of shape (q, m); the queries
    are the first rows.
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
    found: dict[str, tuple[Statistic, Statistic]] = {}
    for name, space in spaces.items():
        np.fill_diagonal(scores[name], val=-np.inf)  # a query does not find itself
        hits = precision_at_k(scores[name][answerable], relevant[answerable], config.k)
        clusters = k_means(space, int(names.max()) + 1, config.seed)
        found[name] = mean_of(hits), v_measure_of(names, clusters)
    methods = []
    settings: dict[str, Any] = {"rounds": config.rounds, "level": config.level, "seed": config.seed}
    for name, (precision, agreement) in found.items():
        generic = None if name == GENERIC else found[GENERIC]
        methods.append(
            Scored(
                name,
                bootstrap(precision, count, **settings),
                bootstrap(agreement, len(names), **settings),
                generic and paired_bootstrap(precision, generic[0], count, **settings),
                generic and paired_bootstrap(agreement, generic[1], len(names), **settings),
            )
        )
    return tuple(methods)
