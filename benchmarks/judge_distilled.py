"""What is left of a judge after so many judged questions, when it is asked no longer.

Questions are asked under one instruction with a judge whose verdicts are remembered. Then other
questions are answered without it: moved by what was learned, where its own report says that it
gains, else by the first ranking. Queries of label tasks are texts that are not in the collection.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.judge_contestants import Outcomes, RememberingInstant, Stage
from benchmarks.judge_judges import TRUTH, TruthJudge, noisy
from benchmarks.judge_sets import JudgedQuery, JudgedSet, load_judged
from benchmarks.tasks import TASKS, embed, load
from instruct_embeddings import InstructEncoder, InstructRetriever
from instruct_embeddings.protocols import Judge

RETRIEVAL = ("ecare_test", "medquad_test", "perspectrum_test")
# Each fourth label task, so that the part takes minutes.
LABELS = tuple(task.name for task in TASKS[::4])
_TESTED = 60
_NOISE = 0.1
_NONE = frozenset[str]()


def measure_distilled(
    data: Path, generic: InstructEncoder, names: Sequence[str], counts: Sequence[int], seed: int
) -> list[dict[str, Any]]:
    """Figures without the judge, beside those of the first ranking and those with it.

    Args:
        data: Folder that holds `dev/`.
        generic: Makes the vectors.
        names: Of the sets wanted; all where there are none.
        counts: Judged questions.
        seed: Of the choice of queries.
    """
    instant = RememberingInstant.from_pretrained()
    rows = []
    sets = [
        own for own in _sets(data, generic, max(counts), seed) if not names or own.name in names
    ]
    for own in track(sets, "distilled", console=Console(stderr=True)):
        asked: dict[str, Judge] = {
            TRUTH: TruthJudge.of(own),
            noisy(_NOISE): TruthJudge.of(own, _NOISE, seed),
        }
        for name, one in asked.items():
            rows += [
                {"set": own.name, "judge": name, **row}
                for row in _measure(own, one, instant, counts)
            ]
    return rows


def _measure(
    own: JudgedSet, judge: Judge, instant: RememberingInstant, counts: Sequence[int]
) -> list[dict[str, Any]]:
    stage = Stage(own, instant)
    tested, learned = own.queries[:_TESTED], own.queries[_TESTED:]
    first = _outcomes(stage, stage.plain, tested)
    refined = _outcomes(stage, stage.judged(judge), tested)
    rows = []
    for count in counts:
        if len(learned) < count:
            break
        with tempfile.TemporaryDirectory() as folder:
            retriever = stage.judged(judge, memory=folder, learn_at=count)
            _outcomes(stage, retriever, learned[:count])
            report = retriever.distilled(tested[0].instruction, wait=True)
            without = _outcomes(stage, retriever, tested, judge=False)
        rows.append(
            {
                "questions": count,
                "used": report is not None,
                "skips": report is not None and report.skips,
                "share": None if report is None else round(report.share, 3),
                **_means("first", first),
                **_means("judge", refined),
                **_means("distilled", without),
            }
        )
    return rows


def _outcomes(
    stage: Stage,
    retriever: InstructRetriever,
    queries: Sequence[JudgedQuery],
    *,
    judge: bool = True,
) -> Outcomes:
    found = Outcomes()
    for query in queries:
        found.add([hit.id for hit in stage.search(retriever, query, judge=judge)], query)
    return found


def _means(name: str, outcomes: Outcomes) -> dict[str, float]:
    return {
        f"{name} ndcg": round(float(np.mean(outcomes.ndcg)), 4),
        f"{name} recall": round(float(np.mean(outcomes.recall)), 4),
    }


def _sets(data: Path, generic: InstructEncoder, learned: int, seed: int) -> list[JudgedSet]:
    """Sets whose queries have one instruction; first those that are tested."""
    wanted = _TESTED + learned
    found = []
    for own in load_judged(data, generic, 100_000, RETRIEVAL, seed):
        said = [query.instruction for query in own.queries]
        commonest = max(dict.fromkeys(said), key=said.count)
        asked = [query for query in own.queries if query.instruction == commonest]
        order = np.random.default_rng(seed).permutation(len(asked))[:wanted]
        found.append(_apart(own, [asked[place] for place in order]))
    for task in (task for task in TASKS if task.name in LABELS):
        split = load(task, data, seed)
        texts = split.texts[:wanted]
        queries = []
        for number, (text, vector) in enumerate(zip(texts, embed(generic, texts), strict=True)):
            rows = np.flatnonzero(split.pool_labels == split.labels[number])
            if rows.size:
                relevant = frozenset(map(str, rows.tolist()))
                queries.append(
                    JudgedQuery(text, task.instruction, vector, relevant, frozenset(), number)
                )
        vectors = embed(generic, split.pool_texts)
        found.append(
            JudgedSet(task.name, "labels", tuple(split.pool_texts), vectors, tuple(queries))
        )
    return found


def _apart(own: JudgedSet, queries: Sequence[JudgedQuery]) -> JudgedSet:
    """A set of some queries, whose texts are taken out of the documents."""
    gone = frozenset[str]().union(*(query.itself for query in queries))
    kept = [place for place in range(len(own.documents)) if str(place) not in gone]
    now = {str(place): str(number) for number, place in enumerate(kept)}
    moved = [
        replace(query, relevant=frozenset(now[row] for row in query.relevant - gone), itself=_NONE)
        for query in queries
    ]
    return replace(
        own,
        documents=tuple(own.documents[place] for place in kept),
        vectors=own.vectors[kept],
        queries=tuple(query for query in moved if query.relevant),
    )
