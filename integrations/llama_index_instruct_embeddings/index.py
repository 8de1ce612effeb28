"""What an index holds: its vectors and the model of its queries, and hits as its nodes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.indices.vector_store.base import VectorStoreIndex
from llama_index.core.schema import BaseNode, NodeWithScore, ObjectType, TextNode
from llama_index.core.storage.docstore.types import BaseDocumentStore
from llama_index.core.vector_stores.types import BasePydanticVectorStore
from llama_index.core.vector_stores.utils import (
    legacy_metadata_dict_to_node,
    metadata_dict_to_node,
)

from instruct_embeddings import Hit
from instruct_embeddings.errors import ConfigError


@dataclass(frozen=True)
class Source:
    """What a retriever reads; `object_map` holds the objects that index nodes lead to."""

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
    """The source that an index is, or a vector store with its model."""
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


def to_nodes(hits: Sequence[Hit], docstore: BaseDocumentStore | None = None) -> list[NodeWithScore]:
    """Nodes with scores, in the order of the hits.

    What a search finds out about a node is not part of it: LlamaIndex takes nodes for the same by
    a hash of text and metadata (`QueryFusionRetriever`, its own recursion).

    Args:
        hits: Hits, best first.
        docstore: Where a node that is more than text (an index node, an image) is looked up, as
            `VectorIndexRetriever` does; one that is not there is rebuilt from its metadata.
    """
    nodes = [_to_node(hit) for hit in hits]
    if docstore is not None:
        nodes = _from_docstore(nodes, docstore)
    return [
        NodeWithScore(node=node, score=float(hit.score))
        for node, hit in zip(nodes, hits, strict=True)
    ]


def _to_node(hit: Hit) -> BaseNode:
    """The node of one hit: as LlamaIndex stored it, or a text node of another framework's row."""
    if "_node_content" not in hit.metadata:
        return _text_node(hit)
    try:
        return metadata_dict_to_node(dict(hit.metadata), text=hit.text)
    except (AttributeError, KeyError, TypeError, ValueError):
        # Someone else's key of that name, or a node of a newer version: as ChromaVectorStore.
        return _text_node(hit)


def _text_node(hit: Hit) -> TextNode:
    metadata, info, relationships = legacy_metadata_dict_to_node(dict(hit.metadata))
    return TextNode(
        id_=hit.id,
        text=hit.text or "",
        metadata=metadata,
        start_char_idx=info.get("start"),
        end_char_idx=info.get("end"),
        relationships=relationships,
    )


def _from_docstore(nodes: list[BaseNode], docstore: BaseDocumentStore) -> list[BaseNode]:
    ids = [
        node.node_id for node in nodes if node.as_related_node_info().node_type != ObjectType.TEXT
    ]
    if not ids:
        return nodes
    found = {node.node_id: node for node in docstore.get_nodes(ids, raise_error=False)}
    return [found.get(node.node_id, node) for node in nodes]
