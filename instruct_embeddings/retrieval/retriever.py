"""Search a collection of generic vectors under an instruction."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from instruct_embeddings._types import Where
from instruct_embeddings.config import FitConfig
from instruct_embeddings.protocols import Guide, Rows, VectorCollection
from instruct_embeddings.retrieval.composition import Asked, Composition, Part, check_asked
from instruct_embeddings.retrieval.drift import Drift, find_drift
from instruct_embeddings.retrieval.exact import VectorCopy, fits_in_memory
from instruct_embeddings.retrieval.hits import Hit
from instruct_embeddings.retrieval.library import TransformLibrary
from instruct_embeddings.retrieval.parts import check_collection, check_guide, open_store
from instruct_embeddings.retrieval.ranking import (
    SearchRequest,
    index_cosines,
    rank_by_index,
    rank_exactly,
)
from instruct_embeddings.retrieval.reuse import Reuse
from instruct_embeddings.retrieval.sampling import read_pages
from instruct_embeddings.retrieval.waiting import SharedFits
from instruct_embeddings.transform.store import TransformStore
from instruct_embeddings.transform.transform import InstructionTransform
from instruct_embeddings.transform.vectors import index_query, query_numbers, query_row


class InstructRetriever:
    """Ranks the rows of one collection under any instruction.

    The first search under an instruction fits a transform from a sample of the collection; later
    ones reuse it, from memory or from the store. The collection itself is only read. Safe to share
    between threads: searches under known instructions never wait for a fit.
    """

    def __init__(
        self,
        collection: VectorCollection,
        guide: Guide | None = None,
        *,
        store: TransformStore | str | Path | None = None,
        fit: FitConfig | None = None,
        insist: bool = False,
        reuse: Reuse | None = None,
    ) -> None:
        """Put the parts together; nothing is read until the first search.

        Args:
            collection: The collection to search.
            guide: Teaches transforms; None limits searches to stored ones.
            store: `TransformStore` or folder where transforms are kept between processes; None
                keeps them in memory only.
            fit: How transforms are fitted.
            insist: Use a transform even where it does not beat the generic vectors.
            reuse: When the transform of another instruction serves; None for never.

        Raises:
            ConfigError: The collection, the guide or the store is something else.
        """
        check_collection(collection)
        check_guide(guide)
        kept = open_store(store)
        self._library = TransformLibrary(
            collection, guide, store=kept, fit=fit or FitConfig(), insist=insist, reuse=reuse
        )
        self._fits = SharedFits(self.transform, self._library.find)
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
    def store(self) -> TransformStore | None:
        """Where transforms are kept between processes; None keeps them in memory only."""
        return self._library.store

    @property
    def fit_config(self) -> FitConfig:
        """How transforms are fitted."""
        return self._library.fit_config

    @property
    def insist(self) -> bool:
        """Whether a transform is used that does not beat the generic vectors."""
        return self._library.insist

    @property
    def reuse(self) -> Reuse | None:
        """When the transform of another instruction serves; None for never."""
        return self._library.reuse

    def transform(self, instruction: str) -> InstructionTransform:
        """The transform of an instruction: from memory, from the store, or fitted now.

        Raises:
            GuideError: It has to be fitted, and there is no guide, or nothing to learn from.
            TransformMismatchError: There is no guide, and what is stored under the instruction
                belongs to another collection.
            EmptyCollectionError: The collection is empty.
        """
        return self._library.get(instruction)

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

    async def aprepare(self, asked: Asked | None) -> None:
        """Wait until instructions are fitted, without a thread of the event loop.

        Raises:
            GuideError, TransformMismatchError, EmptyCollectionError: See `transform`.
        """
        if asked is not None:
            await self._fits.wait(check_asked(asked))

    def search(
        self,
        vector: ArrayLike,
        *,
        instruction: Asked | None = None,
        k: int = 4,
        where: Where | None = None,
        where_document: Where | None = None,
        blend: float = 1.0,
        prefetch: int | None = None,
        exact: bool = False,
    ) -> list[Hit]:
        """The best rows for a query, best first.

        Args:
            vector: Generic vector of the query, shape (d,), from the model that filled the
                collection.
            instruction: Sentence that says in what respect rows should be similar; several with
                weights, `{"What is it about?": 0.7, "How urgent is it?": 0.3}`, are searched for
                at once; None is the plain generic search.
            k: Results wanted; fewer come back only where fewer rows pass the filters.
            where: Metadata filter.
            where_document: Filter on the stored text.
            blend: 0 gives the generic ranking, 1 the adapted one.
            prefetch: Candidates taken from the index before rescoring; None for the default.
            exact: Score every row instead of asking the index: of an in-memory copy, or where that
                would take over 256 MB, page by page, which reads the collection each time.

        Raises:
            ConfigError: `k`, `prefetch`, `blend` or `instruction` is out of its range.
            GuideError: A transform has to be fitted and cannot be.
            CollectionError: The collection is empty, stale, or of another dimension.
            InvalidVectorsError: The query is a text, or a vector without a direction.
        """
        request = SearchRequest(k, where, where_document, blend, prefetch)
        row = query_numbers(vector)
        if instruction is None:
            return self._generic(row, request)
        transform = self._composed(check_asked(instruction))
        if transform is None:
            return self._generic(row, request)
        query = query_row(row, transform.collection.dimension)
        if exact:
            ranked = rank_exactly(self._pages(where, where_document), transform, query, request)
        else:
            ranked = rank_by_index(self.collection, transform, query, request)
        return self._hits(ranked, adapted=True, reused=transform.reused)

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
        return self._hits(list(zip(found.ids, scores.tolist(), strict=True)), adapted=False)

    def _hits(
        self, ranked: Sequence[tuple[str, float]], *, adapted: bool, reused: tuple[str, ...] = ()
    ) -> list[Hit]:
        rows = self.collection.fetch([row for row, _ in ranked], records=True)
        scores = dict(ranked)
        return [
            Hit(row, scores[row], text, metadata, adapted, reused)
            for row, text, metadata in zip(rows.ids, rows.texts, rows.metadatas, strict=True)
        ]

    def _composed(self, asked: Mapping[str, float]) -> Composition | None:
        """The transforms asked for as one; None where none of them beats the generic vectors."""
        transforms = self._library.get_all(list(asked))
        parts = [
            Part(transform, weight, text, transform.report.helps or self.insist)
            for transform, (text, weight) in zip(transforms, asked.items(), strict=True)
        ]
        return Composition(tuple(parts)) if any(part.adapts for part in parts) else None

    def _pages(self, where: Where | None, where_document: Where | None) -> Iterator[Rows]:
        if fits_in_memory(self.collection):
            return self._current_copy().pages(self.collection, where, where_document)
        return read_pages(self.collection, where=where, where_document=where_document, vectors=True)

    def _current_copy(self) -> VectorCopy:
        with self._copying:
            if self._copy is None or not self._copy.is_current(self.collection):
                self._copy = VectorCopy.read(self.collection)
            return self._copy
