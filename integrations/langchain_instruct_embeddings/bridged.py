"""`BridgedEmbeddings`: a newer model for a collection that an older one filled."""

from langchain_core.embeddings import Embeddings

from instruct_embeddings import QueryBridge


class BridgedEmbeddings(Embeddings):
    """Embeddings of a new model, mapped to where an old model would have put them.

    A vector store that the old model filled is asked with them as it is, and transforms that were
    learned on it go on to serve.

    Instantiate:
        ```python
        from instruct_embeddings import QueryBridge
        from langchain_instruct_embeddings import BridgedEmbeddings

        bridge = QueryBridge.load("bridge.safetensors")
        store = Chroma("reviews", BridgedEmbeddings(new_model, bridge))
        ```

    Documents that are added are mapped too; what the bridge loses they lose for good.

    Attributes:
        embeddings: The new model.
        bridge: Made by `fit_bridge`.
    """

    def __init__(self, embeddings: Embeddings, bridge: QueryBridge) -> None:
        """Put the two together."""
        self.embeddings = embeddings
        self.bridge = bridge

    @property
    def model_name(self) -> str | None:
        """Name of the new model: as the bridge has it, else as the model says."""
        return self.bridge.new_model or getattr(self.embeddings, "model_name", None)

    def embed_query(self, text: str) -> list[float]:
        """One query in the space of the old model."""
        found: list[float] = self.bridge.query(self.embeddings.embed_query(text)).tolist()
        return found

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Documents in the space of the old model, in the order given."""
        return self._map(self.embeddings.embed_documents(texts))

    async def aembed_query(self, text: str) -> list[float]:
        """The same as `embed_query`, as asynchronous as the new model."""
        found: list[float] = self.bridge.query(await self.embeddings.aembed_query(text)).tolist()
        return found

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """The same as `embed_documents`, as asynchronous as the new model."""
        return self._map(await self.embeddings.aembed_documents(texts))

    def _map(self, vectors: list[list[float]]) -> list[list[float]]:
        found: list[list[float]] = self.bridge.map(vectors).tolist() if vectors else []
        return found
