"""Who answers a query that a judge has read candidates of: the product, and other ways.

The product is `InstructRetriever` with the instant query and `RelevanceFeedback`, over a collection
that is searched exactly. The other ways to move a query get the same candidates and the same
verdicts, and the same is done with their results: what the judge said is added to the similarity.
"""

import time
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeAlias

import numpy as np

from benchmarks.judge_judges import GUESS, KeptEncoder
from benchmarks.judge_moves import Move
from benchmarks.judge_sets import HidingCollection, JudgedQuery, JudgedSet, figures
from benchmarks.retrieval_metrics import RECALL_AT
from instruct_embeddings import Hit, InstructRetriever
from instruct_embeddings._types import BoolArray, FloatArray, IntArray
from instruct_embeddings.feedback.regression import to_relevance
from instruct_embeddings.instant import InstantQuery
from instruct_embeddings.protocols import InstantMover, Judge
from instruct_embeddings.retrieval.feedback import RelevanceFeedback
from instruct_embeddings.retrieval.judged_search import MIX

GENERIC, INSTANT = "first ranking, generic", "first ranking, instant query"
RERANKED, REFINED, TWICE = "rerank only", "refined", "refined, 2 rounds"
ALONE = "moved, without the verdicts"
CANDIDATES = 20
_UNBOUNDED = 10**9  # characters: whoever reranks only reads the same
Key: TypeAlias = tuple[str, str]
"""Name of a judge, empty where there is none, and of a method."""


@dataclass
class Outcomes:
    """What one contestant reaches, query by query, in the order in which they were asked."""

    ndcg: list[float] = field(default_factory=list)
    recall: list[float] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)
    trust: list[float] = field(default_factory=list)

    def add(self, ids: Sequence[str], query: JudgedQuery) -> None:
        """Enter one ranking."""
        ndcg, recall = figures(ids, query.relevant)
        self.ndcg.append(ndcg)
        self.recall.append(recall)


@dataclass(frozen=True)
class Case:
    """What a judge was asked about one query, for ways to learn from it.

    Attributes:
        start: The folded query, of unit length, shape (d,).
        rows: Places of the candidates, best first, shape (n,).
        relevant: Whether a document answers, shape (documents,).
        hidden: Places of what is not found.
        verdicts: Relevance by name of the judge, each of shape (n,).
    """

    start: FloatArray
    rows: IntArray
    relevant: BoolArray
    hidden: IntArray
    verdicts: dict[str, FloatArray]


class RememberingInstant(InstantQuery):
    """The instant query, which reads each query once for all contestants."""

    def moves(self, queries: Sequence[str], instruction: str, vectors: FloatArray) -> FloatArray:
        """As those of an instant query."""
        known: dict[object, FloatArray] = self.__dict__.setdefault("known", {})
        key = (tuple(queries), instruction)
        if key not in known:
            known[key] = super().moves(queries, instruction, vectors)
        return known[key]

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """As by an instant query."""
        known: dict[object, FloatArray] = self.__dict__.setdefault("known", {})
        key = tuple(texts)
        if key not in known:
            known[key] = super().embed(texts)
        return known[key]


class Stage:
    """One set, and what ranks it."""

    def __init__(self, own: JudgedSet, instant: InstantMover) -> None:
        """Nothing is asked yet."""
        self.own, self.instant = own, instant
        self.collection = HidingCollection(own.vectors, texts=own.documents, name=own.name)
        self.plain = InstructRetriever(self.collection, instant=instant)

    def judged(self, judge: Judge, **options: Any) -> InstructRetriever:
        """A retriever whose feedback has not asked anything yet; see `RelevanceFeedback`."""
        feedback = RelevanceFeedback(
            judge, candidates=CANDIDATES, timeout=None, max_characters=_UNBOUNDED, **options
        )
        return InstructRetriever(self.collection, instant=self.instant, feedback=feedback)

    def queries(self) -> Iterator[JudgedQuery]:
        """The queries, each while the collection hides what is the query."""
        for query in self.own.queries:
            self.collection.hidden = query.itself
            yield query

    def search(
        self,
        retriever: InstructRetriever,
        query: JudgedQuery,
        *,
        instructed: bool = True,
        judge: bool = True,
    ) -> list[Hit]:
        """A hundred hits."""
        instruction = query.instruction if instructed else None
        return retriever.search(
            query.vector, query=query.text, instruction=instruction, k=RECALL_AT, judge=judge
        )

    def folded(self, query: JudgedQuery) -> FloatArray:
        """What the instant query makes of a query, of unit length, shape (d,)."""
        answers = self.plain.answers
        if answers is None:
            return query.vector
        vector = query.vector[None]
        return np.asarray(answers.ranker(query.text, vector, query.instruction).fold(vector)[0])


@dataclass
class Measured:
    """All figures of one set, and the cases behind them."""

    own: JudgedSet
    outcomes: dict[Key, Outcomes]
    cases: list[Case]


def measure_set(
    own: JudgedSet,
    judges: dict[str, Judge],
    kept: KeptEncoder | None,
    ways: dict[str, Move],
    instant: InstantMover,
    once: Set[str],
    compared: int,
) -> Measured:
    """Every judge and every method on one set.

    Args:
        own: The set.
        judges: By name; of the first, which knows the answers, the other ways to move learn.
        kept: What the encoder among the judges reads with.
        ways: Ways to move a query.
        instant: The instant query.
        once: Judges that read one round only.
        compared: Queries that the ways to move are compared on, the first ones.
    """
    stage = Stage(own, instant)
    found = Measured(own, {}, [])
    firsts = []
    for query in stage.queries():
        generic = stage.search(stage.plain, query, instructed=False)
        first = stage.search(stage.plain, query)
        firsts.append(first)
        _enter(found, ("", GENERIC), _ids(generic), query)
        _enter(found, ("", INSTANT), _ids(first), query)
    if kept is not None:
        _read_together(kept, own, firsts)
    _rerank(stage, judges, firsts, found)
    for name, judge in judges.items():
        rounds = {REFINED: 1} if name in once else {REFINED: 1, TWICE: 2}
        for method, count in rounds.items():
            retriever = stage.judged(judge, rounds=count)
            for query in stage.queries():
                outcome = _enter(found, (name, method), _ids(stage.search(retriever, query)), query)
                assert retriever.feedback is not None
                outcome.trust.append(retriever.feedback.trust)
    _move(stage, next(iter(judges)), ways, found, compared)
    return found


def _read_together(kept: KeptEncoder, own: JudgedSet, firsts: Sequence[Sequence[Hit]]) -> None:
    """Encode all that the encoder is going to be asked about, an instruction at a time."""
    texts: dict[str, list[str]] = {}
    for query, first in zip(own.queries, firsts, strict=True):
        read = [hit.text or "" for hit in first[:CANDIDATES]]
        texts.setdefault(query.instruction, []).extend([query.text, *read])
    for instruction, several in texts.items():
        kept.read(several, instruction)


def _rerank(
    stage: Stage, judges: dict[str, Judge], firsts: Sequence[Sequence[Hit]], found: Measured
) -> None:
    """The candidates in the judge's order, then the others as they were."""
    for query, first in zip(stage.queries(), firsts, strict=True):
        read = first[:CANDIDATES]
        verdicts = {}
        for name, judge in judges.items():
            said = judge.relevance(query.text, query.instruction, [hit.text or "" for hit in read])
            verdicts[name] = to_relevance(np.array(said, dtype=np.float64))
            order = np.argsort(-verdicts[name], kind="stable")
            ids = [read[place].id for place in order]
            _enter(found, (name, RERANKED), [*ids, *_ids(first[CANDIDATES:])], query)
        relevant = np.zeros(len(stage.own.documents), dtype=np.bool_)
        relevant[[int(row) for row in query.relevant]] = True
        hidden = np.array([int(row) for row in query.itself], dtype=np.int64)
        rows = np.array([int(hit.id) for hit in read])
        found.cases.append(Case(stage.folded(query), rows, relevant, hidden, verdicts))


def _move(stage: Stage, judge: str, ways: dict[str, Move], found: Measured, compared: int) -> None:
    """Ways to move the query, all with the same candidates, verdicts and final order."""
    for query, case in islice(zip(stage.queries(), found.cases, strict=True), compared):
        documents, relevance = stage.own.vectors[case.rows], case.verdicts[judge]
        for name, move in ways.items():
            started = time.perf_counter()
            moved = move(case.start, documents, relevance)
            ms = 1e3 * (time.perf_counter() - started)
            near = stage.collection.search(moved, k=RECALL_AT)
            _enter(found, (ALONE, name), near.ids, query)
            scores = dict(zip(near.ids, near.scores.tolist(), strict=True))
            own = documents @ moved + np.float32(MIX) * (relevance - np.float32(0.5))
            scores |= {str(row): float(score) for row, score in zip(case.rows, own, strict=True)}
            best = sorted(scores, key=lambda row, scores=scores: -scores[row])  # type: ignore[misc]
            _enter(found, (judge, name), best[:RECALL_AT], query).ms.append(ms)


def _enter(found: Measured, key: Key, ids: Sequence[str], query: JudgedQuery) -> Outcomes:
    outcome = found.outcomes.setdefault(key, Outcomes())
    outcome.add(ids, query)
    return outcome


def _ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.id for hit in hits]


def until_untrusted(measured: Measured) -> tuple[int | None, float]:
    """Questions until a guessing judge has no trust, None for never, and nDCG lost on average."""
    ours, first = measured.outcomes[GUESS, REFINED], measured.outcomes["", INSTANT]
    zero = [place + 1 for place, trust in enumerate(ours.trust) if trust == 0.0]
    asked = zero[0] if zero else None
    lost = np.array(first.ndcg[:asked]) - np.array(ours.ndcg[:asked])
    return asked, float(lost.mean())
