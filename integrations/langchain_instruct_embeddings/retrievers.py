"""`InstructionTransformRetriever`: one collection, a different question at every call."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SkipValidation, model_validator
from typing_extensions import Self

from instruct_embeddings import (
    FitConfig,
    InstructRetriever,
    Questions,
    RelevanceFeedback,
    TransformStore,
)
from instruct_embeddings.hosts import (
    OnFit,
    check_arguments,
    engine_settings,
    open_engine,
    same_engine,
)
from instruct_embeddings.protocols import Guide, InstantMover, VectorCollection
from langchain_instruct_embeddings.base import DocumentRetriever
from langchain_instruct_embeddings.stores import collection_of

_ENGINE = (
    *("guide", "instant", "store", "fit", "force"),
    *("reuse", "questions", "on_fit", "feedback"),
)
_MADE_WHEN_ABSENT: Any = None


class InstructionTransformRetriever(DocumentRetriever):
    """Retriever that asks the vectors of an existing vector store different questions.

    The generic vectors that the collection holds are adapted to an instruction, a plain sentence
    that says what is wanted. Nothing is re-encoded and nothing in the collection changes. A new
    instruction is answered at once by the instant query. Where there is a guide, a transform is
    fitted from a sample of the collection in the background, and serves from then on if it ranks
    better on what can be measured.

    Setup:
        `pip install "instruct-embeddings[langchain]"`

    Key init args:
        vectorstore:
            `Chroma`, `Milvus`, `QdrantVectorStore` or `PGVectorStore` of LangChain, with the
            embeddings that made its vectors; any other `VectorStore` is asked by its public
            methods alone, see `StoreVectors`.
        collection:
            The vectors of the store, where these are not those behind it: a `StoreVectors` of your
            settings, or a `VectorCollection` of your own.
        guide, instant, store, fit, force, reuse, questions, on_fit, feedback:
            As in `InstructRetriever`; `instant=True` takes the instant query that comes with the
            package, `feedback=True` its encoder as judge; `reuse` is the least agreement.
        k, instruction, where_document, blend, prefetch, exact, wait, judge:
            As in `SearchOptions`.
        score_threshold, lambda_mult, fetch_k:
            Likewise: a least score, and maximal marginal relevance.
        filter:
            Filter on metadata in one language for all stores, that of Chroma's `where`. A filter of
            the store itself is passed as `{"$native": ...}`, or as it is where it is no mapping.
            A `StoreVectors` knows the filters of its store alone.
        score_key:
            Metadata key that receives the score, with a warning where it replaces a stored value.
            `None` leaves the metadata as they are stored, so that a document which several queries
            find is one document to LangChain: see `invoke_with_scores`.
        engine:
            `other.engine`, so that several retrievers share fits. What it knows already need not be
            repeated; a field that says otherwise gets an engine of its own.

    Instantiate:
        ```python
        from instruct_embeddings import EncoderGuide
        from langchain_instruct_embeddings import InstructionTransformRetriever

        retriever = InstructionTransformRetriever(
            vectorstore=chroma,
            guide=EncoderGuide(),
            k=5,
            store="transforms",
        )
        ```

    Usage:
        Call arguments win over the fields of the same name, `None` included:
        `instruction=None` asks for the generic search although a default instruction is set, and
        `filter=None` lifts a default filter. Arguments that are left out use the field.

        ```python
        retriever.invoke("image viewer", instruction="What programming language is it written in?")
        retriever.invoke("image viewer", k=3, filter={"section": "graphics"})
        retriever.invoke("viewer", instruction={"What is it for?": 0.7, "What language?": 0.3})
        print(retriever.report("What programming language is it written in?"))
        for document, score in retriever.invoke_with_scores("image viewer", k=3):
            print(f"{score:.2f} {document.page_content}")
        ```

        `configurable_fields` and `bind` never fit again, except where they change the guide,
        the store or the way to fit: then give a `store`, or use `configurable_alternatives`.

    Async:
        ```python
        await retriever.ainvoke("image viewer", instruction="What language is it written in?")
        ```

    Use within a chain:
        ```python
        ask = retriever.bind(instruction="What programming language is it written in?")
        chain = {"context": ask | format_docs, "question": RunnablePassthrough()} | prompt | llm
        ```
    """

    collection: Annotated[VectorCollection | None, SkipValidation] = Field(
        default=None, frozen=True, repr=False
    )
    guide: Annotated[Guide | None, SkipValidation] = Field(default=None, frozen=True)
    instant: Annotated[InstantMover | bool | None, SkipValidation] = Field(
        default=True, frozen=True
    )
    store: TransformStore | str | Path | None = Field(default=None, frozen=True)
    fit: FitConfig | None = Field(default=None, frozen=True)
    force: bool = Field(default=False, frozen=True)
    reuse: float | None = Field(default=None, gt=0.0, le=1.0, frozen=True)
    questions: Annotated[Questions | None, SkipValidation] = Field(default=None, frozen=True)
    on_fit: Annotated[OnFit | None, SkipValidation] = Field(default=None, frozen=True, repr=False)
    feedback: Annotated[RelevanceFeedback | bool | None, SkipValidation] = Field(
        default=None, frozen=True
    )
    # Declared, because copies made by `configurable_fields` keep declared fields only.
    engine: InstructRetriever = Field(default=_MADE_WHEN_ABSENT, frozen=True, repr=False)

    @model_validator(mode="before")
    @classmethod
    def _take_from_engine(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        check_arguments(cls.__name__, data, cls.model_fields)
        engine = data.get("engine")
        if engine is None:
            return {name: value for name, value in data.items() if name != "engine"}
        known = engine_settings(engine) if isinstance(engine, InstructRetriever) else {}
        return {**known, **data}

    @model_validator(mode="after")
    def _share_engine(self) -> Self:
        default_tags = [type(self.vectorstore).__name__, type(self._embeddings).__name__]
        self.tags = self.tags or default_tags
        settings = {name: getattr(self, name) for name in _ENGINE}
        vectors = self.collection or collection_of(self.vectorstore)
        made = open_engine(vectors, self._embed_queries, **settings)
        engine = self.engine if self.engine and same_engine(self.engine, made) else made
        # Frozen for users, not for the validator that fills them.
        for name in ("instant", "store", "feedback"):
            object.__setattr__(self, name, getattr(engine, name))
        object.__setattr__(self, "engine", engine)
        return self
