"""Toys ranked by vectors of random weights; labels of the toys teach the transforms."""

from pathlib import Path
from typing import Any

import mteb
import numpy as np
import pytest
from datasets import Dataset
from mteb.abstasks import AbsTask
from mteb.mocks.mock_tasks import (
    MockInstructionReranking,
    MockInstructionRetrieval,
    MockRetrievalDialogTask,
    MockRetrievalTask,
)

from instruct_embeddings import FitConfig, InstructEncoder
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.evaluation.jsonl_tasks import read_labelled
from instruct_embeddings.evaluation.mteb_models import MtebRetriever
from instruct_embeddings.evaluation.mteb_tasks import labelled_tasks
from instruct_embeddings.guides import EncoderGuide, GuideByInstruction, LabelGuide
from tests.integrations.mteb.conftest import INSTRUCTIONS

COLOUR, SHAPE = INSTRUCTIONS.values()
SEARCH_TASKS = [
    MockInstructionReranking,
    MockInstructionRetrieval,
    MockRetrievalDialogTask,
    MockRetrievalTask,
]


@pytest.fixture(scope="module")
def guide(toys: Path) -> GuideByInstruction:
    """Documents of a reranking task are called by their place in the file."""
    labels = read_labelled(toys).labels
    by_id = [
        {str(place): str(label) for place, label in enumerate(labels[aspect])}
        for aspect in ("colour", "shape")
    ]
    return GuideByInstruction({COLOUR: LabelGuide(by_id[0]), SHAPE: LabelGuide(by_id[1])})


@pytest.fixture(scope="module")
def task(toys: Path) -> AbsTask:
    found = labelled_tasks("toys", read_labelled(toys), INSTRUCTIONS)[-1]
    assert found.metadata.type == "InstructionReranking"
    return found


@pytest.fixture(scope="module")
def model(encoder: InstructEncoder, guide: GuideByInstruction) -> MtebRetriever:
    return MtebRetriever(encoder, guide)


@pytest.fixture(scope="module")
def scores(model: MtebRetriever, task: AbsTask) -> Any:
    """What mteb finds; the corpus stays indexed and the transforms fitted."""
    [result] = mteb.evaluate(model, task, cache=None, show_progress_bar=False).task_results
    return result.scores["test"][0]


def data(task: AbsTask) -> Any:
    task.load_data()
    assert task.dataset is not None
    return task.dataset["default"]["test"]


def index(model: MtebRetriever, task: AbsTask, corpus: Dataset) -> None:
    model.index(
        corpus,
        task_metadata=task.metadata,
        hf_split="test",
        hf_subset="default",
        encode_kwargs={},
    )


def search(model: MtebRetriever, task: AbsTask, queries: Dataset, **more: Any) -> Any:
    settings: dict[str, Any] = {"hf_split": "test", "hf_subset": "default", "encode_kwargs": {}}
    return model.search(queries, task_metadata=task.metadata, **({"top_k": 5} | settings | more))


def test_it_is_a_search_model_and_no_encoder(model: MtebRetriever) -> None:
    assert isinstance(model, mteb.SearchProtocol)
    assert not isinstance(model, (mteb.EncoderProtocol, mteb.CrossEncoderProtocol))


@pytest.mark.parametrize("kind", SEARCH_TASKS)
def test_it_does_every_kind_of_search_task(encoder: InstructEncoder, kind: type[AbsTask]) -> None:
    model = MtebRetriever(encoder, EncoderGuide(encoder))
    [result] = mteb.evaluate(model, kind(), cache=None, show_progress_bar=False).task_results
    assert np.isfinite(result.get_score())


def test_rankings_follow_the_instruction_of_each_query(scores: Any) -> None:
    """Documents that lose their relevance under the second instruction fall behind."""
    assert scores["p-MRR"] > 0.3
    assert scores["og"]["ndcg_at_10"] > 0.8
    assert scores["changed"]["ndcg_at_10"] > 0.8


@pytest.mark.usefixtures("scores")
def test_the_corpus_is_embedded_once_for_all_instructions(model: MtebRetriever) -> None:
    assert set(model.reports) == {COLOUR, SHAPE}
    assert all(report.gains for report in model.reports.values())
    assert model.unlearned == {}


@pytest.mark.usefixtures("scores")
def test_all_documents_are_ranked_where_there_are_no_candidates(
    model: MtebRetriever, task: AbsTask
) -> None:
    split = data(task)
    few = split["queries"].select([0])
    [found] = search(model, task, few, top_k=50).values()
    candidates = {few["id"][0]: list(split["corpus"]["id"])}
    [everything] = search(model, task, few, top_k=90, top_ranked=candidates).values()
    assert (len(found), len(everything)) == (50, 90)
    assert list(found) == list(everything)[:50]
    np.testing.assert_allclose(list(found.values()), list(everything.values())[:50], atol=1e-5)


@pytest.mark.usefixtures("scores")
def test_queries_without_an_instruction_are_ranked_by_the_generic_vectors(
    encoder: InstructEncoder, model: MtebRetriever, task: AbsTask
) -> None:
    query = Dataset.from_list([{"id": "q", "text": "red red ball ball"}])
    found = search(model, task, query)["q"]
    cosines = (
        encoder.encode(data(task)["corpus"]["text"]) @ encoder.encode(["red red ball ball"])[0]
    )
    np.testing.assert_allclose(sorted(found.values()), np.sort(cosines)[-5:], atol=1e-5)


@pytest.mark.usefixtures("scores")
def test_queries_without_candidates_find_nothing(model: MtebRetriever, task: AbsTask) -> None:
    few = data(task)["queries"].select([0])
    assert search(model, task, few, top_ranked={}) == {few["id"][0]: {}}


def test_the_instruction_of_a_task_serves_queries_without_one(
    encoder: InstructEncoder, guide: GuideByInstruction, task: AbsTask
) -> None:
    model = MtebRetriever(encoder, guide, instructions={task.metadata.name: SHAPE})
    corpus = data(task)["corpus"]
    index(model, task, corpus)
    query = Dataset.from_list([{"id": "q", "text": "red red ball ball"}])
    texts = dict(zip(corpus["id"], corpus["text"], strict=True))
    assert all("ball" in texts[row] for row in search(model, task, query)["q"])
    assert set(model.reports) == {SHAPE}
    # Another corpus is learned from anew.
    index(model, task, corpus.select(range(40)))
    assert model.reports == {}
    assert len(search(model, task, query, top_k=100)["q"]) == 40


def test_where_nothing_can_be_learned_the_generic_ranking_serves_and_it_is_told(
    encoder: InstructEncoder, task: AbsTask, caplog: pytest.LogCaptureFixture
) -> None:
    one_label = LabelGuide({str(place): "toy" for place in range(90)})
    model, split = MtebRetriever(encoder, one_label), data(task)
    index(model, task, split["corpus"])
    few = split["queries"].select([0])
    found = search(model, task, few)
    assert found == search(model, task, few.remove_columns("instruction"))
    assert "at least two labels are needed" in model.unlearned[COLOUR]
    assert f"{COLOUR!r} is ranked by generic vectors" in caplog.text


def test_a_corpus_comes_before_queries(encoder: InstructEncoder, task: AbsTask) -> None:
    with pytest.raises(ConfigError, match="No corpus was indexed"):
        search(MtebRetriever(encoder), task, data(task)["queries"])


def test_mteb_records_what_the_ranking_depends_on(
    encoder: InstructEncoder, guide: GuideByInstruction
) -> None:
    plain = MtebRetriever(encoder, guide).mteb_model_meta
    assert plain.name is not None
    assert plain.name.endswith("-transform")
    others = [
        MtebRetriever(encoder, EncoderGuide(encoder)),
        MtebRetriever(encoder, guide, force=True),
        MtebRetriever(encoder, guide, fit=FitConfig(sample_size=50)),
        MtebRetriever(encoder, guide, instructions={"query": COLOUR}),
    ]
    revisions = {plain.revision, *(one.mteb_model_meta.revision for one in others)}
    assert len(revisions) == 5
