"""The engine behind a retriever: a new one, or one that is shared."""

from pathlib import Path

from llama_index.core.vector_stores.types import BasePydanticVectorStore

from chroma_instruct_embeddings import ChromaVectors
from instruct_embeddings.config import FitConfig
from instruct_embeddings.errors import CollectionMismatchError
from instruct_embeddings.guides.encoder import EncoderGuide
from instruct_embeddings.instant import find_instant
from instruct_embeddings.protocols import Guide, InstantMover
from instruct_embeddings.retrieval.progress import OnFit
from instruct_embeddings.retrieval.questions import Questions
from instruct_embeddings.retrieval.retriever import InstructRetriever
from instruct_embeddings.retrieval.reuse import Reuse
from instruct_embeddings.transform.store import TransformStore


def build_engine(
    vector_store: BasePydanticVectorStore,
    guide: Guide | None,
    instant: InstantMover | bool | None,
    store: TransformStore | str | Path | None,
    fit: FitConfig | None,
    force: bool,
    reuse: float | None,
    questions: Questions | None,
    on_fit: OnFit | None,
) -> InstructRetriever:
    """An engine over the collection of a vector store; nothing is read or fitted yet.

    Raises:
        ConfigError: The guide or the store is something else.
        UnsupportedCollectionError: The vector store is not backed by Chroma.
    """
    vectors = ChromaVectors(vector_store)
    same = None if reuse is None else Reuse(EncoderGuide(), reuse)
    return InstructRetriever(
        vectors,
        guide,
        instant=find_instant(instant),
        store=store,
        fit=fit,
        force=force,
        reuse=same,
        questions=questions,
        on_fit=on_fit,
    )


def check_shared(engine: InstructRetriever, vector_store: BasePydanticVectorStore) -> None:
    """Refuse an engine that was made for another collection than the vector store shows.

    Raises:
        CollectionMismatchError: The collections differ.
    """
    vectors = engine.collection
    if not isinstance(vectors, ChromaVectors) or vectors.source is vector_store:
        return
    theirs, ours = vectors.collection, ChromaVectors(vector_store).collection
    if theirs.id != ours.id:
        raise CollectionMismatchError(
            f"The engine searches the collection {theirs.name!r} ({theirs.id}), the vector store "
            f"holds {ours.name!r} ({ours.id}). An engine is shared within one collection. "
            "Leave out engine= to get one for this vector store."
        )
