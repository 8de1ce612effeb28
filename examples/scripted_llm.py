"""A language model for LlamaIndex without a language model: it quotes the first lines it is given.

It stands in where no model is configured, so that the notebooks run offline, and says so in every
answer.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
    ToolCallBlock,
)
from llama_index.core.llms import CustomLLM, MockFunctionCallingLLM
from llama_index.core.llms.callbacks import llm_completion_callback

NOTE = "(scripted, no language model)"
_CONTEXT = re.compile(r"-{5,}\n(.*?)\n-{5,}", re.DOTALL)


class ScriptedLLM(CustomLLM):
    """Answers with the first sentences of the context in the prompt."""

    @property
    def metadata(self) -> LLMMetadata:
        """A window as wide as any."""
        return LLMMetadata(context_window=100_000, num_output=256, model_name="scripted")

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """The first sentence of each of the first two paragraphs of the context."""
        context = _CONTEXT.search(prompt)
        return CompletionResponse(text=_quote(context[1] if context else ""))

    @llm_completion_callback()
    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        """The same, word by word."""
        whole, text = self.complete(prompt, formatted, **kwargs).text, ""

        def words() -> CompletionResponseGen:
            nonlocal text
            for word in re.findall(r"\S+\s*", whole):
                text += word
                yield CompletionResponse(text=text, delta=word)

        return words()


def scripted_caller(keywords: Mapping[str, Sequence[str]]) -> MockFunctionCallingLLM:
    """A model for agents: it calls the first tool once, and quotes what comes back.

    Args:
        keywords: For each value of the tool's second argument, words of a question that ask for it.
    """

    def respond(messages: Sequence[ChatMessage], **kwargs: Any) -> ChatMessage:
        last, tools = messages[-1], kwargs.get("tools")
        if not tools or last.role == MessageRole.TOOL:
            return ChatMessage(_quote(last.content or ""), role=MessageRole.ASSISTANT)
        question, metadata = last.content or "", tools[0].metadata
        text, choice, *_ = metadata.get_parameters_dict()["properties"]
        words = set(re.findall(r"\w+", question.lower()))
        chosen = max(keywords, key=lambda value: len(words & set(keywords[value])))
        quoted = re.search(r"[\"“](.+?)[\"”]", question)
        said = {text: quoted[1] if quoted else question, choice: chosen}
        call = ToolCallBlock(tool_call_id="call-1", tool_name=metadata.name, tool_kwargs=said)
        return ChatMessage(role=MessageRole.ASSISTANT, blocks=[call])

    return MockFunctionCallingLLM(response_generator=respond)


def _quote(context: str) -> str:
    """The first sentence of each of the first two paragraphs that are no metadata."""
    paragraphs = context.split("\n\n")
    texts = [text for part in paragraphs if (text := part.strip()) and ": " not in text[:12]]
    said = " ".join(f"“{re.split(r'(?<=[.!?]) ', text)[0]}”" for text in texts[:2])
    return f"{NOTE} The closest tickets say: {said or 'nothing'}"
