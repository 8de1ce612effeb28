"""Hits of a search as LangChain documents."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from langchain_core.documents import Document

from instruct_embeddings import Hit
from instruct_embeddings.hosts import warn

# Key of metadata that carry a score: the instructions whose transforms served for those asked.
REUSED = "reused_instruction"
_LLAMA_INDEX_KEYS = ("_node_content", "_node_type")

_scores: ContextVar[list[float] | None] = ContextVar("scores", default=None)


def to_documents(hits: Sequence[Hit], score_key: str | None) -> list[Document]:
    """Documents in the order of the hits, as they are stored.

    Scores are no part of them: LangChain takes two documents for the same where text and metadata
    are equal (`MultiQueryRetriever`, the indexing API), so a score would make one document that
    several queries find many. As in `Chroma`, a row that was stored without a text is left out.

    Args:
        hits: Hits, best first.
        score_key: Metadata key that receives the score all the same; None leaves them as stored.
    """
    shown = [hit for hit in hits if hit.text is not None]
    scores = _scores.get()
    if scores is not None:
        scores[:] = [float(hit.score) for hit in shown]
    return [_to_document(hit, score_key) for hit in shown]


@contextmanager
def collected_scores() -> Iterator[list[float]]:
    """The scores of the documents that a search within makes, in their order."""
    found: list[float] = []
    token = _scores.set(found)
    try:
        yield found
    finally:
        _scores.reset(token)


def _to_document(hit: Hit, score_key: str | None) -> Document:
    metadata = dict(hit.metadata)
    if "_node_content" in metadata:  # what LlamaIndex stores to rebuild its nodes
        metadata = {key: value for key, value in metadata.items() if key not in _LLAMA_INDEX_KEYS}
    if score_key is not None:
        if score_key in metadata:
            warn(
                f"The stored metadata of {hit.id!r} already has the key {score_key!r}; the score "
                "of the search replaces it in the returned document. Pass another score_key, "
                "or score_key=None to keep the metadata as it is stored."
            )
        metadata[score_key] = float(hit.score)
        if hit.reused:
            metadata[REUSED] = ", ".join(hit.reused)
    return Document(id=hit.id, page_content=hit.text or "", metadata=metadata)
