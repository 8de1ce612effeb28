"""The stores of LangChain and LlamaIndex, recognised by name: they need not be installed."""

from collections.abc import Mapping
from typing import Any

from instruct_embeddings.adapters import cannot_read, kind_behind

_LANGCHAIN, _LLAMA_INDEX = "langchain_milvus", "llama_index.vector_stores.milvus"
_HOSTS = {"Milvus": (_LANGCHAIN,), "MilvusVectorStore": (_LLAMA_INDEX,)}


def source_of(store: Any) -> Mapping[str, Any]:
    """Client, collection and fields of a store, as arguments of `MilvusVectors`.

    Raises:
        UnsupportedCollectionError: It is something else.
    """
    host = kind_behind(store, _HOSTS)
    if host is None:
        raise cannot_read(
            store,
            "langchain_milvus.Milvus and LlamaIndex's MilvusVectorStore",
            "make a MilvusVectors of the client",
        )
    source = {"source": store.client, "collection": store.collection_name}
    if host == _LLAMA_INDEX:
        return source | {"vector_field": store.embedding_field, "text_field": store.text_key}
    # It has no public accessors for these; only this place uses its private ones.
    vector = store._vector_field
    return source | {
        # The vectors of a model come before those that the server makes of the texts.
        "vector_field": vector if isinstance(vector, str) else vector[0],
        "text_field": store._text_field,
        "metadata_field": None if store.enable_dynamic_field else store._metadata_field,
    }
