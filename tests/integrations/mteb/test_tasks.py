import json
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import mteb
import numpy as np
import pytest
from mteb.abstasks import AbsTask

from instruct_embeddings import InstructEncoder
from instruct_embeddings.errors import DataError
from instruct_embeddings.evaluation.jsonl_tasks import RetrievalData
from instruct_embeddings.evaluation.mteb_models import MtebEncoder
from instruct_embeddings.evaluation.mteb_tasks import clustering_task, local_tasks, retrieval_task
from tests.integrations.mteb.conftest import INSTRUCTIONS


class Ranking:
    """Gives the scores that it was made with, by query and document."""

    def __init__(self, scores: Mapping[str, Mapping[str, float]]) -> None:
        self.scores = scores
        self.mteb_model_meta = mteb.models.ModelMeta.create_empty()

    def index(self, corpus: Any, **_: Any) -> None:
        assert {"id", "text"} <= set(corpus.column_names)

    def search(self, queries: Any, **_: Any) -> dict[str, dict[str, float]]:
        return {query: dict(self.scores[query]) for query in queries["id"]}


def scores(model: object, task: AbsTask) -> Any:
    [result] = mteb.evaluate(model, task, cache=None, show_progress_bar=False).task_results
    return result.scores["test"][0]


def two_documents(**more: Any) -> RetrievalData:
    corpus = tuple({"id": name, "title": "", "text": name} for name in ("one", "two"))
    queries = tuple(
        {"id": f"q-{side}", "text": "which?", "instruction": side} for side in ("og", "changed")
    )
    relevant = {"q-og": {"one": 1}, "q-changed": {"two": 1}}
    return RetrievalData(corpus, queries, relevant, **more)


def test_p_mrr_tells_how_far_documents_fall_that_are_no_longer_relevant() -> None:
    """`one` falls from rank 1 to rank 2: 1 - (1/2) / (1/1) = 0.5."""
    data = two_documents(
        top_ranked={"q-og": ["one", "two"], "q-changed": ["one", "two"]}, changed={"q": ["one"]}
    )
    task = retrieval_task("two", data)
    assert (task.metadata.type, task.metadata.main_score) == ("InstructionReranking", "p-MRR")
    first, second = {"one": 0.9, "two": 0.1}, {"one": 0.1, "two": 0.9}
    obeys = scores(Ranking({"q-og": first, "q-changed": second}), task)
    assert (obeys["p-MRR"], obeys["main_score"]) == (0.5, 0.5)
    assert (obeys["og"]["ndcg_at_1"], obeys["changed"]["ndcg_at_1"]) == (1, 1)
    # mteb has unloaded the data; the task can be run again.
    deaf = scores(Ranking({"q-og": first, "q-changed": first}), task)
    assert (deaf["p-MRR"], deaf["changed"]["ndcg_at_1"]) == (0, 0)
    opposed = scores(Ranking({"q-og": second, "q-changed": first}), task)
    assert opposed["p-MRR"] == -0.5


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({}, "InstructionRetrieval"),
        ({"top_ranked": {"q-og": ["one"], "q-changed": ["two"]}}, "InstructionReranking"),
    ],
)
def test_queries_with_instructions_make_a_task_of_instructions(
    more: dict[str, Any], kind: str
) -> None:
    task = retrieval_task("two", two_documents(**more))
    assert (task.metadata.type, task.metadata.main_score) == (kind, "ndcg_at_10")
    ranking = {query: {"one": 0.9, "two": 0.1} for query in ("q-og", "q-changed")}
    assert scores(Ranking(ranking), task)["ndcg_at_1"] == 0.5


def test_clusters_are_compared_with_the_labels(encoder: InstructEncoder) -> None:
    """The same text in each cluster: any encoder that tells texts apart is right."""
    texts = ["the red ball", "a blue cube", "every green ring"] * 20
    task = clustering_task("toys", texts, texts, instruction="which colour is it")
    assert (task.metadata.type, task.metadata.prompt) == ("Clustering", "which colour is it")
    assert scores(MtebEncoder(encoder), task)["v_measure"] == pytest.approx(1)


def test_a_file_of_labelled_texts_makes_a_task_of_each_aspect_and_of_two(toys: Path) -> None:
    tasks = {task.metadata.name: task.metadata for task in local_tasks(toys, INSTRUCTIONS)}
    assert {name: task.type for name, task in tasks.items()} == {
        "toys.colour": "Clustering",
        "toys.shape": "Clustering",
        "toys.colour+shape": "InstructionReranking",
    }
    assert tasks["toys.shape"].prompt == "which shape is it"


def test_without_instructions_there_is_nothing_to_obey(toys: Path) -> None:
    assert [task.metadata.type for task in local_tasks(toys)] == ["Clustering"] * 2


def test_who_ignores_instructions_has_a_p_mrr_of_zero(toys: Path, encoder: InstructEncoder) -> None:
    task = local_tasks(toys, INSTRUCTIONS)[-1]
    assert scores(MtebEncoder(encoder, instructed=False), task)["p-MRR"] == 0
    assert scores(MtebEncoder(encoder), task)["p-MRR"] != 0


def test_a_folder_in_the_form_of_beir_makes_a_task_of_retrieval(
    beir: Path, encoder: InstructEncoder
) -> None:
    [task] = local_tasks(beir, {"balls": "which colour is it"})
    assert (task.metadata.name, task.metadata.type) == ("balls", "Retrieval")
    assert task.metadata.prompt == {"query": "which colour is it"}
    found = scores(MtebEncoder(encoder), task)
    # Worked out from the vectors: three of nine documents answer each query.
    rows = [json.loads(line) for line in (beir / "corpus.jsonl").read_text().splitlines()]
    documents = encoder.encode([f"{row['title']} {row['text']}" for row in rows])
    hits = []
    for colour in ("red", "green", "blue"):
        query = encoder.encode([f"every {colour}"], instruction="which colour is it")[0]
        best = np.argsort(-(documents @ query))[:3]
        hits.append(np.mean([rows[place]["_id"].startswith(colour) for place in best]))
    assert found["precision_at_3"] == pytest.approx(np.mean(hits), abs=1e-4)
    assert found["recall_at_10"] == 1
    assert 0 < found["recall_at_2"] <= 2 / 3  # LIMIT's measure; three documents are relevant


def test_a_file_of_pairs_makes_a_task_of_similarity(
    encoder: InstructEncoder, tmp_path: Path
) -> None:
    """Scored by the encoder's own cosines, the ranks of which cannot differ from themselves."""
    texts = ["the red ball", "a blue cube", "every green ring", "red paper"]
    pairs = list(combinations(texts, 2))
    under = encoder.encode(texts, instruction="which colour is it")
    cosines = [float(under[i] @ under[j]) for i, j in combinations(range(len(texts)), 2)]
    file = tmp_path / "pairs.jsonl"
    rows = [
        {"sentence1": one, "sentence2": other, "score": score}
        for (one, other), score in zip(pairs, cosines, strict=True)
    ]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    [task] = local_tasks(file, {"pairs": "which colour is it"})
    assert (task.metadata.type, task.metadata.main_score) == ("STS", "cosine_spearman")
    assert scores(MtebEncoder(encoder), task)["cosine_spearman"] == pytest.approx(1)
    assert scores(MtebEncoder(encoder, instructed=False), task)["cosine_spearman"] < 1


def test_a_folder_of_all_makes_the_tasks_of_all(toys: Path, beir: Path, tmp_path: Path) -> None:
    (tmp_path / "toys.jsonl").write_bytes(toys.read_bytes())
    (tmp_path / "balls").symlink_to(beir)
    rows = [{"sentence1": "a", "sentence2": "b", "score": score} for score in (1, 2)]
    (tmp_path / "pairs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (tmp_path / "other.jsonl").write_text('{"question": "a"}\n')
    (tmp_path / "README.md").write_text("Toys.")
    names = [task.metadata.name for task in local_tasks(tmp_path)]
    assert names == ["balls", "pairs", "toys.colour", "toys.shape"]


def test_a_folder_without_a_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no task. Name a folder with corpus.jsonl"):
        local_tasks(tmp_path)


def test_results_of_other_data_are_told_apart() -> None:
    one, other = (clustering_task("toys", ["a", "b"], [label, "x"]) for label in "xy")
    assert one.metadata.dataset["revision"] != other.metadata.dataset["revision"]
