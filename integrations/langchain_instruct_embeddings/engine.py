"""The engine behind a retriever: when it is shared, when another one is needed."""

from langchain_chroma import Chroma

from chroma_instruct_embeddings import ChromaVectors
from instruct_embeddings.config import FitConfig
from instruct_embeddings.guides.encoder import EncoderGuide
from instruct_embeddings.protocols import Guide, InstantMover
from instruct_embeddings.retrieval.progress import OnFit
from instruct_embeddings.retrieval.questions import Questions
from instruct_embeddings.retrieval.retriever import InstructRetriever
from instruct_embeddings.retrieval.reuse import Reuse
from instruct_embeddings.transform.store import TransformStore


def build_engine(
    vectorstore: Chroma,
    guide: Guide | None,
    instant: InstantMover | None,
    store: TransformStore | None,
    fit: FitConfig | None,
    force: bool,
    reuse: float | None,
    questions: Questions | None,
    on_fit: OnFit | None,
) -> InstructRetriever:
    """An engine over the collection of a vector store; nothing is read or fitted yet."""
    return InstructRetriever(
        ChromaVectors(vectorstore),
        guide,
        instant=instant,
        store=store,
        fit=fit,
        force=force,
        reuse=None if reuse is None else Reuse(EncoderGuide(), reuse),
        questions=questions,
        on_fit=on_fit,
    )


def serves(
    engine: InstructRetriever,
    vectorstore: Chroma,
    guide: Guide | None,
    instant: InstantMover | None,
    store: TransformStore | None,
    fit: FitConfig | None,
    force: bool,
    reuse: float | None,
    questions: Questions | None,
    on_fit: OnFit | None,
) -> bool:
    """Whether an engine does what a new one with these parts would do.

    Guides count as the same when their keys are equal, instant queries when their names are, stores
    when their paths are, and vector stores when they show the same collection. An engine over a
    collection that is not read through Chroma is the user's own affair.
    """
    return (
        _same_collection(engine, vectorstore)
        and _same_guide(engine.guide, guide)
        and _name(engine.instant) == _name(instant)
        and _path(engine.store) == _path(store)
        and (engine.fit_config or FitConfig()) == (fit or FitConfig())
        and engine.force == force
        and (engine.reuse.threshold if engine.reuse else None) == reuse
        and _same_questions(engine.questions, questions)
        and engine.on_fit == on_fit
    )


def _same_collection(engine: InstructRetriever, vectorstore: Chroma) -> bool:
    vectors = engine.collection
    if not isinstance(vectors, ChromaVectors) or vectors.source is vectorstore:
        return True
    return vectors.collection.id == ChromaVectors(vectorstore).collection.id


def _same_guide(one: Guide | None, other: Guide | None) -> bool:
    # Identity first: the key of a guide with many labels takes time.
    return one is other or (one is not None and other is not None and one.key == other.key)


def _same_questions(one: Questions | None, other: Questions | None) -> bool:
    return one is other or (one is not None and one.same_as(other))


def _name(instant: InstantMover | None) -> str | None:
    return None if instant is None else instant.name


def _path(store: TransformStore | None) -> str | None:
    return None if store is None else str(store.path)
