"""Hits as the documents of LangChain."""

from typing import Any

from langchain_core.documents import Document

from instruct_embeddings import Hit
from instruct_embeddings.hosts import warn

_LLAMA_INDEX_KEYS = ("_node_content", "_node_type")


def to_document(hit: Hit, score_key: str | None) -> Document:
    """The document of one hit, as it is stored.

    Scores are no part of it, except under `score_key`: LangChain takes two documents for the same
    where text and metadata are equal (`MultiQueryRetriever`, the indexing API). That a judge has
    failed is always told, under `judge_problem`.
    """
    # What LlamaIndex stores to rebuild its nodes is of no use here.
    hidden = _LLAMA_INDEX_KEYS if "_node_content" in hit.metadata else ()
    metadata = {key: value for key, value in hit.metadata.items() if key not in hidden}
    found: dict[str, Any] = {}
    if hit.judge_problem is not None:
        found["judge_problem"] = hit.judge_problem
    if score_key is not None:
        found[score_key] = float(hit.score)
        if hit.judge_score is not None:
            found["judge_score"] = hit.judge_score
        if hit.reused:
            found["reused_instruction"] = ", ".join(hit.reused)
    for key in found.keys() & metadata.keys():
        own = "Pass another score_key, or score_key=None."
        warn(
            f"The stored metadata of {hit.id!r} already has the key {key!r}; what the search found "
            "out replaces it in the returned document. "
            + (own if key == score_key else "Store yours under another name.")
        )
    return Document(id=hit.id, page_content=hit.text or "", metadata=metadata | found)
