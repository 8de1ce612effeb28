"""Milvus for `instruct-embeddings`: a collection of vectors as retrieval needs it.

On a server, or in Milvus Lite in this process. The only package that knows `pymilvus`.
"""

from instruct_embeddings._extras import require

require("pymilvus", extra="milvus")

# After the check, so that a missing pymilvus is reported with the extra that brings it.
from milvus_instruct_embeddings.vectors import MilvusVectors  # noqa: E402

__all__ = ["MilvusVectors"]
