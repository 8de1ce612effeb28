"""`InstructionTransformRetriever`: one index, a different question at every call."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.constants import DEFAULT_SIMILARITY_TOP_K
from llama_index.core.indices.vector_store.base import VectorStoreIndex
from llama_index.core.vector_stores.types import BasePydanticVectorStore, MetadataFilters

from instruct_embeddings import (
    FitConfig,
    InstructRetriever,
    Questions,
    RelevanceFeedback,
    TransformStore,
)
from instruct_embeddings.hosts import Instructions, OnFit, SearchOptions, suggesting
from instruct_embeddings.protocols import Guide, InstantMover, VectorCollection
from llama_index_instruct_embeddings.base import NodeRetriever
from llama_index_instruct_embeddings.query import to_where


@suggesting
class InstructionTransformRetriever(NodeRetriever):
    """Retriever that asks the vectors of an existing vector store different questions.

    The generic vectors that the collection holds are adapted to an instruction, a plain sentence
    that says what is wanted. Nothing is re-encoded and nothing in the collection changes. A new
    instruction is answered at once; with a guide, a transform is fitted in the background.

    Scores are similarities in [-1, 1] where higher is closer: the adapted cosine, or the generic
    similarity in a search without an instruction (`ChromaVectorStore` gives `exp(-distance)`).

    Setup:
        `pip install "instruct-embeddings[llama-index]"`

    Key init args:
        index:
            `VectorStoreIndex` over a `ChromaVectorStore`, `MilvusVectorStore`, `QdrantVectorStore`
            or `PGVectorStore`; or `vector_store`, one of these or a `VectorCollection` of your own,
            and `embed_model`, the model that made the stored vectors.
        guide, instant, store, fit, force, reuse, questions, on_fit, feedback:
            As in `InstructRetriever`; `instant=True` takes the instant query that comes with the
            package, `feedback=True` its encoder as judge; `reuse` is the least agreement.
        similarity_top_k, instruction, filters, where_document, blend, prefetch, exact, wait, judge:
            As in `SearchOptions` (first and third: `k`, `where`), unless a query says otherwise.
        similarity_cutoff, mmr_threshold, mmr_prefetch_k:
            Its `score_threshold`, `lambda_mult` and `fetch_k`.
        engine:
            `other.engine`, whose fits are shared; instead of `guide` and what follows it above.

    Instantiate:
        ```python
        from instruct_embeddings import EncoderGuide
        from llama_index_instruct_embeddings import InstructionTransformRetriever

        retriever = InstructionTransformRetriever(index, guide=EncoderGuide(), store="transforms")
        ```

    Usage:
        ```python
        from llama_index_instruct_embeddings import InstructionQueryBundle

        nodes = retriever.with_instruction("What is it for?").retrieve("image viewer")
        nodes = retriever.retrieve("image viewer", instruction="What interface does it have?")
        asked = InstructionQueryBundle("image viewer", instruction="What interface does it have?")
        nodes = retriever.retrieve(asked)
        ```

    Async:
        ```python
        nodes = await retriever.aretrieve(asked)
        ```

    Use within a query engine:
        ```python
        from llama_index.core.query_engine import RetrieverQueryEngine

        answer = RetrieverQueryEngine.from_args(retriever).query(asked)
        ```
    """

    def __init__(
        self,
        index: VectorStoreIndex | None = None,
        *,
        vector_store: BasePydanticVectorStore | VectorCollection | None = None,
        embed_model: BaseEmbedding | None = None,
        guide: Guide | None = None,
        instant: InstantMover | bool | None = True,
        similarity_top_k: int = DEFAULT_SIMILARITY_TOP_K,
        instruction: Instructions | None = None,
        filters: MetadataFilters | Mapping[str, Any] | None = None,
        where_document: dict[str, Any] | None = None,
        blend: float | None = None,
        prefetch: int | None = None,
        exact: bool = False,
        wait: bool = False,
        judge: bool = True,
        similarity_cutoff: float | None = None,
        mmr_threshold: float | None = None,
        mmr_prefetch_k: int | None = None,
        store: TransformStore | str | Path | None = None,
        fit: FitConfig | None = None,
        force: bool = False,
        reuse: float | None = None,
        questions: Questions | None = None,
        on_fit: OnFit | None = None,
        feedback: RelevanceFeedback | bool | None = None,
        engine: InstructRetriever | None = None,
        callback_manager: CallbackManager | None = None,
        object_map: dict[str, Any] | None = None,
        verbose: bool = False,
    ) -> None:
        """Make a retriever; nothing is fitted yet.

        Raises:
            ConfigError: Arguments contradict each other, or there is no such filter.
            CollectionMismatchError: The engine was made for another collection.
            InstructionError: The instruction is empty or too long.
            UnsupportedCollectionError: The vector store is of another engine.
        """
        options = SearchOptions(
            similarity_top_k,
            instruction,
            to_where(filters),
            where_document,
            blend,
            prefetch,
            exact,
            wait,
            judge,
            similarity_cutoff,
            mmr_threshold,
            mmr_prefetch_k,
        )
        source = (index, vector_store, embed_model)
        super().__init__(source, options, callback_manager, object_map, verbose)
        self.engine = self._engine(
            engine,
            instant,
            guide=guide,
            store=store,
            fit=fit,
            force=force,
            reuse=reuse,
            questions=questions,
            on_fit=on_fit,
            feedback=feedback,
        )
