"""Exporting a name is a decision: this list and `__all__` change together."""

from importlib import import_module
from importlib.util import find_spec

import pytest

EXPORTED: dict[str, list[str]] = {
    "chroma_instruct_embeddings": [
        "ChromaVectors",
        "InstructEmbeddingFunction",
        "check_collection",
        "http_client",
        "open_collection",
        "record_collection",
    ],
    "instruct_embeddings": [
        "Categories",
        "ChatJudge",
        "CrossEncoderJudge",
        "Drift",
        "EmbeddingRecord",
        "EncoderGuide",
        "EncoderJudge",
        "EncoderOptions",
        "Explanation",
        "FitConfig",
        "FitEvent",
        "FitReport",
        "FunctionJudge",
        "GuideByInstruction",
        "Hit",
        "InstantQuery",
        "InstructEmbeddingsError",
        "InstructEncoder",
        "InstructRetriever",
        "Instruction",
        "InstructionTransform",
        "Judgement",
        "JudgementGuide",
        "JudgementMemory",
        "LLMGuide",
        "LabelGuide",
        "LabelNamesGuide",
        "LabellingReport",
        "MetadataGuide",
        "QueryBridge",
        "QuestionReport",
        "Questions",
        "RelevanceFeedback",
        "Reuse",
        "TransformStore",
        "TransformWarning",
        "TruncationWarning",
        "__version__",
        "carry_over",
        "fit_bridge",
    ],
    "langchain_instruct_embeddings": [
        "BridgedEmbeddings",
        "CompressorJudge",
        "InstructEmbeddings",
        "InstructionTransformRetriever",
        "SituatedEmbeddings",
        "StoreVectors",
    ],
    "llama_index_instruct_embeddings": [
        "BridgedEmbedding",
        "InstructEmbedding",
        "InstructionQueryBundle",
        "InstructionTransformRetriever",
        "PostprocessorJudge",
        "SituatedEmbedding",
        "to_where",
    ],
    "milvus_instruct_embeddings": ["MilvusVectors"],
    "postgres_instruct_embeddings": ["PostgresVectors"],
    "qdrant_instruct_embeddings": ["QdrantVectors"],
}
if find_spec("ray"):  # not on Python 3.10
    EXPORTED["ray_instruct_embeddings"] = ["EmbedTexts", "UpsertInto"]


@pytest.mark.parametrize("package", EXPORTED)
def test_exported_members_are_the_agreed_ones(package: str) -> None:
    assert import_module(package).__all__ == EXPORTED[package]


@pytest.mark.parametrize("package", EXPORTED)
def test_exported_members_can_be_imported_and_are_listed(package: str) -> None:
    module = import_module(package)
    for name in EXPORTED[package]:
        assert getattr(module, name)
    assert set(EXPORTED[package]) <= set(dir(module))


@pytest.mark.parametrize("package", EXPORTED)
def test_other_names_are_attribute_errors(package: str) -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = import_module(package).no_such_name
