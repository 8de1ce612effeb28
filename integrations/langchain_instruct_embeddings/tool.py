"""A retriever as a tool whose instruction is written by the model that calls it."""

from collections.abc import Mapping
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.prompts import BasePromptTemplate, PromptTemplate, format_document
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import StructuredTool, ToolException
from pydantic import BaseModel, Field, create_model

from instruct_embeddings.hosts import (
    CORRECTABLE,
    EXAMPLES_DESCRIPTION,
    INSTRUCTION_DESCRIPTION,
    NOTHING_FOUND,
    QUERY_DESCRIPTION,
    TOOL_DESCRIPTION,
    TOOL_NAME,
    with_examples,
    wrong_arguments,
)

_TEXT_ALONE = PromptTemplate.from_template("{page_content}")


class SearchInput(BaseModel):
    """What a model says to search."""

    query: str = Field(description=QUERY_DESCRIPTION)
    instruction: str | None = Field(default=None, description=INSTRUCTION_DESCRIPTION)
    examples: list[list[str]] | None = Field(default=None, description=EXAMPLES_DESCRIPTION)


class ToolRetriever(BaseRetriever):
    """A retriever that agents call."""

    def as_tool(
        self,
        args_schema: type[BaseModel] | None = None,
        *,
        name: str | None = None,
        description: str | None = None,
        arg_types: dict[str, type] | None = None,
        document_prompt: BasePromptTemplate[str] | None = None,
        document_separator: str = "\n\n",
    ) -> StructuredTool:
        """A tool for agents: the model that calls it writes the instruction itself.

        Its messages hold the texts, its artifacts the documents. What the model got wrong (an empty
        instruction, one that is too long) comes back as a message that says how to correct it.

        Args:
            args_schema: In place of `query`, `instruction` and `examples`; further fields are
                arguments of `invoke`, such as `k`.
            name: What the model calls it.
            description: What the collection holds, and when to search it.
            arg_types: Types of further arguments of `invoke`.
            document_prompt: How a document is written; by default its text alone.
            document_separator: What stands between two documents.
        """
        prompt = document_prompt or _TEXT_ALONE
        schema = args_schema or _search_input(arg_types or {})

        def shown(documents: list[Document]) -> tuple[str, list[Document]]:
            text = document_separator.join(format_document(each, prompt) for each in documents)
            return text or NOTHING_FOUND, documents

        def search(
            query: str, callbacks: Callbacks = None, **said: Any
        ) -> tuple[str, list[Document]]:
            try:
                return shown(self.invoke(query, {"callbacks": callbacks}, **_given(schema, said)))
            except CORRECTABLE as exc:
                raise ToolException(str(exc)) from exc

        async def asearch(
            query: str, callbacks: Callbacks = None, **said: Any
        ) -> tuple[str, list[Document]]:
            try:
                return shown(
                    await self.ainvoke(query, {"callbacks": callbacks}, **_given(schema, said))
                )
            except CORRECTABLE as exc:
                raise ToolException(str(exc)) from exc

        return StructuredTool(
            name=name or TOOL_NAME,
            description=description or TOOL_DESCRIPTION,
            func=search,
            coroutine=asearch,
            args_schema=schema,
            response_format="content_and_artifact",
            handle_tool_error=True,
            handle_validation_error=_correction,
        )


def _search_input(arg_types: Mapping[str, type]) -> type[BaseModel]:
    """The schema with further arguments, which may be left out."""
    further: dict[str, Any] = {name: (kind | None, None) for name, kind in arg_types.items()}
    return create_model("SearchInput", __base__=SearchInput, **further) if further else SearchInput


def _given(schema: type[BaseModel], said: dict[str, Any]) -> dict[str, Any]:
    """Arguments of the call; what a model leaves out is as the retriever has it.

    Defaults of the schema are among them, which older releases of LangChain do not hand on.
    """
    found = {
        name: field.get_default(call_default_factory=True)
        for name, field in schema.model_fields.items()
        if name != "query" and not field.is_required()
    }
    return with_examples({k: value for k, value in (found | said).items() if value is not None})


def _correction(error: Any) -> str:
    return wrong_arguments(error.errors())
