"""The benchmark on mteb's tasks, of which the texts are cut: `benchmarks.mteb_local`."""

import json
from pathlib import Path

import pytest

from benchmarks import mteb_local
from benchmarks.triplets import Pair
from instruct_embeddings.evaluation.jsonl_tasks import RetrievalData, SentencePairs, read_labelled
from instruct_embeddings.evaluation.mteb_run import TaskScore
from instruct_embeddings.evaluation.mteb_tasks import (
    clustering_task,
    labelled_tasks,
    retrieval_task,
    sts_task,
)
from tests.integrations.mteb.conftest import INSTRUCTIONS

# Reading all tasks of mteb for the first time takes long on a busy machine.
pytestmark = pytest.mark.timeout(240)


def test_what_answers_a_query_stays_in_a_cut_corpus() -> None:
    corpus = tuple({"id": f"d{i}", "title": "", "text": f"text {i}"} for i in range(50))
    queries = tuple({"id": f"q{i}", "text": f"query {i}"} for i in range(20))
    relevant = {f"q{i}": {f"d{i}": 1, f"d{i + 20}": 1} for i in range(0, 20, 2)}
    found = mteb_local.cut_corpus(RetrievalData(corpus, queries, relevant), 12, 4)
    assert len(found.queries) == len(found.relevant) == 4
    kept = [row["id"] for row in found.corpus]
    assert len(set(kept)) == len(kept) == 12
    assert {document for own in found.relevant.values() for document in own} <= set(kept)
    assert all(found.relevant[query["id"]] == relevant[query["id"]] for query in found.queries)


def test_texts_carry_both_aspects(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    labels = [{"colour": "red"}, *[{"colour": "red", "shape": str(i)} for i in range(5)]]
    lines = [json.dumps({"text": f"text {i}", "labels": own}) for i, own in enumerate(labels)]
    (tmp_path / "dev" / "toys.jsonl").write_text("\n".join(lines))
    pair = Pair("toys", ("colour", "shape"), ("which colour?", "which shape?"))
    found = mteb_local.read_texts(tmp_path, pair, 4)
    assert len(found.texts) == 4
    for text, shape in zip(found.texts, found.labels["shape"], strict=True):
        assert text == f"text {int(str(shape)) + 1}"


def test_sentences_are_those_of_the_test_split(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    rows = [
        {"sentence1": "a", "sentence2": str(i), "label": i, "split": split}
        for i, split in enumerate(["train", "test", "test", "test"])
    ]
    (tmp_path / "dev" / "stsb.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = mteb_local.read_sentences(tmp_path, 2)
    assert len(found.first) == 2
    assert [str(int(score)) for score in found.scores] == list(found.second)
    assert "0" not in found.second


def test_instructions_stand_beside_the_scores(toys: Path) -> None:
    colour, shape = INSTRUCTIONS.values()
    reranked = labelled_tasks("toys", read_labelled(toys), INSTRUCTIONS)[-1]
    documents = ({"id": "d", "title": "", "text": "a"},)
    search = RetrievalData(documents, ({"id": "q", "text": "a"},), {"q": {"d": 1}})
    pairs = SentencePairs(("a", "b"), ("c", "d"), (1, 2))
    assert mteb_local.instructions(reranked) == [colour, shape]
    assert mteb_local.instructions(retrieval_task("s", search, instruction="find")) == ["find"]
    assert mteb_local.instructions(clustering_task("c", "ab", "xy", instruction="sort")) == ["sort"]
    assert mteb_local.instructions(sts_task("p", pairs)) == []


def test_of_a_changed_instruction_both_rankings_are_kept() -> None:
    scores = {"test": [{"og": {"ndcg_at_10": 0.5}, "changed": {"ndcg_at_10": 0.7}, "p-MRR": 0.1}]}
    score = TaskScore("t", "InstructionReranking", "p-MRR", "ours", 0.1, 1.0, scores=scores)
    found = mteb_local.kept(score, ["one", "other"])
    assert (found["score"], found["before"], found["after"]) == (0.1, 0.5, 0.7)
    assert found["instructions"] == ["one", "other"]
    assert "scores" not in found
