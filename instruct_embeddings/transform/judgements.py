"""Judgements correct a transform that was fitted before.

The scores of the transform are compared with what was judged; the differences are spread over
similar pairs by kernel ridge regression. It is Rocchio's relevance feedback (1971), which moves a
query by the documents that were judged for it, extended to similar queries; a document that the
transform ranks well already moves nothing. All of it is closed form: the coefficients, and the
predictions for pairs that were left out, without fitting again (Rifkin and Lippert, 2007,
section 3).
"""

from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from instruct_embeddings._threads import one_thread
from instruct_embeddings._types import BoolArray, FloatArray, IntArray
from instruct_embeddings.errors import GuideError
from instruct_embeddings.supervision import Pairs
from instruct_embeddings.transform.problems import PairProblem, group_rows
from instruct_embeddings.transform.quality import standard_error
from instruct_embeddings.transform.report import JudgementReport
from instruct_embeddings.transform.transform import Correction, InstructionTransform, nearness

# The systems that are solved are small and may be badly conditioned.
Doubles: TypeAlias = NDArray[np.float64]

MAX_PAIRS = 2000
MAX_QUERIES = 4000
PENALTY = 0.3
_MAX_COUPLES = 1000
_RANK = 64
_STEEPNESS = 10.0
# A logistic curve rises by a quarter of its steepness, so this turns probabilities into scores.
_STEP = 4.0 / _STEEPNESS
_NEWTON_STEPS = 30


def refine(
    transform: InstructionTransform, pairs: Pairs, *, guide: str | None = None
) -> InstructionTransform:
    """Correct a transform by judged pairs.

    Whether queries far from the judged ones are moved as well is chosen on held-out queries. The
    transform is kept where held-out rows of the judged queries lose, or held-out queries lose more
    than the standard error; the report says so.

    Args:
        transform: Fitted before, or refined before: corrections add up.
        pairs: Judged pairs of generic vectors of its collection; of more than 2,000 the last.
        guide: Key of the guide that judged, by which the result is stored; None keeps the key.

    Raises:
        GuideError: The pairs have another dimension, or there are not at least two relevant and
            two irrelevant ones.
    """
    if pairs.queries.shape[1] != transform.collection.dimension:
        raise GuideError(
            f"The judged pairs have {pairs.queries.shape[1]} dimensions, the transform of "
            f"{transform.collection.name!r} has {transform.collection.dimension}. Embed queries "
            "with the model that filled the collection."
        )
    known = PairProblem.of(pairs.take(slice(-MAX_PAIRS, None))).pairs
    query = transform.query
    with one_thread():
        feedback = Feedback.of(transform, known)
        trials = [feedback.attempt(everywhere) for everywhere in (True, False)]
        best = max(trials, key=lambda trial: float(trial.new.mean()))
        report = feedback.report(best)
        if report.used:
            query = replace(query, correction=_sum(query.correction, feedback.correction(best)))
    return replace(
        transform,
        guide=guide or transform.guide,
        query=query,
        report=replace(transform.report, judgements=report),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


@dataclass(frozen=True)
class Metric:
    """An inner product of stored vectors: as stored and as the transform sees them, equally.

        <x, y> = (x^T y + x^T D^T D y / l^2) / 2,

    where D holds the directions of the folded query and l is the typical length of D x. It is
    linear in a stored vector, so that an index can compute what is learned with it.
    """

    directions: FloatArray  # `D`, (c, d)
    square: float  # `l^2`; 0 where the directions say nothing, and then <x, y> is x^T y

    @classmethod
    def of(cls, directions: FloatArray, documents: FloatArray) -> "Metric":
        """Measure the length on some stored vectors, shape (m, d)."""
        seen = documents @ directions.T
        return cls(directions, float(np.square(seen).sum(axis=1).mean()))

    def lift(self, vectors: FloatArray) -> FloatArray:
        """What stored vectors are multiplied by for the inner product, (n, d) to (n, d)."""
        if not self.square > 0:
            return vectors
        seen = (vectors @ self.directions.T) @ self.directions / np.float32(self.square)
        return np.asarray((vectors + seen) / 2, dtype=np.float32)


@dataclass(frozen=True)
class Trial:
    """A correction with what held-out couples gain by it over the transform."""

    coefficients: Doubles  # what the move of each pair is multiplied by, (m,)
    everywhere: bool  # whether it moves queries far from the judged ones
    same: FloatArray  # gain of each query from judgements of its other rows, (u,)
    new: FloatArray  # gain of each query from judgements of other queries, (u,)


@dataclass(frozen=True)
class Feedback:
    """Judged pairs, and how far a transform is from them."""

    pairs: Pairs  # m pairs of unit vectors
    metric: Metric  # compares documents
    scores: Doubles  # of the transform, (m,)
    surprises: Doubles  # 1 or 0 as judged, less the probability at such scores, (m,)
    groups: IntArray  # query of each pair, (m,)
    couples: IntArray  # (relevant, irrelevant) pairs to put in order, (c, 2)

    @classmethod
    def of(cls, transform: InstructionTransform, pairs: Pairs) -> "Feedback":
        """Compare a transform with judgements."""
        groups = group_rows(pairs.queries)
        scores = pair_scores(transform, pairs, groups)
        return cls(
            pairs=pairs,
            metric=Metric.of(transform.query.directions, pairs.documents),
            scores=scores,
            surprises=pairs.relevant - calibrate(scores, pairs.relevant),
            groups=groups,
            couples=find_couples(pairs.relevant, groups, transform.config.seed),
        )

    def attempt(self, everywhere: bool) -> Trial:
        """Learn a correction and measure it on couples that it was not learned from."""
        inverse = ridge_inverse(pair_kernel(self.pairs, self.metric, everywhere))
        before = self.scores[self.couples]
        # Both of a couple at once: without one alone, it looks like the opposite of what it is
        # (Airola et al., 2011).
        same = predict_left_out(inverse, self.surprises, self.couples)
        new = predict_for_new_queries(inverse, self.surprises, self.couples, self.groups)
        start = self.by_query(before)
        return Trial(
            coefficients=_STEP * (inverse @ self.surprises),
            everywhere=everywhere,
            same=self.by_query(before + _STEP * same) - start,
            new=self.by_query(before + _STEP * new) - start,
        )

    def by_query(self, scores: Doubles) -> FloatArray:
        """Share of couples in order for each query, ties count half, shape (c, 2) to (u,)."""
        good, bad = scores.T
        ordered = (good > bad) + 0.5 * (good == bad)
        _, queries = np.unique(self.groups[self.couples[:, 0]], return_inverse=True)
        means = np.bincount(queries, ordered) / np.bincount(queries)
        return np.asarray(means, dtype=np.float32)

    def report(self, trial: Trial) -> JudgementReport:
        """Decide whether a correction is used, and say why."""
        cosines = (self.pairs.queries * self.pairs.documents).sum(axis=1, dtype=np.float64)
        generic = self.by_query(cosines[self.couples])
        before = self.by_query(self.scores[self.couples])
        harms_new = trial.new.mean() < -standard_error(trial.new)
        return JudgementReport(
            judged=len(self.groups),
            queries=int(self.groups.max()) + 1,
            generic=float(generic.mean()),
            before=float(before.mean()),
            same_queries=float((before + trial.same).mean()),
            new_queries=float((before + trial.new).mean()),
            gain_error=standard_error(before + trial.same - generic),
            everywhere=trial.everywhere,
            used=bool(trial.same.mean() >= 0 and not harms_new),
        )

    def correction(self, trial: Trial) -> Correction:
        """The move that gives each pair the sum of its similarities times the coefficients."""
        lifted = self.metric.lift(self.pairs.documents)
        weighted = trial.coefficients.astype(np.float32)[:, None] * lifted
        _, firsts = np.unique(self.groups, return_index=True)
        moves = np.zeros((len(firsts), weighted.shape[1]), dtype=np.float32)
        np.add.at(moves, self.groups, weighted)
        half = self.metric.lift(self.pairs.queries).T @ weighted / 2
        form = np.asarray(trial.everywhere * (half + half.T), dtype=np.float32)
        return Correction(self.pairs.queries[firsts], moves, *low_rank(form, _RANK))


def pair_scores(transform: InstructionTransform, pairs: Pairs, groups: IntArray) -> Doubles:
    """Final scores by a transform of m pairs whose queries have the given numbers, shape (m,)."""
    out = np.empty(len(groups), dtype=np.float64)
    for group in range(int(groups.max()) + 1):
        rows = np.flatnonzero(groups == group)
        out[rows] = transform.score(pairs.queries[rows[:1]], pairs.documents[rows])
    return out


def calibrate(scores: Doubles, relevant: BoolArray) -> Doubles:
    """Probability of relevance `1 / (1 + exp(-(10 s + c)))`, with the likeliest c.

    Scores in [-1, 1], shape (m,); the mean of what is returned is that of `relevant`, up to a
    little shrinkage.
    """
    shift = -_STEEPNESS * float(scores.mean())
    for _ in range(_NEWTON_STEPS):
        likely = _logistic(_STEEPNESS * scores + shift)
        slope = float((likely * (1 - likely)).sum()) + 0.1
        # A full Newton step may overshoot where the curve is flat.
        shift -= float(np.clip((likely.sum() - relevant.sum()) / slope, -2.0, 2.0))
    return _logistic(_STEEPNESS * scores + shift)


def find_couples(relevant: BoolArray, groups: IntArray, seed: int) -> IntArray:
    """At most 1,000 (relevant, irrelevant) pairs, of one query wherever there are such, (c, 2)."""
    good, bad = np.flatnonzero(relevant), np.flatnonzero(~relevant)
    found = np.stack(np.meshgrid(good, bad, indexing="ij"), axis=-1).reshape(-1, 2)
    same = groups[found[:, 0]] == groups[found[:, 1]]
    if same.any():
        found = found[same]
    chosen = np.random.default_rng(seed).permutation(len(found))[:_MAX_COUPLES]
    return np.asarray(found[np.sort(chosen)], dtype=np.int64)


def pair_kernel(pairs: Pairs, metric: Metric, everywhere: bool) -> Doubles:
    """Similarity of pairs: of their queries times of their documents (Basilico and Hofmann, 2004).

    Near a judged query, queries are compared by `nearness`. With `everywhere` they are compared by
    the metric too, however far they are, and sides may be swapped, since what a query has in common
    with a document the document has in common with the query. It is symmetric and positive
    semi-definite, shape (m, m).
    """
    documents = metric.lift(pairs.documents) @ pairs.documents.T
    kernel = nearness(pairs.queries, pairs.queries) * documents
    if everywhere:
        lifted = metric.lift(pairs.queries)
        crossed = lifted @ pairs.documents.T
        kernel = kernel + ((lifted @ pairs.queries.T) * documents + crossed * crossed.T) / 2
    return np.asarray(kernel, dtype=np.float64)


def ridge_inverse(kernel: Doubles) -> Doubles:
    """Inverse of the kernel plus the penalty, shape (m, m); times values it gives coefficients."""
    return np.asarray(np.linalg.inv(kernel + PENALTY * np.eye(len(kernel))))


def predict_left_out(inverse: Doubles, values: Doubles, rows: IntArray) -> Doubles:
    """What a regression of values, shape (m,), on all other pairs predicts for some pairs.

    `inverse` is that of `ridge_inverse`; `rows` are left out together, shape (..., b) in and out.
    """
    own = inverse[rows[..., :, None], rows[..., None, :]]  # (..., b, b)
    missing = np.linalg.solve(own, (inverse @ values)[rows][..., None])[..., 0]
    return np.asarray(values[rows] - missing)


def predict_for_new_queries(
    inverse: Doubles, values: Doubles, couples: IntArray, groups: IntArray
) -> Doubles:
    """Predictions for couples, each without all judgements of its queries, shape (c, 2)."""
    out = np.empty(couples.shape)
    queries = np.sort(groups[couples], axis=1)
    for pair in np.unique(queries, axis=0):
        rows = np.flatnonzero(np.isin(groups, pair))
        predicted = dict(zip(rows, predict_left_out(inverse, values, rows), strict=True))
        for number in np.flatnonzero((queries == pair).all(axis=1)):
            out[number] = [predicted[row] for row in couples[number]]
    return out


def low_rank(form: FloatArray, rank: int) -> tuple[FloatArray, FloatArray]:
    """The form of low rank nearest to a symmetric one, shape (d, d) (Eckart and Young, 1936).

    Unit axes, shape (r, d), and weights, shape (r,), of `sum_r w_r a_r a_r^T` with r <= rank.
    """
    if not form.any():
        return np.empty((0, len(form)), dtype=np.float32), np.empty(0, dtype=np.float32)
    weights, axes = np.linalg.eigh(form.astype(np.float64))
    largest = np.argsort(-np.abs(weights), kind="stable")[:rank]
    kept = largest[np.abs(weights[largest]) > 1e-6 * np.abs(weights).max()]
    return axes[:, kept].T.astype(np.float32), weights[kept].astype(np.float32)


def _logistic(values: Doubles) -> Doubles:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -50.0, 50.0))))


def _sum(old: Correction | None, new: Correction) -> Correction:
    """One correction whose moves are the sum of two; of more than 4,000 queries the last."""
    if old is None:
        return new
    queries = np.concatenate([old.queries, new.queries])[-MAX_QUERIES:]
    moves = np.concatenate([old.moves, new.moves])[-MAX_QUERIES:]
    return Correction(queries, moves, *low_rank(old.form() + new.form(), _RANK))
