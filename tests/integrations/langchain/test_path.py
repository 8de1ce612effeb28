"""From `invoke` to hits: a short way that does each thing once."""

from collections.abc import Callable

from langchain_instruct_embeddings import InstructionTransformRetriever
from tests.calls import recorded_calls
from tests.integrations.tickets import KIND

# What makes documents of hits, and stands in for a model.
NOT_OF_THE_SEARCH = {
    "instruct_embeddings/testing.py",
}


def test_invoke_under_a_known_instruction_passes_few_files(
    make_retriever: Callable[..., InstructionTransformRetriever],
) -> None:
    retriever = make_retriever(instruction=KIND, force=True)
    retriever.invoke("printer")
    with recorded_calls() as calls:
        assert retriever.invoke("broken printer")
    files = calls.files - NOT_OF_THE_SEARCH
    assert len(files) <= 9, sorted(files)
    assert calls.of("check_instruction") == 1
    assert calls.of("QueryTransform.fold") == 1
    assert calls.of("ChromaVectors.info") == 1
    assert calls.of("request") == 1  # to the store
