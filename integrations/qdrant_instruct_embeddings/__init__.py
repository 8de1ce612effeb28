"""Qdrant for `instruct-embeddings`: a collection of vectors as retrieval needs it.

The only package of this project that knows `qdrant_client`.
"""

from instruct_embeddings._extras import require

require("qdrant_client", extra="qdrant")

# After the check, so that a missing qdrant-client is reported with the extra that brings it.
from qdrant_instruct_embeddings.vectors import QdrantVectors  # noqa: E402

__all__ = ["QdrantVectors"]
