"""PostgreSQL with pgvector for `instruct-embeddings`: a table of vectors as retrieval needs it.

The only package of this project that knows `psycopg`.
"""

from instruct_embeddings._extras import require

require("psycopg", extra="postgres")

# After the check, so that a missing psycopg is reported with the extra that brings it.
from postgres_instruct_embeddings.vectors import PostgresVectors  # noqa: E402

__all__ = ["PostgresVectors"]
