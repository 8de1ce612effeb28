"""A chat model for LangChain without a language model: it quotes what it is given.

It stands in where no chat model is configured, so that the notebooks run offline. It says so in
every answer. What it does not do is think: it quotes the first tickets in its prompt, and picks a
tool's argument by keywords.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

NOTE = "(scripted, no language model)"
_TICKET = re.compile(r"^\[(\w+)\][^:\n]*: (.*)$", re.MULTILINE)


class ScriptedChat(BaseChatModel):
    """Quotes tickets from the prompt; calls the first tool it was given, once.

    Attributes:
        keywords: For each value of the tool's second argument, words of a question that ask for it.
    """

    keywords: Mapping[str, Sequence[str]] = {}

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool], **kwargs: Any
    ) -> Runnable[Any, AIMessage]:
        """The same model, which knows the tools."""
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        tools, last = kwargs.get("tools"), messages[-1]
        if tools and not isinstance(last, ToolMessage):
            answer = self._call(tools[0]["function"], str(last.content))
        else:
            answer = AIMessage(_quote(str(last.content)))
        return ChatResult(generations=[ChatGeneration(message=answer)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        answer = self._generate(messages, **kwargs).generations[0].message
        for word in re.findall(r"\S+\s*", str(answer.content)):
            yield ChatGenerationChunk(message=AIMessageChunk(word))
        for call in getattr(answer, "tool_calls", []):
            piece = {"name": call["name"], "args": json.dumps(call["args"]), "id": call["id"]}
            yield ChatGenerationChunk(
                message=AIMessageChunk("", tool_call_chunks=[{**piece, "index": 0}])
            )

    def _call(self, function: Mapping[str, Any], question: str) -> AIMessage:
        text, choice, *_ = function["parameters"]["properties"]
        words = set(re.findall(r"\w+", question.lower()))
        fit = {value: len(words & set(asked)) for value, asked in self.keywords.items()}
        quoted = re.search(r"[\"“](.+?)[\"”]", question)
        arguments = {
            text: quoted[1] if quoted else question,
            choice: max(fit, key=lambda v: fit[v]),
        }
        return AIMessage(
            "", tool_calls=[{"name": function["name"], "args": arguments, "id": "call-1"}]
        )


def _quote(prompt: str) -> str:
    found = _TICKET.findall(prompt)[:2]
    if not found:
        return f"{NOTE} There is no ticket to answer from."
    said = [f"“{re.split(r'(?<=[.!?]) ', text)[0]}” [{ticket}]" for ticket, text in found]
    return f"{NOTE} The closest ticket says: {said[0]}" + (
        f" The next one: {said[1]}" if len(said) > 1 else ""
    )
