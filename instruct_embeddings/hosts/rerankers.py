"""What the rerankers of all hosts have alike: a cut, and a model with a name."""

from typing import Any, TypeVar

_CUTS = ("top_n", "top_k")
_NAMES = ("model", "model_name", "model_id")
_Reranker = TypeVar("_Reranker")


def uncut(reranker: _Reranker, count: int) -> _Reranker:
    """A copy that returns as many texts as it is given: it reads them all in any case.

    Args:
        reranker: A pydantic model; one without a field such as `top_n` is taken as it is.
        count: Texts that it is given.
    """
    fields = getattr(type(reranker), "model_fields", {})
    cuts = {name: count for name in _CUTS if name in fields and getattr(reranker, name)}
    model: Any = reranker
    copied: _Reranker = model.model_copy(update=cuts) if cuts else reranker
    return copied


def model_name(reranker: Any) -> str:
    """Name of the model that a reranker says, or of the model in it; empty for none."""
    model, llm = (getattr(reranker, name, None) for name in ("model", "llm"))
    for one in (reranker, model, llm, getattr(llm, "metadata", None)):
        for name in _NAMES:
            found = getattr(one, name, None)
            if isinstance(found, str):
                return found
    inner = model if llm is None else llm
    return "" if inner is None else type(inner).__name__
