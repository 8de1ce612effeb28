"""Tables behind the stores of LangChain and LlamaIndex.

Recognised by name: neither needs to be installed, and neither is imported. What they hold of their
tables is private to both; only this place uses it.
"""

from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from instruct_embeddings._types import Space
from instruct_embeddings.adapters import cannot_read, kind_behind
from instruct_embeddings.errors import UnsupportedCollectionError

_LANGCHAIN = "langchain_postgres"
_LLAMA_INDEX = "llama_index.vector_stores.postgres"
_HOSTS = {
    "PGVectorStore": (_LANGCHAIN, _LLAMA_INDEX),
    "AsyncPGVectorStore": (_LANGCHAIN,),
    "PGVector": (_LANGCHAIN,),
}
_SPACES: Mapping[str, Space] = {
    "COSINE_DISTANCE": "cosine",
    "INNER_PRODUCT": "ip",
    "EUCLIDEAN": "l2",
}
# Words of other drivers in an address, as libpq says them; those of none are left out.
_SSL = {"true": "require", "True": "require", "1": "require"}
_DRIVERS_OWN = (
    "prepared_statement_cache_size",
    "prepared_statement_name_func",
    "statement_cache_size",
    "async_fallback",
    "command_timeout",
)


# Columns that tell who made a table, and how it is read.
_LAYOUTS: tuple[tuple[set[str], dict[str, Any]], ...] = (
    (
        {"langchain_id", "content", "embedding", "langchain_metadata"},
        {
            "id_column": "langchain_id",
            "text_column": "content",
            "metadata_column": "langchain_metadata",
        },
    ),
    (
        {"node_id", "text", "embedding", "metadata_"},
        {
            "id_column": "node_id",
            "unique_ids": False,
            "metadata_column": "metadata_",
            "space": "cosine",  # which it always asks for
        },
    ),
)


def layout_of(columns: Collection[str]) -> dict[str, Any]:
    """How a host's table is read, as arguments of `PostgresVectors`; empty for another table."""
    found = (layout for known, layout in _LAYOUTS if known.issubset(columns))
    return next(found, {})


def table_behind(store: object) -> tuple[str | None, str, dict[str, Any]]:
    """Where the rows of a host's store are.

    Returns:
        Address of the database, None where the store does not say it; name of the table; arguments
        of `PostgresVectors`.

    Raises:
        UnsupportedCollectionError: It is another store, or one whose tables are shared.
    """
    host = kind_behind(store, _HOSTS)
    if host == _LLAMA_INDEX:
        return _of_llama_index(store)
    if host and "PGVector" in (base.__name__ for base in type(store).__mro__):
        raise UnsupportedCollectionError(
            "LangChain's PGVector keeps all collections in one table, of vectors without a "
            "length, which no index serves. Read are tables of one collection each. Move the "
            "collection to a PGVectorStore: langchain_postgres.utils.pgvector_migrator does "
            "it without embedding again."
        )
    if host:
        return _of_langchain(store)
    raise cannot_read(
        store,
        "the PGVectorStore of langchain_postgres and that of LlamaIndex",
        "write PostgresVectors(address, table) for another table",
    )


def _of_langchain(store: Any) -> tuple[str | None, str, dict[str, Any]]:
    inner = getattr(store, "_PGVectorStore__vs", store)
    options = {
        "schema": inner.schema_name,
        "id_column": inner.id_column,
        "vector_column": inner.embedding_column,
        "text_column": inner.content_column,
        "metadata_column": inner.metadata_json_column,
        "metadata_columns": tuple(inner.metadata_columns),
        "space": _SPACES[inner.distance_strategy.name],
    }
    return _address(inner.engine.url), inner.table_name, options


def _of_llama_index(store: Any) -> tuple[str | None, str, dict[str, Any]]:
    engine = store._engine
    url = store.connection_string if engine is None else engine.url
    options = {"schema": store.schema_name, **_LAYOUTS[1][1]}
    return _address(url), f"data_{store.table_name}", options


def _address(url: Any) -> str | None:
    """An address as libpq reads it, of one of SQLAlchemy: without a driver and its own words."""
    text = url if isinstance(url, str) else url.render_as_string(hide_password=False)
    parts = urlsplit(text)
    words = dict(parse_qsl(parts.query))
    if not (parts.hostname or "host" in words):
        return None  # connections are made by a function of the user's
    if ssl := words.pop("ssl", None):
        words["sslmode"] = _SSL.get(ssl, ssl)
    kept = {name: value for name, value in words.items() if name not in _DRIVERS_OWN}
    scheme = parts.scheme.partition("+")[0]
    return parts._replace(scheme=scheme, query=urlencode(kept)).geturl()
