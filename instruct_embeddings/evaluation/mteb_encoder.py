"""`InstructEncoder` as an encoder of mteb."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from instruct_embeddings._extras import require
from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder.encoder import InstructEncoder
from instruct_embeddings.encoder.fingerprint import digest
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.evaluation.mteb_instructions import TaskInputs, task_instruction
from instruct_embeddings.evaluation.mteb_meta import model_meta
from instruct_embeddings.transform.vectors import unit_rows

if TYPE_CHECKING:
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.models import ModelMeta
    from mteb.types import Array, BatchedInput, PromptType
    from torch.utils.data import DataLoader


class MtebEncoder:
    """Reads every text of a task under the instruction that belongs to it.

        mteb.evaluate(MtebEncoder(), mteb.get_tasks(tasks=["Core17InstructionRetrieval"]))

    An instruction of the query itself comes first (FollowIR, InstructIR, IFIR), then the mapping,
    then the prompt of the task. Documents are read without one unless the mapping says otherwise:
    an encoder reads them once for all queries. `MtebRetriever` adapts them to each instruction.

    Implements `mteb.EncoderProtocol`.

    Attributes:
        asked: Instructions that texts were read under so far.
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
            instructions: By task, type of task or side; see `mteb_instructions.task_instruction`.
            instructed: Whether instructions are read at all. Without them the encoder gives its
                generic embeddings: the baseline of the same model.

        Raises:
            ConfigError: A revision or a device is given with an encoder.
        """
        if isinstance(model_name, InstructEncoder):
            if revision is not None or device is not None:
                raise ConfigError(
                    f"revision={revision!r} and device={device!r} were given with an encoder. "
                    "Leave them out, or pass the name of a model instead of the encoder."
                )
            self.encoder = model_name
        else:
            self.encoder = InstructEncoder.from_pretrained(
                model_name, revision=revision, device=device
            )
        self.instructions = dict(instructions or {})
        self.instructed = instructed
        self.asked: set[str] = set()

    @property
    def mteb_model_meta(self) -> "ModelMeta":
        """What mteb records: the name of the model, and a revision that its vectors depend on."""
        under = "mteb" if self.instructed else None
        shape = [self.encoder.fingerprint(instruction=under), sorted(self.instructions.items())]
        return model_meta(
            self.encoder, revision=digest(shape), instructed=self.instructed, kind="encoder"
        )

    def encode(
        self,
        inputs: "DataLoader[BatchedInput]",
        *,
        task_metadata: "TaskMetadata",
        hf_split: str,
        hf_subset: str,
        prompt_type: "PromptType | None" = None,
        show_progress_bar: bool = False,
        **kwargs: Any,
    ) -> FloatArray:
        """Embed the texts of some batches.

        Args:
            inputs: Batches of mteb.
            task_metadata: Of the task.
            hf_split: Not read.
            hf_subset: Not read.
            prompt_type: Queries or documents; None where there are no two sides.
            show_progress_bar: Show a bar on stderr.
            kwargs: Not read. The encoder sizes its batches itself.

        Returns:
            Unit rows, shape (n, dimension), float32.
        """
        del hf_split, hf_subset, kwargs
        found = TaskInputs.of_batches(inputs)
        if self.instructed:
            own = task_instruction(task_metadata, prompt_type, self.instructions)
            found = found.under(own)
        groups = found.grouped() if self.instructed else {None: list(range(len(found.texts)))}
        self.asked |= {text for text in groups if text is not None}
        parts = {
            text: self.encoder.encode(
                [found.texts[place] for place in places],
                instruction=text,
                show_progress=show_progress_bar,
            )
            for text, places in groups.items()
        }
        out = np.zeros((len(found.texts), _dimension(parts)), dtype=np.float32)
        for text, places in groups.items():
            out[places] = parts[text]
        return unit_rows(out)

    def similarity(self, embeddings1: "Array", embeddings2: "Array") -> "Array":
        """Cosines of all pairs, shapes (n, d) and (m, d) to (n, m)."""
        measures = require("mteb.similarity_functions", extra="mteb")
        cosines: Array = measures.cos_sim(embeddings1, embeddings2)
        return cosines

    def similarity_pairwise(self, embeddings1: "Array", embeddings2: "Array") -> "Array":
        """Cosines of the rows at the same places, shapes (n, d) twice to (n,)."""
        measures = require("mteb.similarity_functions", extra="mteb")
        cosines: Array = measures.pairwise_cos_sim(embeddings1, embeddings2)
        return cosines


def _dimension(parts: Mapping[str | None, FloatArray]) -> int:
    lengths = {part.shape[1] for part in parts.values()}
    if len(lengths) > 1:
        raise ConfigError(
            f"The model's embeddings have {sorted(lengths)} dimensions with and without an "
            "instruction, so they cannot be compared. Give every text an instruction."
        )
    return lengths.pop() if lengths else 0
