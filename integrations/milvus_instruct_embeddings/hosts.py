"""The stores of LangChain and LlamaIndex, recognised by name: they need not be installed."""

from collections.abc import Mapping
from typing import Any

from instruct_embeddings.errors import UnsupportedCollectionError

_HOSTS = {"Milvus": "langchain_milvus", "MilvusVectorStore": "llama_index.vector_stores.milvus"}


def source_of(store: Any) -> Mapping[str, Any]:
    """Client, collection and fields of a store, as arguments of `MilvusVectors`.

    Raises:
        UnsupportedCollectionError: It is something else.
    """
    for base in type(store).__mro__:
        if base.__module__.startswith(_HOSTS.get(base.__name__, "-")):
            client = {"source": store.client, "collection": store.collection_name}
            fields = _langchain if base.__name__ == "Milvus" else _llama_index
            return client | fields(store)
    kind = type(store)
    raise UnsupportedCollectionError(
        f"Cannot read vectors from a {kind.__module__}.{kind.__qualname__}. Accepted are "
        "langchain_milvus.Milvus and LlamaIndex's MilvusVectorStore. Pass one of these, or make a "
        "MilvusVectors of the client."
    )


def _langchain(store: Any) -> dict[str, str | None]:
    # It has no public accessors for these; only this place uses its private ones.
    vector = store._vector_field
    return {
        # The vectors of a model come before those that the server makes of the texts.
        "vector_field": vector if isinstance(vector, str) else vector[0],
        "text_field": store._text_field,
        "metadata_field": None if store.enable_dynamic_field else store._metadata_field,
    }


def _llama_index(store: Any) -> dict[str, str | None]:
    return {"vector_field": store.embedding_field, "text_field": store.text_key}
