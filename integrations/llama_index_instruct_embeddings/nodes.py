"""Hits of a search as LlamaIndex nodes."""

from collections.abc import Sequence

from llama_index.core.schema import BaseNode, NodeWithScore, ObjectType, TextNode
from llama_index.core.storage.docstore.types import BaseDocumentStore
from llama_index.core.vector_stores.utils import (
    legacy_metadata_dict_to_node,
    metadata_dict_to_node,
)

from instruct_embeddings import Hit


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
