"""Chroma for `instruct-embeddings`: the vectors of a collection, as retrieval needs them.

The only package of this project that knows `chromadb`.
"""

from instruct_embeddings._extras import require

require("chromadb", extra="chroma")

# After the check, so that a missing chromadb is reported with the extra that brings it.
from chroma_instruct_embeddings.vectors import ChromaVectors  # noqa: E402

__all__ = ["ChromaVectors"]
