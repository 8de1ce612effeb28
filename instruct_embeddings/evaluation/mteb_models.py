"""The encoder and the instruction transform as models of mteb."""

import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from instruct_embeddings._extras import require
from instruct_embeddings._types import FloatArray
from instruct_embeddings.config import FitConfig
from instruct_embeddings.encoder.encoder import InstructEncoder
from instruct_embeddings.encoder.files import BASE_MODEL, digest
from instruct_embeddings.errors import ConfigError, GuideError, InstructionError, TransformWarning
from instruct_embeddings.guides.encoder import EncoderGuide
from instruct_embeddings.protocols import Guide
from instruct_embeddings.retrieval.retriever import InstructRetriever
from instruct_embeddings.testing import InMemoryCollection
from instruct_embeddings.transform.report import FitReport
from instruct_embeddings.transform.vectors import unit_rows

if TYPE_CHECKING:
    from datasets import Dataset
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.models import ModelMeta
    from mteb.types import Array, BatchedInput, EncodeKwargs, PromptType
    from torch.utils.data import DataLoader

_OWNER = "instruct-embeddings"
# Instructions that read a sample together.
_TOGETHER = 16
# A corpus of a few documents, or an instruction longer than the guide reads.
_CANNOT_TEACH = (GuideError, InstructionError)

_log = logging.getLogger(__name__)


class MtebEncoder:
    """Reads every text of a task under the instruction that belongs to it.

        mteb.evaluate(MtebEncoder(), mteb.get_tasks(tasks=["Core17InstructionRetrieval"]))

    An instruction of the query itself comes first (FollowIR, InstructIR, IFIR), then the mapping,
    then the prompt of the task. Documents are read without one unless the mapping says otherwise:
    an encoder reads them once for all queries. `MtebRetriever` adapts them to each instruction.

    Implements `mteb.EncoderProtocol`.

    Attributes:
        instructions_read: Instructions that texts were read under so far.
    """

    def __init__(
        self,
        model_name: str | InstructEncoder | None = None,
        *,
        instructions: Mapping[str, str] | None = None,
        instructed: bool = True,
    ) -> None:
        """Choose the encoder; its weights are loaded with the first texts.

        Args:
            model_name: An encoder, or a model as in `InstructEncoder.from_pretrained`; None means
                the one that comes with the package.
            instructions: By task, type of task or side; see `task_instruction`.
            instructed: Whether instructions are read at all. Without them the encoder gives its
                generic embeddings: the baseline of the same model.
        """
        if not isinstance(model_name, InstructEncoder):
            model_name = InstructEncoder.from_pretrained(model_name)
        self.encoder = model_name
        self.instructions = dict(instructions or {})
        self.instructed = instructed
        self.instructions_read: set[str] = set()

    @property
    def mteb_model_meta(self) -> "ModelMeta":
        """What mteb records: the name of the model, and a revision that its vectors depend on."""
        under = "mteb" if self.instructed else None
        parts = [self.encoder.fingerprint(instruction=under), sorted(self.instructions.items())]
        return model_meta(self.encoder, digest(parts), instructed=self.instructed)

    def encode(
        self,
        inputs: "DataLoader[BatchedInput]",
        *,
        task_metadata: "TaskMetadata",
        prompt_type: "PromptType | None" = None,
        show_progress_bar: bool = False,
        **kwargs: Any,
    ) -> FloatArray:
        """Embed the texts of mteb's batches: unit rows, shape (n, dimension), float32.

        `prompt_type` says whether they are queries or documents; None where there are no two sides.
        Batch sizes and splits are not read.
        """
        del kwargs
        texts, given = batch_inputs(inputs)
        own = task_instruction(task_metadata, prompt_type, self.instructions)
        groups: dict[str | None, list[int]] = {}
        for position, one in enumerate(given):
            groups.setdefault((one or own) if self.instructed else None, []).append(position)
        self.instructions_read.update(filter(None, groups))
        found: dict[int, FloatArray] = {}
        for instruction, positions in groups.items():
            part = self.encoder.encode(
                [texts[position] for position in positions],
                instruction=instruction,
                show_progress=show_progress_bar,
            )
            found |= zip(positions, part, strict=True)
        lengths = sorted({len(row) for row in found.values()})
        if len(lengths) > 1:
            raise ConfigError(
                f"The model's embeddings have {lengths} dimensions with and without an "
                "instruction, so they cannot be compared. Give every text an instruction."
            )
        return unit_rows(np.stack([found[position] for position in range(len(texts))]))

    def similarity(self, embeddings1: "Array", embeddings2: "Array") -> Any:
        """Cosines of all pairs, shapes (n, d) and (m, d) to (n, m)."""
        measures = require("mteb.similarity_functions", extra="mteb")
        return measures.cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: "Array", embeddings2: "Array") -> Any:
        """Cosines of the rows at the same positions, shapes (n, d) twice to (n,)."""
        measures = require("mteb.similarity_functions", extra="mteb")
        return measures.pairwise_cos_sim(embeddings1, embeddings2)


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
            instructions: By task, type of task or side; see `task_instruction`.
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
        self._engine: InstructRetriever | None = None

    @property
    def mteb_model_meta(self) -> "ModelMeta":
        """What mteb records: the name of the generic model, and a revision for all the parts."""
        parts = [self.generic.fingerprint(), self.guide.key, self.fit.to_dict(), self.force]
        revision = digest([*parts, sorted(self.instructions.items())])
        return model_meta(self.generic, revision, instructed=True, suffix="-transform")

    def index(
        self,
        corpus: "Dataset",
        *,
        task_metadata: "TaskMetadata",
        encode_kwargs: "EncodeKwargs",
        **kwargs: Any,
    ) -> None:
        """Embed a corpus (`id`, `text`, perhaps `title`); what was indexed before is forgotten."""
        del kwargs
        side = require("mteb.types", extra="mteb").PromptType.document
        texts, _, vectors = self._embed(corpus, task_metadata, side, encode_kwargs)
        collection = InMemoryCollection(vectors, ids=list(corpus["id"]), texts=texts)
        self._engine = InstructRetriever(collection, self.guide, fit=self.fit, force=self.force)
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

        `top_ranked` holds the candidates of each query, which are all scored; None ranks the
        corpus. Scores come back by query and document.

        Raises:
            ConfigError: Nothing was indexed.
        """
        del kwargs
        if self._engine is None:
            raise ConfigError("No corpus was indexed, so there is nothing to search. Call index().")
        engine = self._engine
        side = require("mteb.types", extra="mteb").PromptType.query
        _, given, vectors = self._embed(queries, task_metadata, side, encode_kwargs)
        own = task_instruction(task_metadata, side, self.instructions)
        read = [text or own for text in given]
        self.instructions_read.update(filter(None, read))
        self._prepare(engine, list(dict.fromkeys(filter(None, read))))
        top = min(top_k, engine.collection.count())
        ranked: dict[str, dict[str, float]] = {}
        for query, vector, text in zip(queries["id"], vectors, read, strict=True):
            instruction = None if text in self.unlearned else text
            if top_ranked is None:
                hits = engine.search(vector, instruction=instruction, k=top)
                ranked[query] = {hit.id: hit.score for hit in hits}
            else:
                scores = _scored(engine, vector, instruction, top_ranked.get(query, ()))
                ranked[query] = dict(scores[:top_k])
        return ranked

    def _embed(
        self,
        rows: "Dataset",
        metadata: "TaskMetadata",
        side: "PromptType",
        encode_kwargs: "EncodeKwargs",
    ) -> tuple[list[str], list[str | None], FloatArray]:
        """Texts as mteb hands them to encoders, their instructions and generic vectors."""
        loaders = require("mteb._create_dataloaders", extra="mteb")
        options = dict(encode_kwargs)
        bar = bool(options.pop("show_progress_bar", False))
        texts, instructions = batch_inputs(
            loaders.create_dataloader(rows, task_metadata=metadata, prompt_type=side, **options)
        )
        return texts, instructions, unit_rows(self.generic.encode(texts, show_progress=bar))

    def _prepare(self, engine: InstructRetriever, instructions: Sequence[str]) -> None:
        """Fit what is missing; a task goes on without a transform that cannot be fitted."""
        known = {*self.reports, *self.unlearned}
        missing = [text for text in instructions if text not in known]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TransformWarning)  # the reports say the same
            for start in range(0, len(missing), _TOGETHER):
                part = missing[start : start + _TOGETHER]
                # Several read a sample together; where one cannot be fitted, it is found below.
                with suppress(*_CANNOT_TEACH):
                    engine.prepare(part)
                for text in part:
                    try:
                        transform = engine.transform(text)
                    except _CANNOT_TEACH as exc:
                        self.unlearned[text] = self.fallbacks[text] = str(exc)
                        _log.warning("%r is ranked by generic vectors: %s", text, exc)
                        continue
                    self.reports[text] = transform.report
                    if not engine.uses(transform, text):
                        self.fallbacks[text] = (
                            "its guide compares documents, and it requests something"
                            if transform.report.used
                            else "its transform gains nothing on held-out documents"
                        )


def batch_inputs(batches: Iterable[Mapping[str, Any]]) -> tuple[list[str], list[str | None]]:
    """Texts that mteb hands to an encoder, without instructions, and the instruction of each.

    In batches of queries `text` holds query and instruction joined, `query` the query alone.
    """
    texts: list[str] = []
    instructions: list[str | None] = []
    for batch in batches:
        own = list(batch["query"] if "instruction" in batch else batch["text"])
        texts += own
        instructions += [text or None for text in batch.get("instruction", [None] * len(own))]
    return texts, instructions


def task_instruction(
    metadata: "TaskMetadata", prompt_type: "PromptType | None", instructions: Mapping[str, str]
) -> str | None:
    """The instruction of a task, for one side of it.

    Args:
        metadata: Of the task.
        prompt_type: Queries or documents; None where there are no two sides.
        instructions: By name as mteb names prompts, the first that is there: `<task>-query`,
            `<task>`, `<type>-query`, `<type>`, `query`; likewise with `document`. A task or a type
            alone does not speak for documents. An empty text means no instruction.

    Returns:
        What `instructions` says, else the prompt of the task itself; None for neither.
    """
    side = prompt_type.value if prompt_type else None
    keys = [metadata.name, metadata.type]
    if side is not None:
        alone = side != "document"
        keys = [key for name in keys for key in (f"{name}-{side}", *[name] * alone)] + [side]
    for key in keys:
        if key in instructions:
            return instructions[key] or None
    prompt: Any = metadata.prompt
    if isinstance(prompt, Mapping):
        return (prompt.get(side) if side else None) or None
    return None if side == "document" else prompt or None


def model_meta(
    encoder: InstructEncoder, revision: str, *, instructed: bool, suffix: str = ""
) -> "ModelMeta":
    """What mteb records about one of our models.

    The revision differs where vectors or rankings do, so that cached results are not mixed; the
    name has a suffix where rankings are not those of the encoder alone.
    """
    meta = require("mteb.models.model_meta", extra="mteb")
    # Only a name on the hub has an owner; the model may be a folder.
    parts = encoder.name.split("/")
    name = encoder.name if len(parts) == 2 else f"{_OWNER}/{parts[-1]}"
    known = {
        "name": f"{name}{suffix}",
        "revision": revision,
        "languages": ["eng-Latn"],
        "max_tokens": encoder.max_tokens,
        "embed_dim": encoder.dimension,
        "framework": ["PyTorch", "Transformers"],
        "similarity_fn_name": meta.ScoringFunction.COSINE,
        "use_instructions": instructed,
        "modalities": ["text"],
    }
    made: ModelMeta = meta.ModelMeta.create_empty(overwrites=known)
    return made


def _scored(
    engine: InstructRetriever, vector: FloatArray, instruction: str | None, ids: Sequence[str]
) -> list[tuple[str, float]]:
    """The candidates of one query with their scores, best first."""
    rows = engine.collection.fetch(ids, vectors=True)
    scores = rows.vectors @ vector
    if instruction is not None and ids:
        transform = engine.transform(instruction)
        if engine.uses(transform, instruction):
            scores = transform.score(vector[None], rows.vectors)
    order = np.argsort(-scores, kind="stable")
    return [(rows.ids[position], float(scores[position])) for position in order]
