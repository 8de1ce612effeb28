"""`BridgedEmbedding`: a newer model for an index that an older one filled."""

from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import Field, SerializeAsAny

from instruct_embeddings import QueryBridge


class BridgedEmbedding(BaseEmbedding):
    """Embeddings of a new model, mapped to where an old model would have put them.

    An index that the old model filled is asked with them as it is, and transforms that were
    learned on it go on to serve.

    Instantiate:
        ```python
        from instruct_embeddings import QueryBridge
        from llama_index_instruct_embeddings import BridgedEmbedding

        bridge = QueryBridge.load("bridge.safetensors")
        index = VectorStoreIndex.from_vector_store(
            vector_store, embed_model=BridgedEmbedding(embed_model=new_model, bridge=bridge)
        )
        ```

    Nodes that are inserted are mapped too; what the bridge loses they lose for good.
    """

    embed_model: SerializeAsAny[BaseEmbedding] = Field(description="The new model.")
    bridge: QueryBridge = Field(exclude=True, description="Made by `fit_bridge`.")

    def __init__(self, embed_model: BaseEmbedding, bridge: QueryBridge, **arguments: Any) -> None:
        """Put the two together; further arguments are LlamaIndex's."""
        named = {"model_name": bridge.new_model or embed_model.model_name}
        parts: dict[str, Any] = {"embed_model": embed_model, "bridge": bridge}
        super().__init__(**(named | parts | arguments))

    @classmethod
    def class_name(cls) -> str:
        """Name under which LlamaIndex knows it."""
        return "BridgedEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._map([self.embed_model.get_query_embedding(query)])[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._map([await self.embed_model.aget_query_embedding(query)])[0]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._map([self.embed_model.get_text_embedding(text)])[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return self._map([await self.embed_model.aget_text_embedding(text)])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._map(self.embed_model.get_text_embedding_batch(texts))

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._map(await self.embed_model.aget_text_embedding_batch(texts))

    def _map(self, vectors: list[list[float]]) -> list[list[float]]:
        found: list[list[float]] = self.bridge.map(vectors).tolist() if vectors else []
        return found
