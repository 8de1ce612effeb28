"""The engines whose vectors are read: by an address, or behind a store of LangChain or LlamaIndex.

Nothing of them is imported before it is asked for.
"""

from dataclasses import dataclass
from typing import Any

from instruct_embeddings._addresses import KNOWN, plain, scheme_of, shown
from instruct_embeddings._extras import require
from instruct_embeddings.errors import ConfigError, UnsupportedCollectionError
from instruct_embeddings.protocols import VectorCollection, missing_of_collection


@dataclass(frozen=True)
class _Engine:
    """A store of vectors that has an adapter.

    Attributes:
        name: What people call it.
        extra: That installs its client; its adapter is the package named after it.
        collection: Class of the adapter, with `of(store)` and `open(address, collection)`.
        schemes: Of its addresses.
        modules: Where classes come from that its `of` may know. Recognised by name, as hosts need
            not be installed.
    """

    name: str
    extra: str
    collection: str
    schemes: tuple[str, ...]
    modules: tuple[str, ...]

    @property
    def adapter(self) -> Any:
        """The class of its collections; MissingExtraError where it is not installed."""
        package = require(f"{self.extra}_instruct_embeddings", extra=self.extra)
        return getattr(package, self.collection)


_ENGINES = (
    _Engine(
        "Chroma",
        "chroma",
        "ChromaVectors",
        ("chroma",),
        (
            *("chromadb", "langchain_chroma", "llama_index.vector_stores.chroma"),
            "langchain_community.vectorstores.chroma",
        ),
    ),
    _Engine(
        "Milvus",
        "milvus",
        "MilvusVectors",
        ("milvus",),
        ("langchain_milvus", "llama_index.vector_stores.milvus"),
    ),
    _Engine(
        "Qdrant",
        "qdrant",
        "QdrantVectors",
        ("qdrant",),
        ("langchain_qdrant", "llama_index.vector_stores.qdrant"),
    ),
    _Engine(
        "PostgreSQL",
        "postgres",
        "PostgresVectors",
        ("postgresql", "postgres"),
        ("langchain_postgres", "llama_index.vector_stores.postgres"),
    ),
)


def collection_behind(store: object) -> VectorCollection:
    """The vectors behind a store of LangChain or LlamaIndex.

    Args:
        store: `Chroma`, `Milvus`, `QdrantVectorStore` or `PGVectorStore` of LangChain;
            `ChromaVectorStore`, `MilvusVectorStore`, `QdrantVectorStore` or `PGVectorStore` of
            LlamaIndex; a `chromadb.Collection`; or a `VectorCollection`, which is returned as it
            is.

    Raises:
        UnsupportedCollectionError: It is something else.
        MissingExtraError: The adapter of its engine is not installed.
    """
    if _is_collection(store):
        return store  # type: ignore[return-value]
    engine = _engine_behind(store)
    if engine is None:
        kind = type(store)
        raise UnsupportedCollectionError(
            f"Cannot read vectors from a {kind.__module__}.{kind.__qualname__}. Accepted are the "
            f"stores of LangChain and LlamaIndex for {_names()}, a chromadb.Collection and any "
            "VectorCollection. Pass one of these, or write a VectorCollection for your store."
        )
    found: VectorCollection = engine.adapter.of(store)
    return found


def is_known(store: object) -> bool:
    """Whether a store is of an engine that has an adapter, which may refuse it all the same."""
    return _is_collection(store) or _engine_behind(store) is not None


def open_store(address: str, collection: str, **options: Any) -> VectorCollection:
    """A collection by the address of its store.

    Args:
        address: `chroma:FOLDER`, `chroma://host:8000`, `milvus:FILE.db`, `milvus://host:19530`,
            `qdrant:FOLDER`, `qdrant://host:6333` or `postgresql://user@host:5432/database`.
        collection: Its name; of PostgreSQL, that of the table.
        options: Of the `open` of its adapter, such as `timeout` of `ChromaVectors.open`.

    Raises:
        ConfigError: No store has such an address.
        MissingExtraError: The adapter of the store is not installed.
        CollectionError: There is no such store or collection.
    """
    engine = _engine_at(address)
    if engine is None:
        raise ConfigError(
            f"The address {shown(str(address))!r:.200} is none of a known store. Known are "
            f"{KNOWN}. Write one of these."
        )
    found: VectorCollection = engine.adapter.open(plain(address), collection, **options)
    return found


def _is_collection(store: object) -> bool:
    return missing_of_collection(store) is None and not isinstance(store, type)


def _engine_behind(store: object) -> _Engine | None:
    """By the modules of its classes, the nearest first: users derive their own."""
    for base in type(store).__mro__:
        for engine in _ENGINES:
            if any(f"{base.__module__}.".startswith(f"{one}.") for one in engine.modules):
                return engine
    return None


def _engine_at(address: object) -> _Engine | None:
    scheme = scheme_of(str(address))
    return next((engine for engine in _ENGINES if scheme in engine.schemes), None)


def _names() -> str:
    *names, last = (engine.name for engine in _ENGINES)
    return f"{', '.join(names)} and {last}"
