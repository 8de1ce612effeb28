"""Where a retriever finds vectors, the model of its queries, and the rest that an index knows."""

from dataclasses import dataclass
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.indices.vector_store.base import VectorStoreIndex
from llama_index.core.storage.docstore.types import BaseDocumentStore
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from instruct_embeddings.errors import ConfigError


@dataclass(frozen=True)
class Source:
    """What a retriever reads.

    Attributes:
        vector_store: Holds the vectors.
        embed_model: Made them, and embeds the queries.
        docstore: Texts of an index that keeps them apart from the vectors.
        callback_manager: Of the index.
        object_map: Objects that index nodes lead to.
    """

    vector_store: BasePydanticVectorStore
    embed_model: BaseEmbedding
    docstore: BaseDocumentStore | None = None
    callback_manager: CallbackManager | None = None
    object_map: dict[str, Any] | None = None


def find_source(
    index: VectorStoreIndex | None,
    vector_store: BasePydanticVectorStore | None,
    embed_model: BaseEmbedding | None,
) -> Source:
    """The source that an index is, or a vector store with its model.

    Raises:
        ConfigError: Both or none are given, the index is none, or nothing embeds queries.
    """
    if index is not None and vector_store is None:
        if not isinstance(index, VectorStoreIndex):
            raise ConfigError(
                f"index={index!r} is no VectorStoreIndex. Pass an index over a ChromaVectorStore, "
                "or vector_store=ChromaVectorStore(...) with embed_model=..."
            )
        host: Any = index.as_retriever()
        return Source(
            index.vector_store,
            _checked(embed_model or host._embed_model),
            index.docstore,
            host.callback_manager,
            host.object_map,
        )
    if vector_store is not None and index is None:
        return Source(vector_store, _checked(embed_model))
    raise ConfigError(
        f"Got {'neither' if index is None else 'both'} of index and vector_store; exactly one is "
        "wanted. Pass an index, or vector_store=ChromaVectorStore(...) with embed_model=..."
    )


def _checked(embed_model: object) -> BaseEmbedding:
    if not isinstance(embed_model, BaseEmbedding):
        raise ConfigError(
            f"embed_model={embed_model!r} cannot embed a query. It has to be the BaseEmbedding "
            "that made the stored vectors, for example embed_model=Settings.embed_model."
        )
    return embed_model
