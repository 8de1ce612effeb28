"""The retriever as a tool of agents: its schema, results, and what a model may correct."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import ToolMessage
from langchain_core.prompts import PromptTemplate
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, Field

from instruct_embeddings.errors import GuideError
from langchain_instruct_embeddings import InstructionTransformRetriever
from tests.integrations.tickets import KIND

Make = Callable[..., InstructionTransformRetriever]
Use = Callable[..., ToolMessage]


@pytest.fixture(params=["invoke", "ainvoke"])
def use(request: pytest.FixtureRequest) -> Use:
    """Calls a tool as agents do, once through each door."""

    def call(tool: BaseTool, /, *handlers: BaseCallbackHandler, **said: Any) -> Any:
        asked: Any = {"name": tool.name, "args": said, "id": "1", "type": "tool_call"}
        if request.param == "invoke":
            return tool.invoke(asked, {"callbacks": [*handlers]})
        return asyncio.run(tool.ainvoke(asked, {"callbacks": [*handlers]}))

    return call


def test_its_schema_teaches_a_model_to_write_the_instruction(
    retriever: InstructionTransformRetriever,
) -> None:
    tool = retriever.as_tool(name="search_tickets", description="Support tickets.")
    function = convert_to_openai_tool(tool)["function"]
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
    tool = retriever.as_tool()
    assert tool.name == "search"
    assert "`instruction`" in tool.description


def test_a_call_gives_texts_and_documents(
    retriever: InstructionTransformRetriever, use: Use
) -> None:
    message = use(retriever.as_tool(), query="printer refund", instruction=KIND)
    found = retriever.invoke("printer refund", instruction=KIND)
    assert message.status == "success"
    assert message.artifact == found
    assert message.content == "\n\n".join(document.page_content for document in found)


@pytest.mark.parametrize("said", [{}, {"instruction": None}])
def test_without_an_instruction_it_is_the_search_of_the_retriever(
    make_retriever: Make, use: Use, said: dict[str, Any]
) -> None:
    retriever = make_retriever(instruction=KIND)
    message = use(retriever.as_tool(), query="printer refund", **said)
    assert message.artifact == retriever.invoke("printer refund")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"query": "printer", "instruction": " "}, "The instruction is empty. Pass a sentence"),
        ({"query": "printer", "instruction": "x" * 5000}, "at most 2,000 are allowed"),
        ({"instruction": KIND}, "query: Field required. Correct the arguments and search again"),
        ({"query": "printer", "instruction": [KIND]}, "instruction: Input should be a valid str"),
    ],
)
def test_what_a_model_got_wrong_comes_back_as_a_message(
    retriever: InstructionTransformRetriever, use: Use, said: dict[str, Any], told: str
) -> None:
    message = use(retriever.as_tool(), **said)
    assert message.status == "error"
    assert told in message.content
    assert message.artifact is None


def test_what_no_model_can_correct_is_raised(make_retriever: Make, use: Use) -> None:
    retriever = make_retriever(guide=None)
    with pytest.raises(GuideError, match="guide"):
        use(retriever.as_tool(), query="printer", instruction="Who was it?")


def test_nothing_found_is_said(make_retriever: Make, use: Use) -> None:
    message = use(make_retriever(filter={"area": "none"}).as_tool(), query="printer")
    assert (message.content, message.artifact) == ("Nothing was found.", [])


def test_documents_are_written_as_you_say(
    retriever: InstructionTransformRetriever, use: Use
) -> None:
    prompt = PromptTemplate.from_template("[{area}] {page_content}")
    tool = retriever.as_tool(document_prompt=prompt, document_separator="\n")
    lines = use(tool, query="printer refund").content.split("\n")
    assert len(lines) == 4
    assert lines[0].startswith("[printer] printer")


def test_further_arguments_of_a_call_may_be_in_the_schema(
    retriever: InstructionTransformRetriever, use: Use
) -> None:
    class Search(BaseModel):
        """What is said."""

        query: str
        instruction: str | None = Field(None, description="Say it in German.")
        k: int = 2

    assert len(use(retriever.as_tool(Search), query="printer").artifact) == 2
    assert len(use(retriever.as_tool(arg_types={"k": int}), query="printer", k=3).artifact) == 3
    wrong = use(retriever.as_tool(arg_types={"k": int}), query="printer", k=-1)
    assert (wrong.status, wrong.content) == ("error", "k must be an integer >= 1, got -1.")


def test_callbacks_see_the_retriever_below_the_tool(
    retriever: InstructionTransformRetriever, use: Use
) -> None:
    class Notes(BaseCallbackHandler):
        def __init__(self) -> None:
            self.tool: Any = None
            self.parents: list[Any] = []

        def on_tool_start(self, *args: Any, run_id: Any, **kwargs: Any) -> None:
            self.tool = run_id

        def on_retriever_start(self, *args: Any, parent_run_id: Any, **kwargs: Any) -> None:
            self.parents.append(parent_run_id)

    notes = Notes()
    use(retriever.as_tool(), notes, query="printer")
    assert notes.parents == [notes.tool]


def test_plain_arguments_are_taken_too(retriever: InstructionTransformRetriever) -> None:
    found = retriever.as_tool().invoke({"query": "printer refund", "instruction": KIND})
    assert found.count("refund money") == 4
