"""Search a collection of generic vectors under an instruction."""

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from instruct_embeddings._types import FloatArray, Where
from instruct_embeddings._warnings import from_here
from instruct_embeddings.config import FitConfig
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.protocols import Guide, InstantMover, Rows, VectorCollection
from instruct_embeddings.retrieval.answering import DEFAULT_BLENDS, check_instructed, evaluate
from instruct_embeddings.retrieval.composition import Asked, Composition, Part, check_asked
from instruct_embeddings.retrieval.constrained import CANDIDATES, Direction, reorder
from instruct_embeddings.retrieval.constraints import find_constraints
from instruct_embeddings.retrieval.drift import Drift, find_drift
from instruct_embeddings.retrieval.exact import VectorCopy, fits_in_memory
from instruct_embeddings.retrieval.hits import Hit, RankedBy
from instruct_embeddings.retrieval.instant import InstantAnswers, InstantRanker, measure_lengths
from instruct_embeddings.retrieval.library import TransformLibrary
from instruct_embeddings.retrieval.parts import check_collection, check_guide, open_store
from instruct_embeddings.retrieval.progress import OnFit
from instruct_embeddings.retrieval.questions import Embed, Queries, Questions, Relevant
from instruct_embeddings.retrieval.ranking import (
    SearchRequest,
    index_cosines,
    rank_by_index,
    rank_exactly,
)
from instruct_embeddings.retrieval.reuse import Reuse
from instruct_embeddings.retrieval.sampling import read_pages
from instruct_embeddings.retrieval.waiting import SharedFits
from instruct_embeddings.transform.report import QuestionReport
from instruct_embeddings.transform.store import TransformStore
from instruct_embeddings.transform.transform import InstructionTransform
from instruct_embeddings.transform.vectors import index_query, query_numbers, query_row


class InstructRetriever:
    """Ranks the rows of one collection under any instruction.

    An instruction that was never seen is answered by the instant query, at once. Where there is a
    guide, a transform is fitted meanwhile from a sample of the collection, and serves from then on
    if it ranks better on what can be measured; `Hit.ranked_by` says which one answered. Without an
    instant query the first search waits for the fit. The collection itself is only read. Safe to
    share between threads: searches under known instructions never wait for a fit.

    A guide that learns without labels (`EncoderGuide`, `LabelNamesGuide`) teaches how alike texts
    are in one respect. It cannot teach an instruction that requests something, such as "Find the
    abstract that supports the claim" or "Answer briefly": the instant query answers it, or it stays
    generic, with one `TransformWarning`. Judged `questions`, or `force`, decide otherwise.
    """

    def __init__(
        self,
        collection: VectorCollection,
        guide: Guide | None = None,
        *,
        instant: InstantMover | None = None,
        store: TransformStore | str | Path | None = None,
        fit: FitConfig | None = None,
        force: bool = False,
        reuse: Reuse | None = None,
        questions: Questions | None = None,
        on_fit: OnFit | None = None,
    ) -> None:
        """Put the parts together; nothing is read until the first search.

        Args:
            collection: The collection to search.
            guide: Teaches transforms; None limits searches to stored ones and the instant query.
            instant: Answers under instructions for which nothing is fitted; it reads the text of
                the query, so it serves searches that give one. None: such searches wait for a fit.
            store: `TransformStore` or folder where transforms are kept between processes; None
                keeps them in memory only.
            fit: How transforms are fitted.
            force: Use a transform even where it does not beat the generic vectors.
            reuse: When the transform of another instruction serves; None for never.
            questions: Judged questions. With them, the choice between the generic ranking, a blend
                and the adapted one is made on them, for each instruction they are asked under.
            on_fit: Called with a `FitEvent` at each step of a fit, in the thread that fits.

        Raises:
            ConfigError: The collection, the guide or the store is something else.
        """
        check_collection(collection)
        check_guide(guide)
        kept = open_store(store)
        self._library = TransformLibrary(
            collection,
            guide,
            store=kept,
            fit=fit or FitConfig(),
            force=force,
            reuse=reuse,
            questions=questions,
            on_fit=on_fit,
        )
        self._fits = SharedFits(self.transform, self._library.find)
        self._instant = None if instant is None else InstantAnswers(collection, instant)
        self._unmoving: InstantRanker | None = None
        self._copy: VectorCopy | None = None
        self._copying = threading.Lock()

    @property
    def collection(self) -> VectorCollection:
        """The collection searched."""
        return self._library.collection

    @property
    def guide(self) -> Guide | None:
        """Teaches transforms; None limits searches to stored ones."""
        return self._library.guide

    @property
    def instant(self) -> InstantMover | None:
        """Answers under instructions for which nothing is fitted."""
        return None if self._instant is None else self._instant.mover

    @property
    def answers(self) -> InstantAnswers | None:
        """The instant query over this collection; None where its space is out of reach."""
        return self._instant if self._instant is not None and self._instant.reaches() else None

    @property
    def store(self) -> TransformStore | None:
        """Where transforms are kept between processes; None keeps them in memory only."""
        return self._library.store

    @property
    def fit_config(self) -> FitConfig:
        """How transforms are fitted."""
        return self._library.fit_config

    @property
    def force(self) -> bool:
        """Whether a transform is used that does not beat the generic vectors."""
        return self._library.force

    @property
    def reuse(self) -> Reuse | None:
        """When the transform of another instruction serves; None for never."""
        return self._library.reuse

    @property
    def questions(self) -> Questions | None:
        """Judged questions that decide how transforms are used."""
        return self._library.questions

    @property
    def on_fit(self) -> OnFit | None:
        """What is told how fits go on."""
        return self._library.on_fit

    def transform(self, instruction: str) -> InstructionTransform:
        """The transform of an instruction: from memory, from the store, or fitted now.

        Raises:
            GuideError: It has to be fitted, and there is no guide, or nothing to learn from.
            TransformMismatchError: There is no guide, and what is stored under the instruction
                belongs to another collection.
            EmptyCollectionError: The collection is empty.
        """
        return self._library.get(instruction)

    def fitted(self, instruction: str, *, wait: bool = False) -> InstructionTransform | None:
        """The transform that answers an instruction; None where the instant query does, or nothing.

        Args:
            instruction: A plain sentence.
            wait: Fit it now where it is not known and could rank.

        Raises:
            GuideError, TransformMismatchError, EmptyCollectionError: See `transform`.
        """
        if not self._is_taught(instruction, self.force):
            wait = False
        found = self.transform(instruction) if wait else self._library.find(instruction)
        serving = found is not None and self.uses(found, instruction)
        return found if serving or self._instant is None else None

    def uses(self, transform: InstructionTransform, instruction: str) -> bool:
        """Whether searches under an instruction rank by a transform, by its report and guide."""
        return self._library.serves(transform, instruction, force=self.force)

    def prepare(self, instructions: Sequence[str]) -> list[InstructionTransform]:
        """The transforms of several instructions; those that are missing share one sample.

        A guide that encodes reads each sampled text once for all of them.

        Raises:
            GuideError, TransformMismatchError, EmptyCollectionError: See `transform`.
        """
        return self._library.get_all(instructions)

    def refit(self, instruction: str) -> InstructionTransform:
        """Fit again from a fresh sample and replace what is known and stored."""
        return self._library.refit(instruction)

    def drift(self, instruction: str, *, seed: int | None = None) -> Drift:
        """What a transform gains on a fresh sample, beside its report; see `find_drift`."""
        return find_drift(self.collection, self.guide, self.transform(instruction), seed=seed)

    async def aprepare(
        self, asked: Asked | None, *, query: str | None = None, wait: bool = False
    ) -> None:
        """Wait until instructions are fitted, without a thread of the event loop.

        Nothing is waited for where the instant query answers meanwhile.

        Args:
            asked: The instruction, or several with weights.
            query: Text of the query that will be asked under it.
            wait: Wait also where the instant query could answer.

        Raises:
            GuideError, TransformMismatchError, EmptyCollectionError: See `transform`.
        """
        if asked is not None and (wait or not await asyncio.to_thread(self._at_once, query)):
            texts = [text for text in check_asked(asked) if self._is_taught(text, self.force)]
            with from_here():
                await self._fits.wait(texts)

    def search(
        self,
        vector: ArrayLike,
        *,
        query: str | None = None,
        instruction: Asked | None = None,
        k: int = 4,
        where: Where | None = None,
        where_document: Where | None = None,
        blend: float | None = None,
        prefetch: int | None = None,
        exact: bool = False,
        wait: bool = False,
        force: bool | None = None,
    ) -> list[Hit]:
        """The best rows for a query, best first.

        Args:
            vector: Generic vector of the query, shape (d,), from the model that filled the
                collection.
            query: Text of the query, for the instant query.
            instruction: Sentence that says in what respect rows should be similar; several with
                weights, `{"What is it about?": 0.7, "How urgent is it?": 0.3}`, are searched for
                at once; None is the plain generic search.
            k: Results wanted; fewer come back only where fewer rows pass the filters.
            where: Metadata filter.
            where_document: Filter on the stored text.
            blend: 0 gives the generic ranking, 1 the adapted one; None is what judged questions
                have chosen, 1 without any.
            prefetch: Candidates taken from the index, all of which are rescored: as many as there
                are rows give what `exact` gives. None takes 600 and rescores the best of them.
            exact: Score every row instead of asking the index: of an in-memory copy, or where that
                would take over 256 MB, page by page, which reads the collection each time.
            wait: Wait for the fit of an instruction that is not known yet, rather than to let the
                instant query answer.
            force: Use a transform that does not beat the generic vectors; None for the setting of
                the retriever.

        Raises:
            ConfigError: `query`, `k`, `prefetch`, `blend`, `where` or `instruction` is out of its
                range.
            GuideError: A transform has to be fitted and cannot be.
            CollectionError: The collection is empty, stale, or of another dimension.
            InvalidVectorsError: The query is a text, or a vector without a direction.
        """
        request = SearchRequest(k, where, where_document, 1.0 if blend is None else blend, prefetch)
        if not isinstance(query, str | None):
            raise ConfigError(
                f"query={query!r} is of type {type(query).__name__}, and the text of the query is "
                "wanted. Pass a string, or None where only its vector is known."
            )
        row = query_numbers(vector)
        if instruction is None:
            return self._generic(row, request)
        unit = query_row(row, self.collection.info().dimension)
        asked = _Asked(unit, query, self.force if force is None else force, blend is None)
        texts = check_asked(instruction)
        ranker = self._composed(texts, asked, wait)
        directions = self._directions(list(texts))
        if ranker.ranked_by == "generic" and not directions:
            return self._generic(row, request)
        wanted = request.widened(CANDIDATES) if directions else request
        if exact:
            ranked = rank_exactly(self._pages(where, where_document), ranker, unit, wanted)
        else:
            ranked = rank_by_index(self.collection, ranker, unit, wanted)
        if directions:
            ranked = reorder(self.collection, ranked, directions, k=k, blend=request.blend)
        return self._hits(ranked, ranker.ranked_by, ranker.reused)

    def evaluate(
        self,
        queries: Queries,
        relevant: Relevant,
        *,
        instruction: Asked | Sequence[Asked] | None,
        k: int = 10,
        blends: Sequence[float] = DEFAULT_BLENDS,
        where: Where | None = None,
        where_document: Where | None = None,
        prefetch: int | None = None,
        exact: bool = False,
        seed: int = 0,
        embed: Embed | None = None,
    ) -> QuestionReport:
        """Answer judged questions without and under an instruction, and say which is better.

        The transform is measured whether searches use it by themselves or not. Rows are taken as
        they are ranked, equal scores included.

            report = retriever.evaluate(vectors, [["row-17"], ["row-3", "row-9"]], instruction=...)
            print(report)

        Args:
            queries: Generic vectors of the questions, shape (n, d), or a mapping from their ids;
                texts with `embed`.
            relevant: Ids of the rows that answer each question, aligned with `queries`; or by the
                text or id of the query; or with grades, `{query_id: {row_id: grade}}`.
            instruction: The instruction, several with weights, or one of these for each question.
            k: Results looked at for each question.
            blends: Shares of the adapted score to try, above 0 and at most 1.
            where: As in a search; questions whose relevant rows it leaves out are left out too.
            where_document: As in a search, likewise.
            prefetch: As in a search.
            exact: As in a search.
            seed: Seed of the bootstrap.
            embed: Makes generic vectors of texts.

        Raises:
            ConfigError: An argument is out of its range, queries and relevant do not fit together,
                or no relevant row is in the collection.
            GuideError: A transform has to be fitted and cannot be.
            CollectionError: The collection is empty, stale, or of another dimension.
        """
        asked = Questions(queries, relevant, instruction, embed)
        check_instructed(asked)
        if self.guide is not None:  # several new instructions share one sample
            texts = [text for one in asked.items for text in check_asked(one.instruction or "")]
            self.prepare(list(dict.fromkeys(texts)))
        return evaluate(
            self.search,
            self.collection,
            asked,
            k=k,
            blends=blends,
            where=where,
            where_document=where_document,
            seed=seed,
            prefetch=prefetch,
            exact=exact,
            force=True,
            wait=self.guide is not None,
        )

    def refresh(self) -> None:
        """Forget the in-memory copy of exact searches; the next one reads the collection again."""
        with self._copying:
            self._copy = None

    def _generic(self, numbers: NDArray[np.float64], request: SearchRequest) -> list[Hit]:
        row = index_query(numbers, lambda: self.collection.info().space)
        found = self.collection.search(
            row, k=request.k, where=request.where, where_document=request.where_document
        )
        if not len(found):
            return []
        length = float(np.linalg.norm(row))
        scores = index_cosines(found.scores, self.collection.info().space, length)
        return self._hits(list(zip(found.ids, scores.tolist(), strict=True)), "generic")

    def _hits(
        self,
        ranked: Sequence[tuple[str, float]],
        ranked_by: RankedBy,
        reused: tuple[str, ...] = (),
    ) -> list[Hit]:
        rows = self.collection.fetch([row for row, _ in ranked], records=True)
        scores = dict(ranked)
        return [
            Hit(row, scores[row], text, metadata, ranked_by, reused)
            for row, text, metadata in zip(rows.ids, rows.texts, rows.metadatas, strict=True)
        ]

    def _composed(
        self, instructions: Mapping[str, float], asked: "_Asked", wait: bool
    ) -> Composition:
        """What ranks under the instructions asked for, as one."""
        if wait or self._at_once(asked.query) is None:
            self._library.get_all([t for t in instructions if self._is_taught(t, asked.force)])
        return Composition(tuple(self._part(*one, asked) for one in instructions.items()))

    def _at_once(self, query: str | None) -> InstantAnswers | None:
        """What answers a query without a fit; None where its text or the space is out of reach."""
        return None if query is None else self.answers

    def _is_taught(self, text: str, force: bool) -> bool:
        """Whether a fit is waited for: not under a request where the guide compares documents."""
        return force or self.guide is None or self._library.is_worth_fitting(text)

    def _part(self, text: str, weight: float, asked: "_Asked") -> Part:
        """What ranks under one instruction: what was fitted and serves, or the instant query."""
        fitted, taught = self._library.find(text), self._is_taught(text, asked.force)
        serves = fitted is not None and self._library.serves(fitted, text, force=asked.force)
        instant = self._at_once(asked.query)
        if not taught:
            self._library.warn_of_request(text, instant=instant is not None)
        if not serves and instant is not None and asked.query is not None:
            if fitted is None and taught and self.guide is not None:
                self._fits.start(text)
            return Part(instant.ranker(asked.query, asked.unit, text), weight, text)
        if fitted is None and not taught:
            return Part(self._unmoved(text), weight, text, adapts=False)
        known = fitted or self._library.get(text)
        serves = self._library.serves(known, text, force=asked.force)
        blend = (known.report.blend or 1.0) if asked.own_blend else 1.0
        return Part(known, weight, text, serves, blend)

    def _unmoved(self, text: str) -> InstantRanker:
        """The generic ranking, as a part of several."""
        info = self.collection.info()
        if self._unmoving is None or self._unmoving.collection != info:
            nothing = np.zeros(info.dimension, dtype=np.float32)
            lengths = measure_lengths(self.collection)
            self._unmoving = InstantRanker(text, info, lengths, nothing)
        return replace(self._unmoving, instruction=text)

    def _directions(self, instructions: Sequence[str]) -> list[Direction]:
        """What the constraints of instructions name; none without an instant query to embed it."""
        found = [one for text in instructions for one in find_constraints(text)]
        answers = self.answers if found else None
        return [] if answers is None else answers.directions(list(dict.fromkeys(found)))

    def _pages(self, where: Where | None, where_document: Where | None) -> Iterator[Rows]:
        if fits_in_memory(self.collection):
            return self._current_copy().pages(self.collection, where, where_document)
        return read_pages(self.collection, where=where, where_document=where_document, vectors=True)

    def _current_copy(self) -> VectorCopy:
        with self._copying:
            if self._copy is None or not self._copy.is_current(self.collection):
                self._copy = VectorCopy.read(self.collection)
            return self._copy


@dataclass(frozen=True)
class _Asked:
    """What a search brings along for its instructions.

    Attributes:
        unit: Unit vector of the query, shape (1, d).
        query: Its text, where it is known.
        force: Use a transform that does not beat the generic vectors.
        own_blend: Leave the blend to what judged questions have chosen.
    """

    unit: FloatArray
    query: str | None
    force: bool
    own_blend: bool
