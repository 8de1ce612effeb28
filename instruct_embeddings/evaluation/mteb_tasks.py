"""Tasks of mteb made of local JSONL files; nothing is fetched.

Importing this module needs mteb (extra `mteb`).
"""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instruct_embeddings._extras import require
from instruct_embeddings.encoder.files import digest
from instruct_embeddings.errors import DataError
from instruct_embeddings.evaluation.jsonl_tasks import (
    CORPUS,
    SENTENCES,
    LabelledTexts,
    RetrievalData,
    SentencePairs,
    instruction_reranking,
    read_labelled,
    read_pairs,
    read_retrieval,
)

if TYPE_CHECKING:
    from mteb.abstasks import AbsTask
    from mteb.abstasks.clustering import AbsTaskClustering
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.sts import AbsTaskSTS
    from mteb.abstasks.task_metadata import TaskMetadata
else:
    AbsTaskClustering = require("mteb.abstasks.clustering", extra="mteb").AbsTaskClustering
    AbsTaskRetrieval = require("mteb.abstasks.retrieval", extra="mteb").AbsTaskRetrieval
    AbsTaskSTS = require("mteb.abstasks.sts", extra="mteb").AbsTaskSTS

_CLUSTERED = 2048
_Dataset = require("datasets", extra="mteb").Dataset


class _LocalRetrieval(AbsTaskRetrieval):
    """Retrieval, reranking where there are candidates, p-MRR where relevance changes."""

    data: RetrievalData
    k_values = (1, 2, 3, 5, 10, 20, 100, 1000)

    def load_data(self, *_: Any, **__: Any) -> None:
        """Put the data where mteb looks for them."""
        rows = _Dataset.from_list
        ranked = self.data.top_ranked
        split: Any = {
            "corpus": rows([dict(row) for row in self.data.corpus]),
            "queries": rows([dict(row) for row in self.data.queries]),
            "relevant_docs": {query: dict(own) for query, own in self.data.relevant.items()},
            "top_ranked": ranked and {query: list(ids) for query, ids in ranked.items()},
        }
        self.dataset = {"default": {"test": split}}
        self.data_loaded = True

    def task_specific_scores(
        self,
        scores: Mapping[str, Mapping[str, float]],
        qrels: Mapping[str, Mapping[str, int]],
        results: Mapping[str, Mapping[str, float]],
        hf_split: str,
        hf_subset: str,
    ) -> dict[str, Any]:
        """p-MRR, and the scores of the queries before and after the change (FollowIR)."""
        del scores, hf_split, hf_subset
        if self.data.changed is None:
            return {}
        measures = require("mteb._evaluators.retrieval_metrics", extra="mteb")
        found: dict[str, Any] = measures.evaluate_p_mrr_change(
            qrels, results, self.data.changed, self.k_values
        )
        return found


class _LocalClustering(AbsTaskClustering):
    """Clustering of labelled texts."""

    data: tuple[Sequence[str], Sequence[str]]
    max_fraction_of_documents_to_embed = None
    max_document_to_embed = _CLUSTERED
    max_documents_per_cluster = _CLUSTERED

    def load_data(self, *_: Any, **__: Any) -> None:
        """Put the data where mteb looks for them."""
        texts, labels = self.data
        self.dataset = {"test": _Dataset.from_dict({"sentences": texts, "labels": labels})}
        self.data_loaded = True


class _LocalSTS(AbsTaskSTS):
    """Cosines against what people said, Spearman's correlation."""

    data: SentencePairs

    def load_data(self, *_: Any, **__: Any) -> None:
        """Put the data where mteb looks for them."""
        columns = dict(zip(self.column_names, (self.data.first, self.data.second), strict=True))
        self.dataset = {"test": _Dataset.from_dict({**columns, "score": self.data.scores})}
        self.min_score = math.floor(min(self.data.scores))
        self.max_score = math.ceil(max(self.data.scores))
        self.data_loaded = True


def retrieval_task(name: str, data: RetrievalData, *, instruction: str | None = None) -> "AbsTask":
    """A task of retrieval (nDCG@10), or of instruction reranking (p-MRR) where relevance changes.

    `instruction` is for queries that have none of their own.
    """
    kind = "Retrieval" if data.top_ranked is None else "Reranking"
    measure = "ndcg_at_10"
    if data.changed is not None:
        kind, measure = "InstructionReranking", "p-MRR"
    elif any(row.get("instruction") for row in data.queries):
        kind = f"Instruction{kind}"
    prompt = {"query": instruction} if instruction else None
    return _task(_LocalRetrieval, name, kind, measure, "t2t", prompt, data)


def clustering_task(
    name: str, texts: Sequence[str], labels: Sequence[str], *, instruction: str | None = None
) -> "AbsTask":
    """A task of clustering (V-measure); `instruction` asks for the labels, one a text."""
    data = (list(texts), list(labels))
    return _task(_LocalClustering, name, "Clustering", "v_measure", "t2c", instruction, data)


def sts_task(name: str, data: SentencePairs, *, instruction: str | None = None) -> "AbsTask":
    """A task of similarity (Spearman correlation of cosines and scores).

    `instruction` says in which respect sentences are compared.
    """
    return _task(_LocalSTS, name, "STS", "cosine_spearman", "t2t", instruction, data)


def labelled_tasks(
    name: str, data: LabelledTexts, instructions: Mapping[str, str] | None = None
) -> list["AbsTask"]:
    """A clustering task for each aspect, a reranking task for each two that have instructions.

    Args:
        name: The tasks are called `<name>.<aspect>` and `<name>.<aspect>+<aspect>`.
        data: Texts with labels.
        instructions: By name of a clustering task, what asks for its labels.
    """
    known = instructions or {}
    tasks: list[AbsTask] = []
    asked: dict[str, str] = {}
    for aspect in data.labels:
        own = f"{name}.{aspect}"
        texts, labels = data.of(aspect)
        if len(set(labels)) > 1:
            tasks.append(clustering_task(own, texts, labels, instruction=known.get(own)))
            asked |= {aspect: known[own]} if own in known else {}
    for one, other in combinations(asked, 2):
        pair = instruction_reranking(data, (one, other), (asked[one], asked[other]))
        if pair is not None:
            tasks.append(retrieval_task(f"{name}.{one}+{other}", pair))
    return tasks


def local_tasks(path: Path, instructions: Mapping[str, str] | None = None) -> list["AbsTask"]:
    """The tasks that a path holds.

    A folder with `corpus.jsonl` is a task of retrieval, a JSONL file one of labelled texts or of
    pairs; any other folder is looked through for all, one level deep. `jsonl_tasks` describes the
    forms.

    Args:
        path: A folder or a file.
        instructions: By name of a task: what its queries, or all its texts, are read under.

    Raises:
        DataError: Nothing is found, or a file is malformed.
    """
    known = instructions or {}
    if path.is_file() and _is_like(path, SENTENCES):
        return [sts_task(path.stem, read_pairs(path), instruction=known.get(path.stem))]
    if path.is_file():
        return labelled_tasks(path.stem, read_labelled(path), known)
    if (path / CORPUS).is_file():
        data = read_retrieval(path)
        return [retrieval_task(path.name, data, instruction=known.get(path.name))]
    inside = sorted(path.iterdir()) if path.is_dir() else []
    forms = [("text", "labels"), ("text", "tags"), SENTENCES]
    parts = [
        p for p in inside if (p / CORPUS).is_file() or any(_is_like(p, keys) for keys in forms)
    ]
    if not parts:
        raise DataError(
            f"{path} holds no task. Name a folder with {CORPUS}, queries.jsonl and qrels.tsv, a "
            "JSONL file of texts with labels or of pairs of sentences, or a folder of these."
        )
    return [task for part in parts for task in local_tasks(part, known)]


def _is_like(file: Path, keys: Sequence[str]) -> bool:
    """Whether the first line of a JSONL file has some keys; others lie beside, of other forms."""
    if file.suffix != ".jsonl":
        return False
    with file.open(encoding="utf-8") as lines:
        first = lines.readline()
    return all(f'"{key}"' in first for key in keys)


def _task(
    base: type[Any], name: str, kind: str, measure: str, category: str, prompt: Any, data: object
) -> "AbsTask":
    metadata: TaskMetadata = require("mteb.abstasks.task_metadata", extra="mteb").TaskMetadata(
        name=name,
        description=f"Made of local files: {name}.",
        type=kind,
        category=category,
        main_score=measure,
        prompt=prompt,
        # Nothing is fetched; the revision distinguishes results of other files.
        dataset={"path": f"local/{name}", "revision": digest(repr(data))},
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
    )
    # mteb takes the metadata of a task from its class when it unloads the data.
    task: AbsTask = type(base.__name__, (base,), {"metadata": metadata, "data": data})()
    return task
