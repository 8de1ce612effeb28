"""`InstructionTransformRetriever`: one Chroma collection, a different question at every call."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from langchain_chroma import Chroma
from langchain_core.callbacks.manager import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from langchain_core.runnables.config import RunnableConfig, run_in_executor
from pydantic import ConfigDict, Field, SkipValidation, field_validator, model_validator
from typing_extensions import Self

from instruct_embeddings._arguments import UNSET, Unset, given
from instruct_embeddings._warnings import from_here
from instruct_embeddings.config import FitConfig
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.explain import explain
from instruct_embeddings.explain.explanation import Explanation
from instruct_embeddings.instant import find_instant
from instruct_embeddings.protocols import Guide, InstantMover
from instruct_embeddings.retrieval.answering import DEFAULT_BLENDS
from instruct_embeddings.retrieval.choosing import Choice
from instruct_embeddings.retrieval.composition import Asked, check_default, one_instruction
from instruct_embeddings.retrieval.parts import check_guide, open_store
from instruct_embeddings.retrieval.progress import OnFit
from instruct_embeddings.retrieval.questions import Questions, Relevant
from instruct_embeddings.retrieval.retriever import InstructRetriever
from instruct_embeddings.transform.report import FitReport, QuestionReport
from instruct_embeddings.transform.store import TransformStore
from instruct_embeddings.transform.transform import InstructionTransform
from langchain_instruct_embeddings.documents import collected_scores, to_documents
from langchain_instruct_embeddings.engine import build_engine, serves

_MADE_WHEN_ABSENT: Any = None


class InstructionTransformRetriever(BaseRetriever):
    """Retriever that asks the vectors of an existing Chroma collection different questions.

    The generic vectors that the collection holds are adapted to an instruction, a plain sentence
    that says what is wanted. Nothing is re-encoded and nothing in the collection changes. A new
    instruction is answered at once by the instant query. Where there is a guide, a transform is
    fitted from a sample of the collection in the background, and serves from then on if it ranks
    better on what can be measured.

    Setup:
        ```bash
        pip install "instruct-embeddings[langchain]"
        ```

    Key init args:
        vectorstore:
            `langchain_chroma.Chroma` with the embeddings that made its vectors.
        guide:
            Where supervision of a transform comes from: `MetadataGuide("language")` takes labels,
            `EncoderGuide()` needs none. No guide: the instant query, and what is in `store`.
        instant:
            What answers at once. `True` takes the one that comes with the package, `None` none:
            then the first call under a new instruction waits for the fit.
        instruction:
            Instruction of calls that give none, or several with weights; `None` is the plain
            generic search.
        k:
            Number of documents wanted.
        filter, where_document:
            Chroma's filters on metadata and on text.
        blend:
            Share of the adapted score, from 0 (generic) to 1 (adapted); `None` is what judged
            questions have chosen, 1 without any.
        prefetch:
            Candidates fetched before they are rescored; `None` chooses.
        exact:
            Rank all vectors instead of asking the index, for evaluation and small collections.
        wait:
            Wait for the fit of an instruction that is not known yet, rather than to let the instant
            query answer meanwhile.
        score_threshold:
            Least score of a document, in [-1, 1]; fewer than `k` may come back.
        lambda_mult, fetch_k:
            Maximal marginal relevance, so that copies of one text do not fill the results: among
            `fetch_k` candidates (20, or 5 for each result), 1 looks at scores alone, 0 only at how
            different documents are. `None` keeps the plain order.
        score_key:
            Metadata key that receives the score. `None` leaves the metadata as they are stored, so
            that a document which several queries find is one document to LangChain: see
            `invoke_with_scores`. A score replaces a stored value of that name, with a warning.
        store:
            `TransformStore` or directory where fitted transforms are kept and found again.
        fit:
            `FitConfig`: sample size, folds, seed, time budget.
        force:
            Use a transform that does not beat the generic vectors on held-out rows.
        reuse:
            Least agreement, such as 0.925, at which the transform of another instruction serves
            that means the same for the texts of the collection. `transform_for(...).instruction`
            says whose serves, as does `reused_instruction` in metadata that carry a score. `None`
            never does that.
        questions:
            `Questions`: judged questions, texts with the ids of the documents that answer them.
            With them, the choice between generic, blend and adapted is made on them.
        on_fit:
            Called with a `FitEvent` (instruction, stage, done, total, seconds) at each step of a
            fit, in the thread that fits.
        engine:
            The shared `InstructRetriever`. Made when absent; pass `other.engine` so that several
            retrievers share fits. What it already knows (guide, store, fit, force, reuse,
            questions, on_fit) need not be repeated; a field that says otherwise gets an engine of
            its own.

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

    model_config = ConfigDict(extra="forbid")

    vectorstore: Chroma = Field(frozen=True)
    guide: Annotated[Guide | None, SkipValidation] = Field(default=None, frozen=True)
    instant: Annotated[InstantMover | bool | None, SkipValidation] = Field(
        default=True, frozen=True, validate_default=True
    )
    k: int = Field(default=4, gt=0)
    instruction: str | dict[str, float] | None = None
    filter: dict[str, Any] | None = None
    where_document: dict[str, Any] | None = None
    blend: float | None = Field(default=None, ge=0.0, le=1.0)
    prefetch: int | None = Field(default=None, gt=0)
    exact: bool = False
    wait: bool = False
    score_threshold: float | None = Field(default=None, ge=-1.0, le=1.0)
    lambda_mult: float | None = Field(default=None, ge=0.0, le=1.0)
    fetch_k: int | None = Field(default=None, gt=0)
    score_key: str | None = None
    store: TransformStore | str | Path | None = Field(default=None, frozen=True)
    fit: FitConfig | None = Field(default=None, frozen=True)
    force: bool = Field(default=False, frozen=True)
    reuse: float | None = Field(default=None, gt=0.0, le=1.0, frozen=True)
    questions: Annotated[Questions | None, SkipValidation] = Field(default=None, frozen=True)
    on_fit: Annotated[OnFit | None, SkipValidation] = Field(default=None, frozen=True, repr=False)
    # Declared, because copies made by `configurable_fields` keep declared fields only.
    engine: InstructRetriever = Field(default=_MADE_WHEN_ABSENT, frozen=True, repr=False)

    @model_validator(mode="before")
    @classmethod
    def _take_from_engine(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        values = {key: value for key, value in data.items() if key != "engine" or value is not None}
        engine = values.get("engine")
        if isinstance(engine, InstructRetriever):
            values.setdefault("guide", engine.guide)
            values.setdefault("instant", engine.instant)
            values.setdefault("store", engine.store)
            values.setdefault("fit", engine.fit_config)
            values.setdefault("force", engine.force)
            values.setdefault("reuse", engine.reuse and engine.reuse.threshold)
            values.setdefault("questions", engine.questions)
            values.setdefault("on_fit", engine.on_fit)
        return values

    @field_validator("vectorstore")
    @classmethod
    def _require_embeddings(cls, vectorstore: Chroma) -> Chroma:
        if vectorstore.embeddings is None:
            raise ConfigError(
                "The vector store has no embeddings object, so a query cannot be embedded. It "
                "needs the model that made its vectors: Chroma(..., embedding_function=model)."
            )
        return vectorstore

    @field_validator("guide")
    @classmethod
    def _require_guide(cls, guide: Guide | None) -> Guide | None:
        check_guide(guide)
        return guide

    @field_validator("instant")
    @classmethod
    def _own_instant(cls, instant: InstantMover | bool | None) -> InstantMover | None:
        return find_instant(instant)

    @field_validator("instruction")
    @classmethod
    def _check_instruction(cls, instruction: Asked | None) -> str | dict[str, float] | None:
        return check_default(instruction)

    @field_validator("store", mode="before")
    @classmethod
    def _open_store(cls, store: object) -> object:
        return open_store(store)

    @model_validator(mode="after")
    def _share_engine(self) -> Self:
        asked = self.questions and self.questions.embedded_by(self._embed_queries)
        # The validator has made one of True.
        instant = None if isinstance(self.instant, bool) else self.instant
        learned = (self.guide, instant, self._store, self.fit, self.force, self.reuse, asked)
        wanted = (self.vectorstore, *learned, self.on_fit)
        if self.engine is None or not serves(self.engine, *wanted):
            # The field is frozen for users, not for the validator that fills it.
            object.__setattr__(self, "engine", build_engine(*wanted))
        if not self.tags:
            self.tags = [type(self.vectorstore).__name__, type(self._embeddings).__name__]
        return self

    def invoke_with_scores(
        self, input: str, config: RunnableConfig | None = None, **arguments: Any
    ) -> list[tuple[Document, float]]:
        """`invoke` with the score of each document beside it, as vector stores give it.

        Args:
            input: The query.
            config: Callbacks, tags, metadata of the run.
            arguments: Those of a call, such as `instruction` and `k`.

        Returns:
            Documents, best first, each with a similarity in [-1, 1] where higher is closer: the
            adapted cosine, or the generic similarity in a search without an instruction.
        """
        with collected_scores() as scores:
            documents = self.invoke(input, config, **arguments)
        return list(zip(documents, scores, strict=True))

    async def ainvoke_with_scores(
        self, input: str, config: RunnableConfig | None = None, **arguments: Any
    ) -> list[tuple[Document, float]]:
        """The same as `invoke_with_scores` without blocking the event loop."""
        with collected_scores() as scores:
            documents = await self.ainvoke(input, config, **arguments)
        return list(zip(documents, scores, strict=True))

    def transform_for(self, instruction: str | None = None) -> InstructionTransform:
        """The transform of an instruction; fits it now if it is not known yet.

        Call it ahead of the first query to prepare an instruction.

        Args:
            instruction: The instruction; `None` takes the retriever's own.

        Raises:
            InstructionError: There is none.
            GuideError: There is no guide, or it finds nothing to learn from.
        """
        asked = self.instruction if instruction is None else instruction
        return self.engine.transform(one_instruction(asked))

    def report(self, instruction: str | None = None) -> FitReport:
        """How good the transform of an instruction is on held-out rows; see `transform_for`."""
        return self.transform_for(instruction).report

    def explain(
        self, query: str, instruction: str | None = None, *, k: int = 10, sample: int = 1000
    ) -> Explanation:
        """What an instruction, by default its own, does to a query: which results move, and why.

        `print` shows it as tables. With a guide the instruction is fitted first where it is not
        known, and `draw("map.png")` gives a picture of `sample` rows; without one the instant query
        is explained. Constraints ("only", "no") are listed with what becomes of them, and with the
        filter on metadata that would answer them exactly, where there is one.
        """
        own = UNSET if instruction is None else instruction
        options = self._options(k, own, UNSET, UNSET, None, UNSET)
        del options["wait"]
        vector = self._embeddings.embed_query(query)
        return explain(self.engine, vector, query, sample=sample, **options)

    def evaluate(
        self,
        queries: Sequence[str] | Mapping[str, str],
        relevant: Relevant,
        *,
        instruction: Asked | Sequence[Asked] | None = None,
        k: int = 10,
        blends: Sequence[float] = DEFAULT_BLENDS,
        filter: dict[str, Any] | Unset | None = UNSET,
        where_document: dict[str, Any] | Unset | None = UNSET,
        seed: int = 0,
    ) -> QuestionReport:
        """Does the instruction help these questions? Generic beside adapted, at several blends.

            print(retriever.evaluate(["it ate my photos"], [["ticket-17", "ticket-3"]]))

        Args:
            queries: What users ask; or a mapping from ids of queries to what they ask.
            relevant: Ids of the documents that answer each query, aligned with `queries`; or by the
                query or its id; or with grades, `{query_id: {document_id: grade}}`.
            instruction: One for all, or one for each query; `None` takes the retriever's own.
            k: Results looked at for each query.
            blends: Shares of the adapted score to try.
            filter: Chroma's filter on metadata; by default the retriever's own.
            where_document: Chroma's filter on texts; likewise.
            seed: Seed of the bootstrap.

        Raises:
            ConfigError: Queries and relevant do not fit together, or none of the relevant ids is in
                the collection.
            InstructionError: There is no instruction.
            GuideError: There is no guide, or it finds nothing to learn from.
        """
        return self.engine.evaluate(
            queries,
            relevant,
            instruction=self.instruction if instruction is None else instruction,
            k=k,
            blends=blends,
            where=given(filter, self.filter),
            where_document=given(where_document, self.where_document),
            prefetch=self.prefetch,
            exact=self.exact,
            seed=seed,
            embed=self._embed_queries,
        )

    @property
    def _embeddings(self) -> Embeddings:
        embeddings = self.vectorstore.embeddings
        if embeddings is None:
            raise ConfigError("The vector store has lost its embeddings object.")
        return embeddings

    def _embed_queries(self, texts: Sequence[str]) -> list[list[float]]:
        return [self._embeddings.embed_query(text) for text in texts]

    @property
    def _store(self) -> TransformStore | None:
        return self.store if isinstance(self.store, TransformStore) else None

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        params = super()._get_ls_params(**kwargs)
        params["ls_vector_store_provider"] = type(self.vectorstore).__name__
        params["ls_embedding_provider"] = type(self._embeddings).__name__
        return params

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        instruction: str | Mapping[str, float] | Unset | None = UNSET,
        filter: dict[str, Any] | Unset | None = UNSET,
        where_document: dict[str, Any] | Unset | None = UNSET,
        blend: float | None = None,
        prefetch: int | Unset | None = UNSET,
        wait: bool | None = None,
        score_threshold: float | Unset | None = UNSET,
        lambda_mult: float | Unset | None = UNSET,
        fetch_k: int | Unset | None = UNSET,
    ) -> list[Document]:
        options = self._options(k, instruction, filter, where_document, blend, prefetch, wait)
        choice = self._choice(options["k"], score_threshold, lambda_mult, fetch_k)
        return self._search(query, self._embeddings.embed_query(query), options, choice)

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        instruction: str | Mapping[str, float] | Unset | None = UNSET,
        filter: dict[str, Any] | Unset | None = UNSET,
        where_document: dict[str, Any] | Unset | None = UNSET,
        blend: float | None = None,
        prefetch: int | Unset | None = UNSET,
        wait: bool | None = None,
        score_threshold: float | Unset | None = UNSET,
        lambda_mult: float | Unset | None = UNSET,
        fetch_k: int | Unset | None = UNSET,
    ) -> list[Document]:
        options = self._options(k, instruction, filter, where_document, blend, prefetch, wait)
        choice = self._choice(options["k"], score_threshold, lambda_mult, fetch_k)
        with from_here():
            vector = await self._embeddings.aembed_query(query)
            await self.engine.aprepare(options["instruction"], query=query, wait=options["wait"])
            return await run_in_executor(None, self._search, query, vector, options, choice)

    def _options(
        self,
        k: int | None,
        instruction: str | Mapping[str, float] | Unset | None,
        filter: dict[str, Any] | Unset | None,
        where_document: dict[str, Any] | Unset | None,
        blend: float | None,
        prefetch: int | Unset | None,
        wait: bool | None = None,
    ) -> dict[str, Any]:
        return {
            "k": self.k if k is None else k,
            "instruction": given(instruction, self.instruction),
            "where": given(filter, self.filter),
            "where_document": given(where_document, self.where_document),
            "blend": self.blend if blend is None else blend,
            "prefetch": given(prefetch, self.prefetch),
            "exact": self.exact,
            "wait": self.wait if wait is None else wait,
        }

    def _choice(
        self,
        k: int,
        score_threshold: float | Unset | None,
        lambda_mult: float | Unset | None,
        fetch_k: int | Unset | None,
    ) -> Choice:
        return Choice(
            k,
            given(score_threshold, self.score_threshold),
            given(lambda_mult, self.lambda_mult),
            given(fetch_k, self.fetch_k),
        )

    def _search(
        self, query: str, vector: list[float], options: dict[str, Any], choice: Choice
    ) -> list[Document]:
        wanted = options | {"k": choice.wanted(options["prefetch"])}
        hits = self.engine.search(np.asarray(vector, dtype=np.float32), query=query, **wanted)
        return to_documents(choice.of(hits, self.engine.collection), self.score_key)
