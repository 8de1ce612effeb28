"""Sets that judges are measured on: retrieval sets and label tasks, searched exactly."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from benchmarks.retrieval_metrics import NDCG_AT, RECALL_AT
from benchmarks.retrieval_sets import RetrievalSet, cut, load_sets
from benchmarks.tasks import TASKS, Task, embed, load
from instruct_embeddings import InstructEncoder
from instruct_embeddings._types import FloatArray
from instruct_embeddings.protocols import Neighbours
from instruct_embeddings.testing import InMemoryCollection
from instruct_embeddings.transform.quality import ndcg_at_k

Kind: TypeAlias = Literal["retrieval", "labels"]
_ALL_DOCUMENTS = 100_000


@dataclass(frozen=True)
class JudgedQuery:
    """One query under one instruction.

    Attributes:
        text: Of the query.
        instruction: In what respect.
        vector: Generic, of unit length, shape (d,).
        relevant: Ids of the documents that answer it, at least one.
        itself: Ids of documents that are the query; they are not found.
        group: Number of its group, whose queries are drawn together.
    """

    text: str
    instruction: str
    vector: FloatArray
    relevant: frozenset[str]
    itself: frozenset[str]
    group: int


@dataclass(frozen=True)
class JudgedSet:
    """Documents and queries.

    Attributes:
        name: Of the set.
        kind: `retrieval`, or `labels`: texts with the same label answer.
        documents: Texts; the id of each is its place.
        vectors: Generic, unit rows, shape (n, d).
        queries: In the order in which they are asked.
    """

    name: str
    kind: Kind
    documents: tuple[str, ...]
    vectors: FloatArray
    queries: tuple[JudgedQuery, ...]


class HidingCollection(InMemoryCollection):
    """A collection that keeps some of its rows to itself.

    Attributes:
        hidden: Ids of what a query does not find.
    """

    hidden: frozenset[str] = frozenset()

    def search(self, vector: FloatArray, *, k: int, **options: Any) -> Neighbours:
        """The nearest rows but those that are hidden."""
        near = super().search(vector, k=k + len(self.hidden), **options)
        shown = [place for place, row in enumerate(near.ids) if row not in self.hidden][:k]
        return near.take(shown)


def load_judged(
    data: Path, generic: InstructEncoder, queries: int, names: Iterable[str], seed: int
) -> Iterator[JudgedSet]:
    """Retrieval sets, of plain ones under the first wording, and then label tasks.

    Args:
        data: Folder that holds `dev/`.
        generic: Makes the vectors.
        queries: Of each set, about.
        names: Of the sets wanted; all where there are none.
        seed: Of the choice of queries.
    """
    wanted = set(names)
    for own in load_sets(data):
        if not wanted or own.name in wanted:
            yield _retrieval(cut(_first_wording(own), queries, _ALL_DOCUMENTS, seed), generic)
    for task in TASKS:
        if not wanted or task.name in wanted:
            yield _labels(task, data, generic, queries, seed)


def figures(ids: Sequence[str], relevant: frozenset[str]) -> tuple[float, float]:
    """nDCG@10 and recall@100 of one ranking.

    Recall is capped as in BEIR: of no more answers than could stand among the hundred.
    """
    hits = len(relevant.intersection(ids[:RECALL_AT]))
    ndcg = ndcg_at_k(ids, dict.fromkeys(relevant, 1.0), NDCG_AT)
    return ndcg, hits / min(len(relevant), RECALL_AT)


def _first_wording(own: RetrievalSet) -> RetrievalSet:
    if own.kind != "plain":
        return own
    first = own.queries[0].instruction
    return replace(own, queries=tuple(q for q in own.queries if q.instruction == first))


def _retrieval(own: RetrievalSet, generic: InstructEncoder) -> JudgedSet:
    documents = list(own.documents)
    vectors = embed(generic, [query.text for query in own.queries])
    queries = [
        JudgedQuery(
            query.text,
            query.instruction,
            vector,
            _ids(query.relevant),
            _ids(query.itself),
            query.group,
        )
        for query, vector in zip(own.queries, vectors, strict=True)
    ]
    return JudgedSet(
        own.name, "retrieval", own.documents, embed(generic, documents), tuple(queries)
    )


def _labels(task: Task, data: Path, generic: InstructEncoder, queries: int, seed: int) -> JudgedSet:
    split = load(task, data, seed)
    texts, labels = split.pool_texts, split.pool_labels
    vectors = embed(generic, texts)
    asked = []
    for row in np.random.default_rng(seed).permutation(len(texts))[:queries].tolist():
        itself = [place for place, text in enumerate(texts) if text == texts[row]]
        relevant = np.setdiff1d(np.flatnonzero(labels == labels[row]), itself)
        if relevant.size:
            asked.append(
                JudgedQuery(
                    texts[row],
                    task.instruction,
                    vectors[row],
                    _ids(relevant),
                    _ids(np.array(itself)),
                    row,
                )
            )
    return JudgedSet(task.name, "labels", tuple(texts), vectors, tuple(asked))


def _ids(places: Iterable[int]) -> frozenset[str]:
    return frozenset(str(int(place)) for place in places)
