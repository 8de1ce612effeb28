"""Hits as the nodes of LlamaIndex."""

from collections.abc import Sequence

from llama_index.core.schema import BaseNode, NodeWithScore, ObjectType, TextNode
from llama_index.core.storage.docstore.types import BaseDocumentStore
from llama_index.core.vector_stores.utils import (
    legacy_metadata_dict_to_node,
    metadata_dict_to_node,
)

from instruct_embeddings import Hit
from instruct_embeddings.embedded import NODE_KEY

_PROBLEM = "judge_problem"


def to_nodes(hits: Sequence[Hit], docstore: BaseDocumentStore | None = None) -> list[NodeWithScore]:
    """Nodes with scores, in the order of the hits.

    What a search finds out about a node is not part of it: LlamaIndex takes nodes for the same by
    a hash of text and metadata (`QueryFusionRetriever`, its own recursion). Only that a judge has
    failed is told, in a copy, under `judge_problem`. A node that is more
    than text (an index node, an image) is looked up in a docstore, as `VectorIndexRetriever` does;
    one that is not there is rebuilt from its metadata.
    """
    nodes = [_to_node(hit) for hit in hits]
    if docstore is not None:
        ids = [x.node_id for x in nodes if x.as_related_node_info().node_type != ObjectType.TEXT]
        kept = docstore.get_nodes(ids, raise_error=False) if ids else []
        found = {node.node_id: node for node in kept}
        nodes = [found.get(node.node_id, node) for node in nodes]
    nodes = [_with_problem(node, hit) for node, hit in zip(nodes, hits, strict=True)]
    scores = [float(hit.score) for hit in hits]
    return [
        NodeWithScore(node=node, score=score) for node, score in zip(nodes, scores, strict=True)
    ]


def _to_node(hit: Hit) -> BaseNode:
    """The node of one hit: as LlamaIndex stored it, or a text node of another framework's row."""
    if NODE_KEY in hit.metadata:
        try:
            return metadata_dict_to_node(dict(hit.metadata), text=hit.text)
        except (AttributeError, KeyError, TypeError, ValueError):
            pass  # someone else's key of that name, or a node of a newer version
    metadata, info, relationships = legacy_metadata_dict_to_node(dict(hit.metadata))
    return TextNode(
        id_=hit.id,
        text=hit.text or "",
        metadata=metadata,
        start_char_idx=info.get("start"),
        end_char_idx=info.get("end"),
        relationships=relationships,
    )


def _with_problem(node: BaseNode, hit: Hit) -> BaseNode:
    """A copy whose metadata say that a judge failed, to you and neither to models nor to stores."""
    if hit.judge_problem is None:
        return node
    return node.model_copy(
        update={
            "metadata": {**node.metadata, _PROBLEM: hit.judge_problem},
            "excluded_embed_metadata_keys": [*node.excluded_embed_metadata_keys, _PROBLEM],
            "excluded_llm_metadata_keys": [*node.excluded_llm_metadata_keys, _PROBLEM],
        }
    )
