"""The generic encoder in the clothes of the two host frameworks."""

from typing import TYPE_CHECKING

from instruct_embeddings.cli.encoders import TextEncoder

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from llama_index.core.base.embeddings.base import BaseEmbedding


def for_langchain(encoder: TextEncoder) -> "Embeddings":
    """A sentence encoder for LangChain."""
    from langchain_core.embeddings import Embeddings

    class LangChainEncoder(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [[float(x) for x in row] for row in encoder.encode(texts)]

        def embed_query(self, text: str) -> list[float]:
            return self.embed_documents([text])[0]

    return LangChainEncoder()


def for_llama_index(encoder: TextEncoder) -> "BaseEmbedding":
    """A sentence encoder for LlamaIndex."""
    from llama_index.core.base.embeddings.base import BaseEmbedding

    class LlamaIndexEncoder(BaseEmbedding):
        def _get_text_embedding(self, text: str) -> list[float]:
            return [float(x) for x in encoder.encode([text])[0]]

        def _get_query_embedding(self, query: str) -> list[float]:
            return self._get_text_embedding(query)

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return self._get_text_embedding(query)

    return LlamaIndexEncoder(model_name=encoder.name)
