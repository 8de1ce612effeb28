"""One search with a judge: candidates for it to read, the moved query, and the final order."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from instruct_embeddings._types import FloatArray
from instruct_embeddings.feedback.memory import JudgedQuestion
from instruct_embeddings.feedback.regression import learnable, relevance_direction
from instruct_embeddings.protocols import Rows, VectorCollection
from instruct_embeddings.retrieval.feedback import (
    LEAST_CANDIDATES,
    JudgeQuestion,
    RelevanceFeedback,
    Verdict,
)
from instruct_embeddings.retrieval.ranking import FoldedQuery, Hit, Ranking
from instruct_embeddings.transform.vectors import unit_rows

# Chosen on dev sets by `make bench-judge`.
STRENGTH = 1.0
MIX = 0.3


@dataclass
class JudgedSearch:
    """One search with a judge: `question` to ask, `take` its verdict, until there is none.

    `rank` gives the best rows for a folded query, so many of them; `note` remembers what was
    judged.
    """

    feedback: RelevanceFeedback
    collection: VectorCollection
    rank: Callable[[FoldedQuery, int], Ranking]
    folded: FoldedQuery
    query: str
    instruction: str | None
    k: int
    note: Callable[[JudgedQuestion], None] | None = None
    _asked: int = 0
    _problem: str | None = None
    _read: Rows = field(default_factory=lambda: Rows(()))
    _relevance: FloatArray = field(default_factory=lambda: np.empty(0, dtype=np.float32))

    def __post_init__(self) -> None:
        self._search(self.folded)

    def _search(self, folded: FoldedQuery) -> None:
        self._moved = folded
        self._ranking = self.rank(folded, max(self.k, self.feedback.candidates))

    def question(self) -> JudgeQuestion | None:
        """What the judge is asked next; None where it has read enough, or failed."""
        if self._asked == self.feedback.rounds or self._problem is not None:
            return None
        known = set(self._read.ids)
        new = [row for row in self._ranking.ids if row not in known]
        rows = self._ranking.read(self.collection, new[: self.feedback.candidates])
        fitting = _within(rows, self.feedback.max_characters)
        if len(known) + len(fitting) < LEAST_CANDIDATES or not fitting:
            return None
        self._asked += 1
        self._new = rows.take(fitting)
        texts = self._new.read_texts
        return JudgeQuestion(
            self.query, self.instruction, self._new.ids, tuple(text or "" for text in texts)
        )

    def take(self, verdict: Verdict) -> None:
        """Learn from what the judge said, and search again."""
        if verdict.relevance is None:
            self._problem = verdict.problem
            return
        judged = np.flatnonzero(~np.isnan(verdict.relevance))
        if len(self._relevance) + len(judged) < LEAST_CANDIDATES:
            self._problem = f"only {len(judged)} candidates were judged"
            return
        self._read = Rows.joined([self._read, self._new.take(judged)])
        self._relevance = np.concatenate([self._relevance, verdict.relevance[judged]])
        units = unit_rows(self._read.vectors)
        self.feedback.weigh(learnable(self.folded.vector, units, self._relevance))
        direction = relevance_direction(units, self._relevance)
        strength = np.float32(STRENGTH * self.feedback.trust)
        start = np.float32(0) if self.folded.shift is None else self.folded.shift
        self._search(replace(self.folded, shift=start + strength * direction))

    def hits(self) -> list[Hit]:
        """The best `k` rows; `judge_score` and `judge_problem` say what the judge did."""
        scores = dict(zip(self._ranking.ids, self._ranking.scores.tolist(), strict=True))
        rows, judged = self._ranking.rows, {}
        if self._read.ids:
            judged = dict(zip(self._read.ids, self._relevance.tolist(), strict=True))
            similar = self._moved.score(self._read).tolist()
            mix = MIX * self.feedback.trust
            for (row, relevance), score in zip(judged.items(), similar, strict=True):
                scores[row] = score + mix * (relevance - 0.5)
            # Where the ranking has read the records of its rows, those of all are known.
            rows = Rows.joined([rows, self._read]) if rows.texts else rows
            if self.note is not None:
                vector = self.folded.query[0]
                self.note(JudgedQuestion(self.query, vector, self._read.ids, self._relevance))
        best = sorted(scores, key=lambda row: -scores[row])[: self.k]
        final = np.clip([scores[row] for row in best], -1.0, 1.0).astype(np.float32)
        hits = Ranking(tuple(best), final, rows).hits(
            self.collection, self.folded.ranked_by, self.folded.reused
        )
        return [
            replace(hit, judge_score=judged.get(hit.id), judge_problem=self._problem)
            for hit in hits
        ]


def _within(rows: Rows, most: int) -> list[int]:
    """Positions of rows with a text, until they have so many characters together."""
    kept: list[int] = []
    used = 0
    for position, text in enumerate(rows.read_texts):
        if text is None:
            continue
        used += len(text)
        if used > most:
            break
        kept.append(position)
    return kept
