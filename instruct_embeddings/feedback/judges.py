"""Judges: cross-encoders, and any function."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.feedback.form import QueryForm
from instruct_embeddings.protocols import Judge

JudgeFunction: TypeAlias = Callable[[str, str | None, Sequence[str]], Sequence[float | None]]
"""(query, instruction, texts) to one score a text."""


def as_judge(judge: object) -> Judge:
    """Take a judge, a sentence-transformers `CrossEncoder`, or a function.

    Rerankers of the hosts are wrapped by their adapters (`CompressorJudge` of LangChain,
    `PostprocessorJudge` of LlamaIndex), chat models by `ChatJudge`, which says what they may cost.

    Raises:
        ConfigError: It is none of these, or a class instead of an instance.
    """
    if inspect.isclass(judge):
        raise ConfigError(
            f"judge={judge.__name__} is a class, and a judge is wanted. Make one of it: "
            f"judge={judge.__name__}(...)."
        )
    if callable(getattr(judge, "relevance", None)) and hasattr(judge, "key"):
        return judge  # type: ignore[return-value]
    if callable(getattr(judge, "predict", None)) and callable(getattr(judge, "rank", None)):
        return CrossEncoderJudge(judge)
    if (wrapper := wrapper_of(judge)) is not None:
        raise ConfigError(
            f"judge={type(judge).__name__} has to be wrapped: pass judge={wrapper}(...)."
        )
    if callable(judge):
        return FunctionJudge(judge)
    raise ConfigError(
        f"judge={judge!r:.60} cannot judge. Pass a sentence-transformers CrossEncoder, "
        "CompressorJudge(a LangChain reranker), PostprocessorJudge(a LlamaIndex reranker), "
        "ChatJudge(a chat model), EncoderJudge(), or a function of (query, instruction, texts) "
        "that gives one score a text."
    )


def wrapper_of(judge: object) -> str | None:
    """Name of the class that makes a judge of an object of a host; None where none is known."""
    if inspect.isclass(judge):
        return None
    can = (name for method, name in _WRAPPERS.items() if callable(getattr(judge, method, None)))
    return next(can, None)


# In this order: what a host's object can do, and what makes a judge of it.
_WRAPPERS = {
    "compress_documents": "langchain_instruct_embeddings.CompressorJudge",
    "postprocess_nodes": "llama_index_instruct_embeddings.PostprocessorJudge",
    "invoke": "ChatJudge",
    "chat": "ChatJudge",
}


class FunctionJudge:
    """A function of (query, instruction, texts) that gives one score a text, None for no score.

    Instantiate:
        ```python
        judge = FunctionJudge(lambda query, instruction, texts: [score(query, t) for t in texts])
        ```
    """

    def __init__(self, function: JudgeFunction, *, key: str | None = None) -> None:
        """Name it by `key`, or by the name of the function."""
        self._function = function
        named = function if hasattr(function, "__qualname__") else type(function)
        self.key = key or f"function:{named.__module__}.{named.__qualname__}"

    def __repr__(self) -> str:
        """By its key."""
        return f"FunctionJudge({self.key!r})"

    def relevance(
        self, query: str, instruction: str | None, texts: Sequence[str]
    ) -> Sequence[float | None]:
        """What the function says."""
        return self._function(query, instruction, texts)


class CrossEncoderJudge:
    r"""A sentence-transformers `CrossEncoder`, which reads each text beside the query.

    The instruction stands in front of the query. For a model that was trained to read one, `form`
    writes it as the model's card says.

    Instantiate:
        ```python
        judge = CrossEncoderJudge(CrossEncoder("BAAI/bge-reranker-v2-m3"))
        judge = CrossEncoderJudge(model, form="<Instruct>: {instruction}\n<Query>: {query}")
        ```
    """

    def __init__(
        self, model: Any, *, form: str = "{instruction} {query}", batch_size: int = 32
    ) -> None:
        """Take a loaded model.

        Args:
            model: The cross-encoder, with one label.
            form: What it reads as the query, of `{instruction}` and `{query}`; without an
                instruction it reads the query alone.
            batch_size: Texts at a time.

        Raises:
            ConfigError: The form does not name the query, or names something else.
        """
        self._model, self._form, self._batch_size = model, QueryForm(form), batch_size
        name = getattr(model, "model_name_or_path", None) or getattr(
            getattr(getattr(model, "model", None), "config", None), "_name_or_path", None
        )
        self.key = f"cross-encoder:{name or type(model).__name__}:{form}"

    def __repr__(self) -> str:
        """By its key."""
        return f"CrossEncoderJudge({self.key!r})"

    def relevance(
        self, query: str, instruction: str | None, texts: Sequence[str]
    ) -> Sequence[float | None]:
        """Scores of the model, in the scale of its activation function."""
        read = self._form.write(query, instruction)
        scores = self._model.predict(
            [(read, text) for text in texts],
            batch_size=self._batch_size,
            show_progress_bar=False,
        )
        return [float(score) for score in np.asarray(scores, dtype=np.float64).reshape(len(texts))]
