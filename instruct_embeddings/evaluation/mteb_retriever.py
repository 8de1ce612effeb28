"""The instruction transform as a search model of mteb."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from instruct_embeddings._extras import require
from instruct_embeddings._types import FloatArray
from instruct_embeddings.config import FitConfig
from instruct_embeddings.encoder.encoder import InstructEncoder
from instruct_embeddings.encoder.files import BASE_MODEL, digest
from instruct_embeddings.errors import (
    ConfigError,
    GuideError,
    InstructionError,
    TransformWarning,
)
from instruct_embeddings.evaluation.arrays import ArrayCollection
from instruct_embeddings.evaluation.mteb_encoder import model_meta, row_inputs, task_instruction
from instruct_embeddings.guides.encoder import EncoderGuide
from instruct_embeddings.protocols import Guide
from instruct_embeddings.retrieval.retriever import InstructRetriever
from instruct_embeddings.transform.report import FitReport
from instruct_embeddings.transform.vectors import unit_rows

if TYPE_CHECKING:
    from datasets import Dataset
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.models import ModelMeta
    from mteb.types import EncodeKwargs

# Instructions that read a sample together.
_TOGETHER = 16
# A corpus of a few documents, or an instruction longer than the guide reads.
_CANNOT_TEACH = (GuideError, InstructionError)

_log = logging.getLogger(__name__)


class MtebRetriever:
    """Ranks generic vectors of a corpus, adapted to the instruction of each query.

        mteb.evaluate(MtebRetriever(), mteb.get_tasks(tasks=["Core17InstructionRetrieval"]))

    The corpus is embedded once, without an instruction. Each different instruction costs one fit
    on a sample of the corpus; queries then cost what they cost in `InstructRetriever`. Where a
    transform gains nothing on held-out rows, its queries are ranked by the generic vectors.

    Implements `mteb.SearchProtocol`, for tasks of retrieval and reranking.

    Attributes:
        reports: What was fitted since the last corpus was indexed, by instruction.
        unlearned: Why nothing could be fitted for an instruction: its queries are ranked by the
            generic vectors too.
        instructions_read: Instructions of queries so far.
        fallbacks: Those of them that were ranked by the generic vectors, of some corpus, and why.
    """

    def __init__(
        self,
        generic: InstructEncoder | None = None,
        guide: Guide | None = None,
        *,
        instructions: Mapping[str, str] | None = None,
        fit: FitConfig | None = None,
        force: bool = False,
    ) -> None:
        """Choose the parts; weights are loaded with the first corpus.

        Args:
            generic: Embeds corpus and queries, without an instruction; all-MiniLM-L6-v2 unless
                another is given.
            guide: What transforms learn from; None for the encoder that comes with the package.
            instructions: By task, type of task or side; see `mteb_encoder.task_instruction`.
            fit: How transforms are fitted.
            force: Use a transform even where it does not beat the generic vectors.
        """
        self.generic = generic or InstructEncoder.from_pretrained(BASE_MODEL)
        self.guide = guide or EncoderGuide()
        self.instructions = dict(instructions or {})
        self.fit = fit or FitConfig()
        self.force = force
        self.reports: dict[str, FitReport] = {}
        self.unlearned: dict[str, str] = {}
        self.instructions_read: set[str] = set()
        self.fallbacks: dict[str, str] = {}
        self._corpus: ArrayCollection | None = None
        self._engine: InstructRetriever | None = None

    @property
    def mteb_model_meta(self) -> "ModelMeta":
        """What mteb records: the name of the generic model, and a revision for all the parts."""
        parts = [self.generic.fingerprint(), self.guide.key, self.fit.to_dict(), self.force]
        revision = digest([*parts, sorted(self.instructions.items())])
        return model_meta(self.generic, revision, instructed=True, suffix="-transform")

    def index(self, corpus: "Dataset", *, encode_kwargs: "EncodeKwargs", **kwargs: Any) -> None:
        """Embed a corpus (`id`, `text`, perhaps `title`); what was indexed before is forgotten."""
        del kwargs
        texts, _ = row_inputs(corpus)
        self._corpus = ArrayCollection(list(corpus["id"]), self._embed(texts, encode_kwargs), texts)
        self._engine = InstructRetriever(self._corpus, self.guide, fit=self.fit, force=self.force)
        self.reports, self.unlearned = {}, {}

    def search(
        self,
        queries: "Dataset",
        *,
        task_metadata: "TaskMetadata",
        top_k: int,
        encode_kwargs: "EncodeKwargs",
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        **kwargs: Any,
    ) -> dict[str, dict[str, float]]:
        """Rank the corpus for each query (`id`, `text`, perhaps `instruction`).

        Args:
            queries: The queries.
            task_metadata: Of the task.
            top_k: Results wanted.
            encode_kwargs: `show_progress_bar` is read.
            top_ranked: Candidates of each query, which are all scored; None ranks the corpus.
            kwargs: Not read.

        Returns:
            Scores by query and document.

        Raises:
            ConfigError: Nothing was indexed.
        """
        del kwargs
        engine = self._indexed()
        side = require("mteb.types", extra="mteb").PromptType.query
        own = task_instruction(task_metadata, side, self.instructions)
        texts, given = row_inputs(queries)
        vectors = self._embed(texts, encode_kwargs)
        instructions = [text or own for text in given]
        read = list(dict.fromkeys(text for text in instructions if text))
        self.instructions_read.update(read)
        self._prepare(read)
        used = [None if text in self.unlearned else text for text in instructions]
        top = min(top_k, engine.collection.count())
        ranked: dict[str, dict[str, float]] = {}
        for query, vector, instruction in zip(queries["id"], vectors, used, strict=True):
            if top_ranked is None:
                hits = engine.search(vector, instruction=instruction, k=top)
                ranked[query] = {hit.id: hit.score for hit in hits}
            else:
                scores = self._candidates(vector, instruction, top_ranked.get(query, ()))
                ranked[query] = dict(list(scores)[:top_k])
        return ranked

    def _indexed(self) -> InstructRetriever:
        if self._engine is None:
            raise ConfigError("No corpus was indexed, so there is nothing to search. Call index().")
        return self._engine

    def _embed(self, texts: Sequence[str], encode_kwargs: "EncodeKwargs") -> FloatArray:
        bar = bool(encode_kwargs.get("show_progress_bar", False))
        return unit_rows(self.generic.encode(texts, show_progress=bar))

    def _prepare(self, instructions: Sequence[str]) -> None:
        """Fit what is missing; several instructions read a sample together."""
        engine = self._indexed()
        known = {*self.reports, *self.unlearned}
        missing = [text for text in instructions if text not in known]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TransformWarning)  # the reports say the same
            for start in range(0, len(missing), _TOGETHER):
                part = missing[start : start + _TOGETHER]
                # Where one of them cannot be fitted, it is found below.
                with suppress(*_CANNOT_TEACH):
                    engine.prepare(part)
                for text in part:
                    self._fit(engine, text)

    def _fit(self, engine: InstructRetriever, instruction: str) -> None:
        """Fit one; a task goes on without a transform that cannot be fitted."""
        try:
            transform = engine.transform(instruction)
            self.reports[instruction] = transform.report
            if not engine.uses(transform, instruction):
                self.fallbacks[instruction] = (
                    "its guide compares documents, and it requests something"
                    if transform.report.used
                    else "its transform gains nothing on held-out documents"
                )
        except _CANNOT_TEACH as exc:
            self.unlearned[instruction] = self.fallbacks[instruction] = str(exc)
            _log.warning("%r is ranked by generic vectors: %s", instruction, exc)

    def _candidates(
        self, vector: FloatArray, instruction: str | None, ids: Sequence[str]
    ) -> Iterator[tuple[str, float]]:
        """The candidates of one query with their scores, best first."""
        if self._corpus is None or not ids:
            return iter(())
        documents, query = self._corpus[ids], vector.reshape(1, -1)
        scores = documents @ query[0]
        if instruction is not None:
            transform = self._indexed().transform(instruction)
            if self._indexed().uses(transform, instruction):
                scores = transform.score(query, documents)
        order = np.argsort(-scores, kind="stable")
        return ((ids[position], float(scores[position])) for position in order)
