"""mteb's own tasks, metrics and runner on local texts: generic, encoder and transform.

    python -m benchmarks.mteb_local --data FOLDER [--quick]

Reranking under a changed instruction (p-MRR), retrieval (nDCG@10), clustering (V-measure) and
similarity of sentences, as `instruct-embeddings eval` runs them. Texts are cut to a few hundred a
set at random, so that all of it takes minutes on two cores: figures of full sets are others.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from datasets import disable_progress_bars
from mteb.abstasks import AbsTask
from rich.console import Console
from rich.progress import track

from benchmarks.environment import environment, save
from benchmarks.tasks import labelled
from benchmarks.triplets import PAIRS, Pair, with_action
from instruct_embeddings import EncoderGuide, InstructEncoder
from instruct_embeddings.encoder import BASE_MODEL
from instruct_embeddings.evaluation.jsonl_tasks import (
    LabelledTexts,
    RetrievalData,
    SentencePairs,
    instruction_reranking,
    read_retrieval,
)
from instruct_embeddings.evaluation.mteb_models import MtebEncoder, MtebRetriever
from instruct_embeddings.evaluation.mteb_run import MtebModel, TaskScore, run_task, score_table
from instruct_embeddings.evaluation.mteb_tasks import clustering_task, retrieval_task, sts_task

SEED = 0
SEARCHES = {
    "scifact": "Find what supports or refutes the claim.",
    "cranfield": "Find studies that answer the question.",
}
# One pair of aspects of each set.
_RERANKED = {pair.file: pair for pair in reversed(PAIRS)}
_PAIRS_FILE = "stsb"


@dataclass(frozen=True)
class Sizes:
    """How much is kept of each set.

    Attributes:
        texts: With labels, to rank and to cluster.
        pairs: Queries, each under two instructions.
        candidates: Of each such query.
        documents: To search; those that answer a query among them.
        queries: That search them.
        sentences: Pairs of sentences to compare.
        sets: Labelled sets, and collections to search.
    """

    texts: int = 400
    pairs: int = 100
    candidates: int = 50
    documents: int = 300
    queries: int = 100
    sentences: int = 500
    sets: int = 5


QUICK = Sizes(150, pairs=20, candidates=20, documents=100, queries=20, sentences=100, sets=1)


def main() -> None:
    """Run all tasks on all models, print a table, keep the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds dev/")
    parser.add_argument("--model", help="folder or hub id; by default the package's own model")
    parser.add_argument("--quick", action="store_true", help="fewer texts; keeps nothing")
    arguments = parser.parse_args()
    sizes = QUICK if arguments.quick else Sizes()
    encoder = InstructEncoder.from_pretrained(arguments.model)
    generic = InstructEncoder.from_pretrained(BASE_MODEL)
    found = list(tasks(arguments.data, sizes))
    disable_progress_bars()
    scores: list[TaskScore] = []
    for task in track(found, "tasks", console=Console(stderr=True)):
        scores += run_task(task, models(generic, encoder))
    Console(width=140).print(score_table(scores))
    if not arguments.quick:
        asked = {task.metadata.name: instructions(task) for task in found}
        results: dict[str, Any] = {"environment": environment(SEED), "model": encoder.name}
        results |= {"generic": generic.name, "sizes": vars(sizes)}
        results["scores"] = [kept(one, asked[one.task]) for one in scores]
        Console().print(f"kept in {save('mteb', results)}")


def models(generic: InstructEncoder, encoder: InstructEncoder) -> dict[str, MtebModel]:
    """As `instruct-embeddings eval` makes them."""
    return {
        "generic": MtebEncoder(generic, instructed=False),
        "encoder": MtebEncoder(encoder),
        "transform": MtebRetriever(generic, EncoderGuide(encoder)),
    }


def tasks(data: Path, sizes: Sizes) -> Iterator[AbsTask]:
    """All tasks, their data read and cut."""
    for pair in list(_RERANKED.values())[: sizes.sets]:
        yield from _labelled_tasks(pair, read_texts(data, pair, sizes.texts), sizes)
    for name, instruction in list(SEARCHES.items())[: sizes.sets]:
        cut = cut_corpus(read_retrieval(data / "dev" / name), sizes.documents, sizes.queries)
        yield retrieval_task(name, cut, instruction=instruction)
    yield sts_task(_PAIRS_FILE, read_sentences(data, sizes.sentences))


def _labelled_tasks(pair: Pair, texts: LabelledTexts, sizes: Sizes) -> Iterator[AbsTask]:
    changed = instruction_reranking(
        texts,
        pair.aspects,
        pair.instructions,
        queries=sizes.pairs,
        candidates=sizes.candidates,
        seed=SEED,
    )
    if changed is not None:
        yield retrieval_task(f"{pair.file}: {' and '.join(pair.aspects)}", changed)
    for aspect, instruction in zip(pair.aspects, pair.instructions, strict=True):
        kept_texts, labels = texts.of(aspect)
        yield clustering_task(f"{pair.file}: {aspect}", kept_texts, labels, instruction=instruction)


def read_texts(data: Path, pair: Pair, most: int) -> LabelledTexts:
    """Distinct texts that carry both aspects, in random order."""
    found = {text: with_action(pair.file, labels) for text, labels in labelled(data, pair.file)}
    both = [text for text, labels in found.items() if all(a in labels for a in pair.aspects)]
    chosen = [both[i] for i in np.random.default_rng(SEED).permutation(len(both))[:most]]
    labels = {aspect: tuple(found[text][aspect] for text in chosen) for aspect in pair.aspects}
    return LabelledTexts(tuple(chosen), labels)


def cut_corpus(data: RetrievalData, documents: int, queries: int) -> RetrievalData:
    """Some queries, what answers them, and other documents at random up to a number."""
    rng = np.random.default_rng(SEED)
    answered = [query for query in data.queries if data.relevant.get(query["id"])]
    asked = [answered[i] for i in rng.permutation(len(answered))[:queries]]
    relevant = {query["id"]: data.relevant[query["id"]] for query in asked}
    wanted = {document for own in relevant.values() for document in own}
    order = [data.corpus[i] for i in rng.permutation(len(data.corpus))]
    order.sort(key=lambda row: row["id"] not in wanted)  # stable
    corpus = tuple(order[: max(documents, len(wanted))])
    return replace(data, corpus=corpus, queries=tuple(asked), relevant=relevant)


def read_sentences(data: Path, most: int) -> SentencePairs:
    """Pairs of the test split."""
    with (data / "dev" / f"{_PAIRS_FILE}.jsonl").open(encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["split"] == "test"]
    chosen = [rows[i] for i in np.random.default_rng(SEED).permutation(len(rows))[:most]]
    first, second = (tuple(row[key] for row in chosen) for key in ("sentence1", "sentence2"))
    return SentencePairs(first, second, tuple(float(row["label"]) for row in chosen))


def instructions(task: AbsTask) -> list[str]:
    """What the texts or queries of a task are read under."""
    own = task.metadata.prompt
    if isinstance(own, str):
        return [own]
    if own is not None:
        return [str(text) for text in own.values()]
    data = getattr(task, "data", None)
    queries = data.queries if isinstance(data, RetrievalData) else ()
    return list(dict.fromkeys(query["instruction"] for query in queries))


def kept(score: TaskScore, asked: list[str]) -> dict[str, Any]:
    """The main score; where instructions change also what rankings are worth under each."""
    document = score.to_dict()
    splits = document.pop("scores")
    document["instructions"] = asked
    if score.measure == "p-MRR" and splits:
        [found] = splits["test"]
        document |= {
            when: found[side]["ndcg_at_10"]
            for when, side in (("before", "og"), ("after", "changed"))
        }
    return document


if __name__ == "__main__":
    main()
