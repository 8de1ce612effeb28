"""Search a collection of generic vectors under an instruction."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from instruct_embeddings._types import FloatArray, Where
from instruct_embeddings._warnings import from_here
from instruct_embeddings.config import (
    FitConfig,
    Instruction,
    Instructions,
    check_instruction,
    check_instructions,
    examples_in,
    suggesting,
)
from instruct_embeddings.errors import ConfigError, InstructionError
from instruct_embeddings.feedback.memory import JudgedQuestion
from instruct_embeddings.protocols import CollectionInfo, Guide, InstantMover, VectorCollection
from instruct_embeddings.retrieval.constraints import (
    CANDIDATES,
    Direction,
    find_constraints,
    reorder,
)
from instruct_embeddings.retrieval.distillation import DistillationReport, Distiller
from instruct_embeddings.retrieval.drift import Drift, find_drift
from instruct_embeddings.retrieval.exact import ExactSearch
from instruct_embeddings.retrieval.examples import ExampleMoves
from instruct_embeddings.retrieval.feedback import RelevanceFeedback, check_feedback
from instruct_embeddings.retrieval.fitting import BackgroundFits, OnFit
from instruct_embeddings.retrieval.instant import InstantAnswers, InstantRanker
from instruct_embeddings.retrieval.judged_search import JudgedSearch
from instruct_embeddings.retrieval.library import Known, TransformLibrary
from instruct_embeddings.retrieval.questions import (
    DEFAULT_BLENDS,
    Embed,
    Queries,
    Question,
    Questions,
    Relevant,
    measure,
)
from instruct_embeddings.retrieval.ranking import (
    FoldedQuery,
    Hit,
    Ranking,
    SearchRequest,
    WeightedRanker,
    rank_by_index,
    rank_generic,
)
from instruct_embeddings.retrieval.reuse import Reuse
from instruct_embeddings.transform.report import QuestionReport
from instruct_embeddings.transform.store import TransformStore
from instruct_embeddings.transform.transform import InstructionTransform
from instruct_embeddings.transform.vectors import query_numbers, query_row

# Results that are compared where something is learned from a judge.
_LEARNED_DEPTH = 10


@suggesting
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
        feedback: RelevanceFeedback | None = None,
    ) -> None:
        """Nothing is read until the first search.

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
            feedback: A judge that reads the best candidates and moves the query, at each search
                whose text is known.

        Raises:
            ConfigError: The collection, the guide, the store or the feedback is something else.
        """
        self.collection = collection
        self.guide = guide
        self.fit_config = fit or FitConfig()
        self.instant = instant
        self.force = force
        self.reuse = reuse
        self.questions = questions
        self.on_fit = on_fit
        self._library = TransformLibrary(
            collection,
            guide,
            store=store,
            fit=self.fit_config,
            force=force,
            reuse=reuse,
            questions=questions,
            on_fit=on_fit,
        )
        self.store = self._library.store
        self.feedback = check_feedback(feedback, collection.capabilities)
        self._fits = BackgroundFits(lambda text: self._library.get([text]), self._library.find)
        self._instant = None if instant is None else InstantAnswers(collection, instant)
        self._examples = None if not self._instant else ExampleMoves(collection, self._instant)
        self._everything = ExactSearch(collection)
        self._generic_ranker: InstantRanker | None = None
        memory = None if self.feedback is None else self.feedback.memory
        self._distiller: Distiller | None = None
        if self.feedback is not None and memory is not None:
            self._distiller = Distiller(collection, memory, self.feedback, self._find_moved)

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_") and name in vars(self):
            raise AttributeError(f"{name} is read-only. Make a retriever with {name}=... instead.")
        super().__setattr__(name, value)

    @property
    def answers(self) -> InstantAnswers | None:
        """The instant query over this collection; None where its space is out of reach."""
        return self._reaching()

    def transform(self, instruction: str) -> InstructionTransform:
        """The transform of an instruction: from memory, from the store, or fitted now.

        Raises:
            GuideError: It has to be fitted, and there is no guide, or nothing to learn from.
            TransformMismatchError: There is no guide; what is stored is of another collection.
            EmptyCollectionError: The collection is empty.
        """
        return self.prepare([instruction])[0]

    def prepare(self, instructions: Sequence[str]) -> list[InstructionTransform]:
        """The transforms of several instructions; those that are missing share one sample.

        A guide that encodes reads each sampled text once for all of them.

        Raises:
            GuideError, TransformMismatchError, EmptyCollectionError: See `transform`.
        """
        texts = [check_instruction(text) for text in instructions]
        return [known.transform for known in self._library.get(texts)]

    def fitted(self, instruction: str, *, wait: bool = False) -> InstructionTransform | None:
        """The transform that answers an instruction; None where the instant query does, or nothing.

        With `wait` it is fitted now, where it is not known and could rank.

        Raises:
            GuideError, TransformMismatchError, EmptyCollectionError: See `transform`.
        """
        text = check_instruction(instruction)
        taught = wait and self._library.is_taught(text, force=self.force)
        known = self._library.get([text])[0] if taught else self._library.find(text)
        if known is None:
            return None
        serves = self._instant is None or self.force or known.serves
        return known.transform if serves else None

    def distilled(self, instruction: str, *, wait: bool = False) -> DistillationReport | None:
        """What was learned of an instruction from its judge, where searches use it.

        None without a `memory` in `feedback`, with too few judged questions, and where what they
        teach gains nothing. With `wait`, what is being learned is waited for.
        """
        if self._distiller is None:
            return None
        text, info = check_instruction(instruction), self.collection.info()
        known = self._distiller.find(text, info)
        if wait:
            self._distiller.wait()
            known = self._distiller.find(text, info)
        return None if known is None else known.report

    def uses(self, transform: InstructionTransform, instruction: str) -> bool:
        """Whether searches under an instruction rank by a transform, by its report and guide."""
        return self.force or Known(transform, instruction).serves

    def refit(self, instruction: str) -> InstructionTransform:
        """Fit again from a fresh sample and replace what is known and stored."""
        return self._library.refit(check_instruction(instruction))

    def drift(self, instruction: str, *, seed: int | None = None) -> Drift:
        """What a transform gains on a fresh sample, beside its report; see `find_drift`."""
        return find_drift(self.collection, self.guide, self.transform(instruction), seed=seed)

    async def aprepare(
        self, asked: Instructions | None, *, query: str | None = None, wait: bool = False
    ) -> None:
        """Wait until instructions are fitted, without a thread of the event loop.

        Where the instant query answers a query text it returns at once, unless `wait` is set.

        Raises:
            GuideError, TransformMismatchError, EmptyCollectionError: See `transform`.
        """
        if asked is not None and (wait or not await asyncio.to_thread(self._at_once, query)):
            is_taught = partial(self._library.is_taught, force=self.force)
            with from_here():
                await self._fits.wait(filter(is_taught, check_instructions(asked)))

    def search(
        self,
        vector: ArrayLike,
        *,
        query: str | None = None,
        instruction: Instructions | None = None,
        k: int = 4,
        where: Where | None = None,
        where_document: Where | None = None,
        blend: float | None = None,
        prefetch: int | None = None,
        exact: bool = False,
        wait: bool = False,
        force: bool | None = None,
        judge: bool = True,
    ) -> list[Hit]:
        """The best rows for a query, best first.

        Args:
            vector: Generic vector of the query, shape (d,), from the model that filled the
                collection.
            query: Text of the query, for the instant query and the judge.
            instruction: Sentence that says in what respect rows should be similar; several with
                weights, `{"What is it about?": 0.7, "How urgent is it?": 0.3}`, are searched for
                at once; with examples, an `Instruction`; None is the plain generic search.
            k: Results wanted; fewer come back only where fewer rows pass the filters.
            where: Metadata filter.
            where_document: Filter on the stored text.
            blend: 0 gives the generic ranking, 1 the adapted one; None is what judged questions
                have chosen, 1 without any.
            prefetch: Candidates taken from the index, all of which are rescored: as many as there
                are rows give what `exact` gives. None takes as many as were measured to be enough,
                with a filter at least 600, and rescores the best of them.
            exact: Score every row instead of asking the index: of a copy in memory, or where that
                would take over 256 MB, in the cache folder of the user; see `ExactSearch`.
            wait: Wait for the fit of an instruction that is not known yet, rather than to let the
                instant query answer.
            force: As for the retriever, whose setting None takes.
            judge: Ask the judge of `feedback`, where there is one and the text of the query is
                known; scores then are similarities to which the judge's opinion is added.

        Raises:
            ConfigError: An argument is out of its range.
            GuideError: A transform has to be fitted and cannot be.
            CollectionError: The collection is empty, stale, or of another dimension.
            InvalidVectorsError: The query is a text, or a vector without a direction.
        """
        request = SearchRequest(
            k, where, where_document, blend, prefetch, exact, wait, force, judge
        )
        search = self._begin(vector, query, instruction, request)
        if not isinstance(search, JudgedSearch):
            return search
        while (question := search.question()) is not None:
            search.take(search.feedback.ask(question))
        return search.hits()

    async def asearch(
        self,
        vector: ArrayLike,
        *,
        query: str | None = None,
        instruction: Instructions | None = None,
        **options: Any,
    ) -> list[Hit]:
        """`search` by the same arguments, without blocking the event loop.

        Fits and judges are waited for without a thread of the event loop's pool, so that searches
        which need neither do not queue behind them.
        """
        request = SearchRequest(**options)
        with from_here():
            if self.guide is not None:  # without one nothing is fitted that could be waited for
                await self.aprepare(instruction, query=query, wait=request.wait)
            search = await asyncio.to_thread(self._begin, vector, query, instruction, request)
            if not isinstance(search, JudgedSearch):
                return search
            while (question := await asyncio.to_thread(search.question)) is not None:
                await asyncio.to_thread(search.take, await search.feedback.aask(question))
            return await asyncio.to_thread(search.hits)

    def evaluate(
        self,
        queries: Queries,
        relevant: Relevant,
        *,
        instruction: Instructions | Sequence[Instructions] | None,
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
            queries: As in `Questions`: vectors, or texts with `embed`.
            relevant: As in `Questions`: ids of the rows that answer each of them.
            instruction: The instruction, several with weights, or one of these for each question.
            k: Results looked at for each question.
            blends: Weights of the adapted score to try, above 0 and at most 1.
            where: As in `search`, as are the next three; questions whose relevant rows a filter
                leaves out are left out too.
            where_document: Filter on the stored text.
            prefetch: Candidates of the index.
            exact: Score every row.
            seed: Seed of the bootstrap.
            embed: Makes generic vectors of texts.

        Raises:
            ConfigError: An argument is out of its range, queries and relevant do not fit together,
                or no relevant row is in the collection.
            GuideError: A transform has to be fitted and cannot be.
            CollectionError: The collection is empty, stale, or of another dimension.
        """
        asked = Questions(queries, relevant, instruction, embed)
        instructions = asked.instructions()
        if self.guide is not None:  # several new instructions share one sample
            self._library.get(instructions)
        vectors = asked.vectors
        filters = {"where": where, "where_document": where_document}

        def find(question: Question, blend: float) -> list[str]:
            adapted: dict[str, Any] = {
                "query": question.text,
                "instruction": question.instruction,
                "blend": blend,
                "prefetch": prefetch,
                "exact": exact,
                "wait": self.guide is not None,
                "force": True,
            }
            options = filters | {"judge": False} | (adapted if blend else {})
            return [hit.id for hit in self.search(vectors[question.position], k=k, **options)]

        return measure(asked.items, self.collection, find, k=k, blends=blends, seed=seed, **filters)

    def refresh(self) -> None:
        """Forget the copy for exact searches; the next one reads the collection again."""
        self._everything.forget()

    def _begin(
        self,
        vector: ArrayLike,
        query: str | None,
        instruction: Instructions | None,
        request: SearchRequest,
    ) -> "list[Hit] | JudgedSearch":
        """The hits of a search; or what a judge has to be asked about first."""
        if not isinstance(query, str | None):
            raise ConfigError(
                f"query={query!r} is of type {type(query).__name__}, and the text of the query is "
                "wanted. Pass a string, or None where only its vector is known."
            )
        request.check(self.collection.capabilities)
        feedback = self.feedback if request.judge and query else None
        if instruction is None and feedback is None:
            return self._generic(vector, request)
        weights = {} if instruction is None else check_instructions(instruction)
        examples = examples_in(instruction)
        info = self.collection.info()
        moves = self._example_moves(examples, info) if examples else None
        unit = query_row(vector, info.dimension)
        learned, note = None, None
        if self._distiller is not None and len(weights) == 1:
            [alone] = weights
            learned = self._distiller.find(alone, info)
            note = partial(self._distiller.note, alone, info)
        if learned is not None and learned.report.skips:
            feedback = None
        directions = self._directions(weights, info)
        # A judge, and what one taught, need no transform.
        unjudged = feedback is None and learned is None
        rankers = self._rankers(weights, unit, query, info, request, fits=unjudged)
        plain = not directions and all(one.ranked_by == "generic" for one in rankers.values())
        if unjudged and moves is None and (plain or not rankers):
            return self._generic(vector, request, info)
        folded = self._fold(rankers, unit, info, request)
        if moves is not None:
            shift = moves.shift(examples, weights, rankers, unit, info, request.weight)
            folded = folded.moved(shift)
        if learned is not None:
            folded = folded.moved(np.float32(request.weight) * learned.move(unit[0]))
        rank = partial(self._rank, directions, request)
        if feedback is None or query is None:
            ranking = rank(folded, request.k)
            return ranking.hits(self.collection, folded.ranked_by, folded.reused)
        asked = "; ".join(_shown(text, weight) for text, weight in weights.items()) or None
        return JudgedSearch(feedback, self.collection, rank, folded, query, asked, request.k, note)

    def _find_moved(
        self, instruction: str, question: JudgedQuestion, move: FloatArray
    ) -> Sequence[str]:
        """Ids that answer a question, best first, with what was learned from a judge."""
        request = SearchRequest(_LEARNED_DEPTH, judge=False)
        weights, info = check_instructions(instruction), self.collection.info()
        unit = question.vector[None]
        rankers = self._rankers(weights, unit, question.query, info, request, fits=False)
        folded = self._fold(rankers, unit, info, request).moved(move)
        return self._rank(self._directions(weights, info), request, folded, request.k).ids

    def _fold(
        self,
        rankers: Mapping[str, WeightedRanker],
        unit: FloatArray,
        info: CollectionInfo,
        request: SearchRequest,
    ) -> FoldedQuery:
        """The query as it is ranked: the generic one, for a judge to move, where nothing does."""
        unmoved = [] if rankers else [WeightedRanker(self._unmoved(info), "generic")]
        return FoldedQuery([*rankers.values(), *unmoved], unit, request.weight)

    def _rank(
        self,
        directions: Sequence[Direction],
        request: SearchRequest,
        folded: FoldedQuery,
        k: int,
    ) -> Ranking:
        """The best `k` rows for a folded query, reordered by constraints."""
        request = request.wanting(k)
        cheap = self.collection.capabilities.cheap_vectors
        wanted = request.widened(CANDIDATES, cheap=cheap) if directions else request
        if request.exact:
            ranking = self._everything.rank(folded, wanted)
        else:
            ranking = rank_by_index(self.collection, folded, wanted, vectors=bool(directions))
        if not directions:
            return ranking
        return reorder(self.collection, ranking, directions, k=request.k, blend=request.weight)

    def _generic(
        self, vector: ArrayLike, request: SearchRequest, info: CollectionInfo | None = None
    ) -> list[Hit]:
        ranking = rank_generic(self.collection, query_numbers(vector), request, info)
        return ranking.hits(self.collection, "generic")

    def _rankers(
        self,
        weights: Mapping[str, float],
        unit: FloatArray,
        query: str | None,
        info: CollectionInfo,
        request: SearchRequest,
        *,
        fits: bool,
    ) -> dict[str, WeightedRanker]:
        """What ranks under each instruction: what was fitted and serves, or the instant query.

        Where `fits`, what can only be fitted is, or fails for want of a guide.
        """
        force = self.force if request.force is None else request.force
        known = {text: self._library.find(text, info) for text in weights}
        others = [text for text, one in known.items() if one is None or not (force or one.serves)]
        instant = self._at_once(query, info) if others else None
        taught = {text for text in others if self._library.is_taught(text, force=force)}
        missing = [text for text in others if known[text] is None and text in taught]
        fits = fits or self.guide is not None
        if missing and fits and (request.wait or instant is None):
            known |= dict(zip(missing, self._library.get(missing), strict=True))
        rankers: dict[str, WeightedRanker] = {}
        for text, weight in weights.items():
            one = known[text]
            if one is not None and (force or one.serves):
                blend = one.blend if request.blend is None else 1.0
                rankers[text] = WeightedRanker(one.transform, "fitted", blend, weight, one.reused)
                continue
            if text not in taught:
                self._library.warn_of_request(text, instant=instant is not None)
            if instant is not None and query is not None:
                if one is None and text in taught and self.guide is not None:
                    self._fits.start(text)
                ranker = instant.ranker(query, unit, text, info)
                rankers[text] = WeightedRanker(ranker, "instant", weight=weight)
            elif one is not None:
                rankers[text] = WeightedRanker(one.transform, "generic", 0.0, weight, one.reused)
        # Nothing ranks under the others, and with a blend of 0 every ranker is the generic one.
        for some in list(rankers.values())[:1]:
            for text, weight in weights.items():
                rankers.setdefault(text, WeightedRanker(some.ranker, "generic", 0.0, weight))
        return rankers

    def _example_moves(
        self, examples: Mapping[str, Instruction], info: CollectionInfo
    ) -> ExampleMoves:
        if self._examples is not None and self._reaching(info) is not None:
            return self._examples
        raise InstructionError(
            f"{next(iter(examples))!r:.60} carries examples, whose texts nothing can embed here. "
            "That takes an instant query which reaches the space of the collection. Pass "
            "instant=InstantQuery.from_pretrained(), or the sentence without examples."
        )

    def _unmoved(self, info: CollectionInfo) -> InstantRanker:
        """Ranks by the generic vector, so that a judge can move it."""
        if self._generic_ranker is None or self._generic_ranker.collection != info:
            self._generic_ranker = InstantRanker.unmoved(self.collection, info)
        return self._generic_ranker

    def _reaching(self, info: CollectionInfo | None = None) -> InstantAnswers | None:
        reaches = self._instant is not None and self._instant.reaches(info)
        return self._instant if reaches else None

    def _at_once(
        self, query: str | None, info: CollectionInfo | None = None
    ) -> InstantAnswers | None:
        """What answers a query without a fit; None where its text or the space is out of reach."""
        return None if query is None else self._reaching(info)

    def _directions(self, instructions: Iterable[str], info: CollectionInfo) -> list[Direction]:
        """What the constraints of instructions name.

        None without an instant query to embed it, and where vectors of candidates cannot be read.
        """
        if not self.collection.capabilities.vectors:
            return []
        found = [one for text in instructions for one in find_constraints(text)]
        answers = self._reaching(info) if found else None
        return [] if answers is None else answers.directions(list(dict.fromkeys(found)), info)


def _shown(instruction: str, weight: float) -> str:
    """An instruction as a judge reads it, with its weight among several."""
    return instruction if weight == 1.0 else f"{instruction} ({weight:.0%} of it)"
