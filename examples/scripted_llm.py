"""A language model for LlamaIndex without a language model: it quotes the first lines it is given.

It stands in where no model is configured, so that the notebooks run offline, and says so in every
answer.
"""

import re
from typing import Any

from llama_index.core.base.llms.types import (
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.llms import CustomLLM
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
        paragraphs = context[1].split("\n\n") if context else []
        texts = [text for part in paragraphs if (text := part.strip()) and ": " not in text[:12]]
        said = " ".join(f"“{re.split(r'(?<=[.!?]) ', text)[0]}”" for text in texts[:2])
        return CompletionResponse(text=f"{NOTE} The closest tickets say: {said or 'nothing'}")

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
