from typing import Any

import mteb
import numpy as np
import pytest
from mteb._create_dataloaders import create_dataloader
from mteb.abstasks import AbsTask
from mteb.mocks.mock_tasks import (
    LegacyMockClusteringFastTask,
    MockBitextMiningTask,
    MockClassificationTask,
    MockInstructionReranking,
    MockInstructionRetrieval,
    MockPairClassificationTask,
    MockRerankingTask,
    MockRetrievalDialogTask,
    MockRetrievalTask,
    MockSTSTask,
    MockSummarizationTask,
)
from mteb.types import PromptType

from instruct_embeddings import InstructEncoder
from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.evaluation.mteb_models import MtebEncoder
from instruct_embeddings.transform.vectors import unit_rows
from tests.models import tiny_checkpoint

QUERY, DOCUMENT = PromptType.query, PromptType.document
QUERIES = ["This is a test sentence", "This is another test sentence"]
ASKED = ["This is a test instruction", "This is another test instruction"]
DOCUMENTS = [
    "Title of d1 This is a positive sentence",
    "Title of d2 This is another positive sentence",
]

TEXT_TASKS = [
    MockBitextMiningTask,
    MockClassificationTask,
    LegacyMockClusteringFastTask,
    MockInstructionReranking,
    MockInstructionRetrieval,
    MockPairClassificationTask,
    MockRerankingTask,
    MockRetrievalDialogTask,
    MockRetrievalTask,
    MockSTSTask,
    MockSummarizationTask,
]


def embedded(model: MtebEncoder, task: AbsTask, side: PromptType) -> FloatArray:
    """What the model makes of one side of a task, from the batches that mteb makes of it."""
    task.load_data()
    assert task.dataset is not None
    part = task.dataset["default"]["test"]["queries" if side is QUERY else "corpus"]
    inputs = create_dataloader(part, task_metadata=task.metadata, prompt_type=side, batch_size=1)
    return model.encode(
        inputs, task_metadata=task.metadata, hf_split="test", hf_subset="default", prompt_type=side
    )


def test_it_is_an_encoder_and_no_search_model(encoder: InstructEncoder) -> None:
    model = MtebEncoder(encoder)
    assert isinstance(model, mteb.EncoderProtocol)
    assert not isinstance(model, mteb.SearchProtocol)


# mteb itself copies a tensor in a way that torch warns of.
@pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning")
@pytest.mark.parametrize("kind", TEXT_TASKS)
def test_it_does_every_kind_of_text_task(encoder: InstructEncoder, kind: type[AbsTask]) -> None:
    [result] = mteb.evaluate(
        MtebEncoder(encoder), kind(), cache=None, show_progress_bar=False
    ).task_results
    assert np.isfinite(result.get_score())


def test_queries_are_read_under_their_own_instruction(encoder: InstructEncoder) -> None:
    found = embedded(MtebEncoder(encoder), MockInstructionRetrieval(), QUERY)
    for row, query, instruction in zip(found, QUERIES, ASKED, strict=True):
        alone = encoder.encode([query], instruction=instruction)[0]
        np.testing.assert_allclose(row, alone, atol=1e-5)


def test_documents_are_read_without_one(encoder: InstructEncoder) -> None:
    found = embedded(MtebEncoder(encoder), MockInstructionRetrieval(), DOCUMENT)
    np.testing.assert_allclose(found, unit_rows(encoder.encode(DOCUMENTS)), atol=1e-5)


def test_documents_are_read_under_one_where_the_mapping_says_so(encoder: InstructEncoder) -> None:
    model = MtebEncoder(encoder, instructions={"MockRetrievalTask-document": "which colour is it"})
    found = embedded(model, MockRetrievalTask(), DOCUMENT)
    expected = encoder.encode(DOCUMENTS, instruction="which colour is it")
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_queries_without_one_take_that_of_their_task(encoder: InstructEncoder) -> None:
    model = MtebEncoder(encoder, instructions={"Retrieval": "which colour is it"})
    found = embedded(model, MockRetrievalTask(), QUERY)
    expected = encoder.encode(QUERIES, instruction="which colour is it")
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_without_instructions_it_is_the_generic_baseline(encoder: InstructEncoder) -> None:
    model = MtebEncoder(encoder, instructions={"query": "which colour is it"}, instructed=False)
    found = embedded(model, MockInstructionRetrieval(), QUERY)
    np.testing.assert_allclose(found, unit_rows(encoder.encode(QUERIES)), atol=1e-5)


def test_tasks_of_one_side_are_read_under_their_instruction(encoder: InstructEncoder) -> None:
    """The score changes with the instruction that the mapping gives."""

    def score(**settings: Any) -> float:
        [result] = mteb.evaluate(
            MtebEncoder(encoder, **settings), MockSTSTask(), cache=None, show_progress_bar=False
        ).task_results
        return float(result.scores["test"][0]["cosine_spearman"])

    asked = {"MockSTSTask": "which colour is it"}
    assert score(instructions=asked) != score()
    assert score(instructions=asked, instructed=False) == score()


def test_similarities_are_cosines(encoder: InstructEncoder) -> None:
    model = MtebEncoder(encoder)
    one, other = np.array([[3.0, 0], [0, 1]]), np.array([[1.0, 0], [0.6, 0.8]])
    np.testing.assert_allclose(model.similarity(one, other), [[1, 0.6], [0, 0.8]], rtol=1e-6)
    np.testing.assert_allclose(model.similarity_pairwise(one, other), [1, 0.8], rtol=1e-6)


def test_mteb_records_what_the_vectors_depend_on(encoder: InstructEncoder) -> None:
    plain = MtebEncoder(encoder).mteb_model_meta
    assert plain.name == f"instruct-embeddings/{encoder.name.rsplit('/')[-1]}"
    assert (plain.embed_dim, plain.max_tokens, plain.use_instructions) == (32, 124, True)
    assert plain == MtebEncoder(encoder).mteb_model_meta
    others = [
        MtebEncoder(encoder, instructions={"query": "which colour is it"}),
        MtebEncoder(encoder, instructed=False),
        MtebEncoder(str(tiny_checkpoint(pooling="last_token"))),
    ]
    revisions = {plain.revision, *(one.mteb_model_meta.revision for one in others)}
    assert len(revisions) == 4


def test_vectors_of_two_lengths_are_refused() -> None:
    """With and without an instruction: anchors side by side are twice as long."""
    model = MtebEncoder(str(tiny_checkpoint(pooling="dual_anchor_concat")))
    task = MockInstructionRetrieval()
    task.load_data()
    inputs = [{"text": ["a", "b x"], "query": ["a", "b"], "instruction": ["", "which colour"]}]
    with pytest.raises(ConfigError, match=r"\[32, 64\] dimensions with and without"):
        model.encode(
            inputs,  # type: ignore[arg-type]
            task_metadata=task.metadata,
            hf_split="test",
            hf_subset="default",
            prompt_type=QUERY,
        )
