"""`InstructEncoder` as an encoder of mteb, and the instruction that a task is read under."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from instruct_embeddings._extras import require
from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder.encoder import InstructEncoder
from instruct_embeddings.encoder.files import digest
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.transform.vectors import unit_rows

if TYPE_CHECKING:
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.models import ModelMeta
    from mteb.types import Array, BatchedInput, PromptType
    from torch.utils.data import DataLoader

_OWNER = "instruct-embeddings"


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
        revision: str | None = None,
        *,
        device: str | None = None,
        instructions: Mapping[str, str] | None = None,
        instructed: bool = True,
    ) -> None:
        """Choose the encoder; its weights are loaded with the first texts.

        Args:
            model_name: An encoder, or a model as in `InstructEncoder.from_pretrained`; None means
                the one that comes with the package.
            revision: Of the model on the hub; not with an encoder.
            device: A torch device; not with an encoder.
            instructions: By task, type of task or side; see `task_instruction`.
            instructed: Whether instructions are read at all. Without them the encoder gives its
                generic embeddings: the baseline of the same model.

        Raises:
            ConfigError: A revision or a device is given with an encoder.
        """
        if not isinstance(model_name, InstructEncoder):
            model_name = InstructEncoder.from_pretrained(
                model_name, revision=revision, device=device
            )
        elif revision is not None or device is not None:
            raise ConfigError(
                f"revision={revision!r} and device={device!r} were given with an encoder. Leave "
                "them out, or pass the name of a model instead of the encoder."
            )
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
        texts, instructions = batch_inputs(inputs)
        own = task_instruction(task_metadata, prompt_type, self.instructions)
        groups: dict[str | None, list[int]] = {}
        for position, given in enumerate(instructions):
            groups.setdefault((given or own) if self.instructed else None, []).append(position)
        self.instructions_read |= {text for text in groups if text is not None}
        parts = [
            self.encoder.encode(
                [texts[position] for position in positions],
                instruction=text,
                show_progress=show_progress_bar,
            )
            for text, positions in groups.items()
        ]
        lengths = sorted({part.shape[1] for part in parts})
        if len(lengths) > 1:
            raise ConfigError(
                f"The model's embeddings have {lengths} dimensions with and without an "
                "instruction, so they cannot be compared. Give every text an instruction."
            )
        out = np.zeros((len(texts), *lengths), dtype=np.float32)
        for positions, part in zip(groups.values(), parts, strict=True):
            out[positions] = part
        return unit_rows(out)

    def similarity(self, embeddings1: "Array", embeddings2: "Array") -> "Array":
        """Cosines of all pairs, shapes (n, d) and (m, d) to (n, m)."""
        measures = require("mteb.similarity_functions", extra="mteb")
        cosines: Array = measures.cos_sim(embeddings1, embeddings2)
        return cosines

    def similarity_pairwise(self, embeddings1: "Array", embeddings2: "Array") -> "Array":
        """Cosines of the rows at the same positions, shapes (n, d) twice to (n,)."""
        measures = require("mteb.similarity_functions", extra="mteb")
        cosines: Array = measures.pairwise_cos_sim(embeddings1, embeddings2)
        return cosines


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


def row_inputs(rows: Iterable[Mapping[str, Any]]) -> tuple[list[str], list[str | None]]:
    """The same for documents or queries that mteb hands to a search model.

    Titles stand in front of the text of documents, as mteb puts them for encoders; the turns of a
    conversation become one text.
    """
    read = [(_text(row), row.get("instruction") or None) for row in rows]
    return [text for text, _ in read], [instruction for _, instruction in read]


def task_instruction(
    metadata: "TaskMetadata",
    prompt_type: "PromptType | None",
    instructions: Mapping[str, str],
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
    for key in _keys(metadata.name, metadata.type, side):
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

    Args:
        encoder: Whose embeddings are ranked.
        revision: Differs where vectors or rankings differ, so that cached results are not mixed.
        instructed: Whether instructions are read.
        suffix: Of the name, where rankings are not those of the encoder alone.

    Raises:
        MissingExtraError: mteb is not installed (extra `mteb`).
    """
    meta = require("mteb.models.model_meta", extra="mteb")
    # Only a name on the hub has an owner; the model may be a folder.
    parts = encoder.name.split("/")
    name = encoder.name if len(parts) == 2 else f"{_OWNER}/{parts[-1]}"
    made: ModelMeta = meta.ModelMeta.create_empty(
        overwrites={
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
    )
    return made


def _text(row: Mapping[str, Any]) -> str:
    text = row["text"]
    if isinstance(text, str):
        return f"{row.get('title') or ''} {text}".strip()
    turns = [
        turn if isinstance(turn, str) else f"{turn['role']}: {turn['content']}" for turn in text
    ]
    return "; ".join(turns)


def _keys(name: str, kind: str, side: str | None) -> Sequence[str]:
    if side is None:
        return name, kind
    if side == "document":
        return f"{name}-document", f"{kind}-document", "document"
    return f"{name}-{side}", name, f"{kind}-{side}", kind, side
