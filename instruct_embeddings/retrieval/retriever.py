"""Search a collection of generic vectors under an instruction."""

import logging
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from instruct_embeddings._types import FloatArray, Where
from instruct_embeddings.config import FitConfig, check_instruction, normalise_instruction
from instruct_embeddings.errors import (
    ArtefactError,
    GuideError,
    TransformMismatchError,
    TransformWarning,
)
from instruct_embeddings.guides.by_instruction import GuideByInstruction
from instruct_embeddings.protocols import Guide, VectorCollection
from instruct_embeddings.retrieval.exact import VectorCopy
from instruct_embeddings.retrieval.hits import Hit
from instruct_embeddings.retrieval.ranking import (
    SearchRequest,
    index_cosines,
    rank_by_index,
    rank_exactly,
)
from instruct_embeddings.retrieval.sampling import sample_rows
from instruct_embeddings.supervision import Labels, Supervision
from instruct_embeddings.transform.fit import fit_transform
from instruct_embeddings.transform.store import TransformStore
from instruct_embeddings.transform.transform import InstructionTransform
from instruct_embeddings.transform.vectors import query_row

# Where fewer of the sampled rows carry a label, several times as many are judged.
_SPARSE = 0.3
_SPARSE_FACTOR = 4

_log = logging.getLogger(__name__)


class InstructRetriever:
    """Ranks the rows of one collection under any instruction.

    The first search under an instruction fits a transform from a sample of the collection; later
    ones reuse it, from memory or from the store. The collection itself is only read. Safe to share
    between threads: searches under known instructions never wait for a fit.

    Attributes:
        collection: The collection searched.
        guide: Teaches transforms; None limits searches to stored ones.
        store: Where transforms are kept between processes; None keeps them in memory only.
        fit_config: How transforms are fitted.
        insist: Use a transform even where it does not beat the generic vectors.
    """

    def __init__(
        self,
        collection: VectorCollection,
        guide: Guide | None = None,
        *,
        store: TransformStore | None = None,
        fit: FitConfig | None = None,
        insist: bool = False,
    ) -> None:
        """Put the parts together; nothing is read until the first search."""
        self.collection = collection
        self.guide = guide
        self.store = store
        self.fit_config = fit or FitConfig()
        self.insist = insist
        self._transforms: dict[tuple[str, str], InstructionTransform] = {}
        self._fitting: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)
        self._copy: VectorCopy | None = None
        self._copying = threading.Lock()

    def transform(self, instruction: str) -> InstructionTransform:
        """The transform of an instruction: from memory, from the store, or fitted now.

        Raises:
            GuideError: It has to be fitted, and there is no guide, or nothing to learn from.
            TransformMismatchError: There is no guide, and what is stored under the instruction
                belongs to another collection.
            EmptyCollectionError: The collection is empty.
        """
        key = self._key(instruction)
        known = self._transforms.get(key)
        if known is not None:
            return known
        with self._fitting[key]:
            known = self._transforms.get(key) or self._stored(instruction)
            return self._remember(key, known or self._fit(instruction))

    def refit(self, instruction: str) -> InstructionTransform:
        """Fit again from a fresh sample and replace what is known and stored."""
        key = self._key(instruction)
        with self._fitting[key]:
            return self._remember(key, self._fit(instruction))

    def search(
        self,
        vector: ArrayLike,
        *,
        instruction: str | None = None,
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
            instruction: Sentence that says in what respect rows should be similar; None is the
                plain generic search.
            k: Results wanted; fewer come back only where fewer rows pass the filters.
            where: Metadata filter.
            where_document: Filter on the stored text.
            blend: 0 gives the generic ranking, 1 the adapted one.
            prefetch: Candidates taken from the index before rescoring; None for the default.
            exact: Score every row of an in-memory copy instead of asking the index.

        Raises:
            ConfigError: `k`, `prefetch`, `blend` or `instruction` is out of its range.
            GuideError: A transform has to be fitted and cannot be.
            CollectionError: The collection is empty, stale, or of another dimension.
        """
        request = SearchRequest(k, where, where_document, blend, prefetch)
        if instruction is None:
            return self._generic(vector, request)
        transform = self.transform(instruction)
        if not (transform.report.helps or self.insist):
            return self._generic(vector, request)
        query = query_row(vector, transform.collection.dimension)
        if exact:
            ranked = rank_exactly(self._current_copy(), self.collection, transform, query, request)
        else:
            ranked = rank_by_index(self.collection, transform, query, request)
        return self._hits(ranked, adapted=True)

    def refresh(self) -> None:
        """Forget the in-memory copy of exact searches; the next one reads the collection again."""
        with self._copying:
            self._copy = None

    def _generic(self, vector: ArrayLike, request: SearchRequest) -> list[Hit]:
        row = np.asarray(vector, dtype=np.float32).ravel()
        found = self.collection.search(
            row, k=request.k, where=request.where, where_document=request.where_document
        )
        if not len(found):
            return []
        length = float(np.linalg.norm(row)) or 1.0
        scores = index_cosines(found.scores, self.collection.info().space, length)
        return self._hits(list(zip(found.ids, scores.tolist(), strict=True)), adapted=False)

    def _hits(self, ranked: Sequence[tuple[str, float]], *, adapted: bool) -> list[Hit]:
        rows = self.collection.fetch([row for row, _ in ranked], records=True)
        scores = dict(ranked)
        return [
            Hit(row, scores[row], text, metadata, adapted)
            for row, text, metadata in zip(rows.ids, rows.texts, rows.metadatas, strict=True)
        ]

    def _guide_for(self, instruction: str) -> Guide | None:
        if isinstance(self.guide, GuideByInstruction):
            return self.guide.choose(instruction)
        return self.guide

    def _key(self, instruction: str) -> tuple[str, str]:
        return normalise_instruction(instruction), self.collection.info().fingerprint

    def _remember(
        self, key: tuple[str, str], transform: InstructionTransform
    ) -> InstructionTransform:
        self._transforms[key] = transform
        return transform

    def _stored(self, instruction: str) -> InstructionTransform | None:
        if self.store is None:
            return None
        guide, info = self._guide_for(instruction), self.collection.info()
        try:
            if guide is not None:
                return self.store.find(instruction, guide.key, info)
        except ArtefactError as exc:
            _log.warning("A stored transform cannot be used and is fitted again: %s", exc)
            return None
        return self._stored_by_any_guide(self.store, instruction)

    def _stored_by_any_guide(
        self, store: TransformStore, instruction: str
    ) -> InstructionTransform | None:
        """Without a guide the newest stored transform of the instruction serves."""
        wanted, info = normalise_instruction(instruction), self.collection.info()
        asked = [
            summary
            for summary in store.summaries()
            if summary.problem is None and normalise_instruction(summary.instruction) == wanted
        ]
        matching = [summary for summary in asked if summary.collection == info]
        if asked and not matching:
            raise TransformMismatchError(
                f"The stored transforms of {instruction!r} belong to {asked[0].collection}, not to "
                f"{info}. A transform fits only the vectors it learned from. Pass a guide to fit "
                "one for this collection."
            )
        if not matching:
            return None
        return store.get(max(matching, key=lambda summary: summary.created).key)

    def _fit(self, instruction: str) -> InstructionTransform:
        guide = self._guide_for(instruction)
        if guide is None:
            raise GuideError(
                f"There is no stored transform for {check_instruction(instruction)!r} and no guide "
                'to fit one. Pass a guide, for example MetadataGuide("language").'
            )
        started = time.perf_counter()
        vectors, supervision = self._learn_from(guide, instruction)
        fitted = fit_transform(
            vectors,
            supervision,
            instruction=instruction,
            guide=guide.key,
            collection=self.collection.info(),
            config=self.fit_config,
            started=started,
        )
        if not (fitted.report.helps or self.insist):
            warnings.warn(
                f"Instruction {fitted.instruction!r}: {fitted.report}",
                TransformWarning,
                stacklevel=5,
            )
        if self.store is not None:
            self.store.put(fitted)
        return fitted

    def _learn_from(self, guide: Guide, instruction: str) -> tuple[FloatArray, Supervision]:
        """Vectors of a sample with what the guide says; of the reserve too where it says little."""
        size, seed = self.fit_config.sample_size, self.fit_config.seed
        # Places cost time, rows at a place cost little: the reserve is read along.
        rows = sample_rows(self.collection, _SPARSE_FACTOR * size, seed=seed, ids=guide.ids())
        sample = rows.take(np.sort(np.random.default_rng(seed).permutation(len(rows))[:size]))
        supervision = guide.judge(instruction, sample)
        sparse = isinstance(supervision, Labels) and supervision.judged.mean() < _SPARSE
        if sparse and len(rows) > len(sample):
            return rows.vectors, guide.judge(instruction, rows)
        return sample.vectors, supervision

    def _current_copy(self) -> VectorCopy:
        with self._copying:
            if self._copy is None or not self._copy.is_current(self.collection):
                self._copy = VectorCopy.read(self.collection)
            return self._copy
