"""`SituatedEmbedding`: LlamaIndex's nodes, embedded with the document around them."""

from collections.abc import Sequence
from typing import Any

from llama_index.core.schema import BaseNode, MetadataMode, TransformComponent

from instruct_embeddings._reading import shown
from instruct_embeddings.encoder import DEFAULT_SHARE
from instruct_embeddings.errors import ConfigError
from llama_index_instruct_embeddings.embedding import InstructEmbedding


class SituatedEmbedding(TransformComponent):
    """Gives nodes the vector of their text together with the document around it.

    An index keeps vectors that nodes have; queries are embedded by the same model as usual. The
    text alone is embedded, without metadata. See `InstructEncoder.encode_situated`.

    Instantiate:
        ```python
        nodes = SentenceSplitter(chunk_size=128)(documents)
        model = InstructEmbedding()
        nodes = SituatedEmbedding(embed_model=model, documents=documents)(nodes)
        index = VectorStoreIndex(nodes, embed_model=model)
        ```

    Key init args:
        embed_model: Without a `document_instruction`.
        documents: What the nodes were split from; nodes name theirs as their source.
        share: Weight of the vector within the document, in [0, 1].
    """

    embed_model: InstructEmbedding
    documents: Sequence[BaseNode]
    share: float = DEFAULT_SHARE

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Embed the nodes, in place.

        Raises:
            ConfigError: The model has a `document_instruction`, or a node names none of the
                documents as its source.
            TextError: A node's text does not stand in its document.
        """
        if self.embed_model.document_instruction is not None:
            raise ConfigError(
                f"document_instruction={self.embed_model.document_instruction!r} cannot be obeyed: "
                "nodes are embedded with the text around them without an instruction. Leave it "
                "out, and set query_instruction."
            )
        known = {document.node_id: _text(document) for document in self.documents}
        for node in nodes:
            if node.ref_doc_id not in known:
                raise ConfigError(
                    f"The node {shown(node.node_id)} has the source {node.ref_doc_id!r}, which is "
                    f"none of the {len(known):,} documents given. Pass the documents that it was "
                    "split from."
                )
        texts = [_text(node) for node in nodes]
        contexts = [known[str(node.ref_doc_id)] for node in nodes]
        encoder = self.embed_model.encoder
        rows = encoder.encode_situated(texts, contexts, share=self.share)
        for node, row in zip(nodes, encoder.floats(rows).tolist(), strict=True):
            node.embedding = row
        return nodes


def _text(node: BaseNode) -> str:
    return node.get_content(MetadataMode.NONE)
