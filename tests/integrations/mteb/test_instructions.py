import pytest
from mteb import TaskMetadata
from mteb.types import PromptType

from instruct_embeddings.evaluation.mteb_models import batch_inputs, task_instruction

QUERY, DOCUMENT = PromptType.query, PromptType.document


def metadata(prompt: object = None) -> TaskMetadata:
    return TaskMetadata(
        name="Birds",
        description="Birds.",
        type="Retrieval",
        prompt=prompt,
        dataset={"path": "local", "revision": "1"},
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
    )


@pytest.mark.parametrize(
    ("keys", "side", "expected"),
    [
        (["Birds-query", "Birds", "Retrieval-query", "Retrieval", "query"], QUERY, "Birds-query"),
        (["query", "Retrieval", "Retrieval-query", "Birds"], QUERY, "Birds"),
        (["query", "Retrieval", "Retrieval-query"], QUERY, "Retrieval-query"),
        (["query", "Retrieval"], QUERY, "Retrieval"),
        (["query"], QUERY, "query"),
        (["Birds", "Retrieval", "query"], DOCUMENT, None),
        (["document", "Birds-document"], DOCUMENT, "Birds-document"),
        (["document", "query"], DOCUMENT, "document"),
        (["Birds", "Retrieval"], None, "Birds"),
        (["Retrieval", "query"], None, "Retrieval"),
        (["query", "document", "Bees"], None, None),
    ],
)
def test_the_most_exact_name_counts(
    keys: list[str], side: PromptType | None, expected: str | None
) -> None:
    assert task_instruction(metadata(), side, {key: key for key in keys}) == expected


@pytest.mark.parametrize(
    ("prompt", "side", "expected"),
    [
        ("Find birds.", QUERY, "Find birds."),
        ("Find birds.", None, "Find birds."),
        ("Find birds.", DOCUMENT, None),
        ({"query": "Find birds."}, QUERY, "Find birds."),
        ({"query": "Find birds."}, DOCUMENT, None),
        ({"document": "A bird."}, DOCUMENT, "A bird."),
        ({"query": "Find birds."}, None, None),
        (None, QUERY, None),
    ],
)
def test_otherwise_the_prompt_of_the_task_counts(
    prompt: object, side: PromptType | None, expected: str | None
) -> None:
    assert task_instruction(metadata(prompt), side, {"Bees": "no"}) == expected


def test_an_empty_text_mutes_the_prompt_of_the_task() -> None:
    assert task_instruction(metadata("Find birds."), QUERY, {"Birds": ""}) is None


def test_batches_of_queries_hold_query_and_instruction_apart() -> None:
    queries = {
        "text": ["red only loud", "blue "],
        "query": ["red", "blue"],
        "instruction": ["only loud", ""],
    }
    found = batch_inputs([queries, {"text": ["plain"]}])
    assert found == (["red", "blue", "plain"], ["only loud", None, None])
