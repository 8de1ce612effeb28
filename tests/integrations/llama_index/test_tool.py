"""The retriever as a tool of agents: its schema, results, and what a model may correct."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.schema import MetadataMode
from llama_index.core.tools import AsyncBaseTool, ToolOutput
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters

from instruct_embeddings.errors import GuideError
from llama_index_instruct_embeddings import InstructionQueryBundle, InstructionTransformRetriever
from tests.integrations.tickets import KIND

Make = Callable[..., InstructionTransformRetriever]
Use = Callable[..., ToolOutput]


@pytest.fixture(params=["call", "acall"])
def use(request: pytest.FixtureRequest) -> Use:
    """Calls a tool, once through each door."""

    def call(tool: AsyncBaseTool, /, *args: Any, **said: Any) -> ToolOutput:
        if request.param == "call":
            return tool.call(*args, **said)
        return asyncio.run(tool.acall(*args, **said))

    return call


def test_its_schema_teaches_a_model_to_write_the_instruction(
    retriever: InstructionTransformRetriever,
) -> None:
    tool = retriever.as_tool(name="search_tickets", description="Support tickets.")
    function = tool.metadata.to_openai_tool()["function"]
    assert (function["name"], function["description"]) == ("search_tickets", "Support tickets.")
    parameters = function["parameters"]
    assert parameters["required"] == ["query"]
    assert list(parameters["properties"]) == ["query", "instruction", "examples"]
    told = parameters["properties"]["instruction"]["description"]
    for example in ("Find what caused it.", "What problem is reported?", "no refunds."):
        assert example in told


def test_it_has_a_name_and_a_description_of_its_own(
    retriever: InstructionTransformRetriever,
) -> None:
    metadata = retriever.as_tool().metadata
    assert metadata.name == "search"
    assert "`instruction`" in metadata.to_openai_tool()["function"]["description"]


def test_a_call_gives_texts_and_nodes(retriever: InstructionTransformRetriever, use: Use) -> None:
    output = use(retriever.as_tool(), query="printer refund", instruction=KIND)
    found = retriever.retrieve(InstructionQueryBundle("printer refund", instruction=KIND))
    assert not output.is_error
    assert output.raw_output == found
    assert output.content == "\n\n".join(node.get_content(MetadataMode.LLM) for node in found)
    assert output.raw_input == {"query": "printer refund", "instruction": KIND}
    by_place = use(retriever.as_tool(), "printer refund", KIND)
    assert by_place.content == output.content


@pytest.mark.parametrize("said", [{}, {"instruction": None}])
def test_without_an_instruction_it_is_the_search_of_the_retriever(
    make_retriever: Make, use: Use, said: dict[str, Any]
) -> None:
    retriever = make_retriever(instruction=KIND)
    output = use(retriever.as_tool(), query="printer refund", **said)
    assert output.raw_output == retriever.retrieve("printer refund")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"query": "printer", "instruction": " "}, "The instruction is empty. Pass a sentence"),
        ({"query": "printer", "instruction": "x" * 5000}, "at most 2,000 are allowed"),
        ({"instruction": KIND}, "query: Field required. Correct the arguments and search again"),
        ({"query": "printer", "instruction": [KIND]}, "instruction: Input should be a valid str"),
    ],
)
def test_what_a_model_got_wrong_comes_back_as_an_output(
    retriever: InstructionTransformRetriever, use: Use, said: dict[str, Any], told: str
) -> None:
    output = use(retriever.as_tool(), **said)
    assert output.is_error
    assert told in output.content
    assert output.raw_output == output.content


def test_what_no_model_can_correct_is_raised(make_retriever: Make, use: Use) -> None:
    with pytest.raises(GuideError, match="guide"):
        use(make_retriever(guide=None).as_tool(), query="printer", instruction="Who was it?")


def test_nothing_found_is_said(make_retriever: Make, use: Use) -> None:
    nowhere = MetadataFilters(filters=[MetadataFilter(key="area", value="none")])
    output = use(make_retriever(filters=nowhere).as_tool(), query="printer")
    assert (output.content, output.raw_output) == ("Nothing was found.", [])


def test_further_attributes_of_a_query_may_be_in_the_schema(
    retriever: InstructionTransformRetriever, use: Use
) -> None:
    class Search(BaseModel):
        """What is said."""

        query: str
        instruction: str | None = None
        similarity_top_k: int = 2

    tool = retriever.as_tool(Search, return_direct=True)
    assert tool.metadata.return_direct
    assert len(use(tool, query="printer").raw_output) == 2
    assert len(use(tool, query="printer", similarity_top_k=3).raw_output) == 3
