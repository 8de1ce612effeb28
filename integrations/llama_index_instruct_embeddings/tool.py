"""A retriever as a tool whose instruction is written by the model that calls it."""

from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.bridge.pydantic import BaseModel, Field, ValidationError
from llama_index.core.schema import MetadataMode, NodeWithScore
from llama_index.core.tools.types import AsyncBaseTool, ToolMetadata, ToolOutput

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
from llama_index_instruct_embeddings.query import InstructionQueryBundle


class SearchInput(BaseModel):
    """What a model says to search."""

    query: str = Field(description=QUERY_DESCRIPTION)
    instruction: str | None = Field(default=None, description=INSTRUCTION_DESCRIPTION)
    examples: list[list[str]] | None = Field(default=None, description=EXAMPLES_DESCRIPTION)


class SearchTool(AsyncBaseTool):
    """Calls a retriever with the query and the instruction that a model writes.

    Its output is the text of the nodes, and the nodes themselves as `raw_output`. What the model
    got wrong comes back as an output that says how to correct it.
    """

    def __init__(self, retriever: BaseRetriever, metadata: ToolMetadata) -> None:
        """Put the two together."""
        self._retriever, self._metadata = retriever, metadata

    @property
    def metadata(self) -> ToolMetadata:
        """Name, description and schema."""
        return self._metadata

    def call(self, *args: Any, **kwargs: Any) -> ToolOutput:
        """Search by arguments of the schema, in its order or by their names."""
        said = self._said(args, kwargs)
        try:
            return self._found(said, self._retriever.retrieve(self._bundle(said)))
        except (*CORRECTABLE, ValidationError) as exc:
            return self._wrong(said, exc)

    async def acall(self, *args: Any, **kwargs: Any) -> ToolOutput:
        """The same as `call` without blocking the event loop."""
        said = self._said(args, kwargs)
        try:
            return self._found(said, await self._retriever.aretrieve(self._bundle(said)))
        except (*CORRECTABLE, ValidationError) as exc:
            return self._wrong(said, exc)

    def _said(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        return dict(zip(SearchInput.model_fields, args, strict=False)) | kwargs

    def _bundle(self, said: dict[str, Any]) -> InstructionQueryBundle:
        """The query with what is said; what a model leaves out is as the retriever has it."""
        checked = dict((self._metadata.fn_schema or SearchInput)(**said))
        given = {name: value for name, value in checked.items() if value is not None}
        return InstructionQueryBundle(given.pop("query"), **with_examples(given))

    def _found(self, said: dict[str, Any], nodes: list[NodeWithScore]) -> ToolOutput:
        texts = [node.get_content(MetadataMode.LLM) for node in nodes]
        return ToolOutput(
            content="\n\n".join(texts) or NOTHING_FOUND,
            tool_name=self._metadata.get_name(),
            raw_input=said,
            raw_output=nodes,
        )

    def _wrong(self, said: dict[str, Any], error: Exception) -> ToolOutput:
        told = str(error)
        if isinstance(error, ValidationError):
            told = wrong_arguments(error.errors())
        return ToolOutput(
            content=told,
            tool_name=self._metadata.get_name(),
            raw_input=said,
            raw_output=told,
            is_error=True,
        )


class ToolRetriever(BaseRetriever):
    """A retriever that agents call."""

    def as_tool(
        self,
        fn_schema: type[BaseModel] | None = None,
        *,
        name: str = TOOL_NAME,
        description: str = TOOL_DESCRIPTION,
        return_direct: bool = False,
    ) -> SearchTool:
        """A tool for agents: the model that calls it writes the instruction itself.

        Args:
            fn_schema: In place of `query`, `instruction` and `examples`; further fields are
                attributes of `InstructionQueryBundle`, such as `similarity_top_k`.
            name: What the model calls it.
            description: What the index holds, and when to search it.
            return_direct: The texts that are found are the agent's answer.
        """
        metadata = ToolMetadata(description, name, fn_schema or SearchInput, return_direct)
        return SearchTool(self, metadata)
