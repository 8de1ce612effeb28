"""Chroma for `instruct-embeddings`: vectors as retrieval needs them, and an embedding function.

The only package of this project that knows `chromadb`.
"""

from instruct_embeddings._extras import require

require("chromadb", extra="chroma")

# After the check, so that a missing chromadb is reported with the extra that brings it.
from chroma_instruct_embeddings.client import http_client  # noqa: E402
from chroma_instruct_embeddings.collections import (  # noqa: E402
    check_collection,
    open_collection,
    record_collection,
)
from chroma_instruct_embeddings.embedding_function import InstructEmbeddingFunction  # noqa: E402
from chroma_instruct_embeddings.vectors import ChromaVectors  # noqa: E402

__all__ = [
    "ChromaVectors",
    "InstructEmbeddingFunction",
    "check_collection",
    "http_client",
    "open_collection",
    "record_collection",
]
