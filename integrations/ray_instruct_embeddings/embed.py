"""`EmbedTexts`: a column of texts becomes a column of embeddings."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from typing_extensions import Unpack

from instruct_embeddings.config import at_least
from instruct_embeddings.encoder import InstructEncoder
from instruct_embeddings.encoder.options import EncoderArguments
from instruct_embeddings.errors import ConfigError
from ray_instruct_embeddings import batches
from ray_instruct_embeddings.batches import Batch


class EmbedTexts:
    """Embeds the texts of each batch, by one encoder an actor.

    For `Dataset.map_batches`, with any `batch_format`. Weights are loaded in the actor, with its
    first batch. Matrix kernels run on as many threads as the actor has CPUs: with more, the actors
    of a machine wait for each other.

        dataset.map_batches(
            EmbedTexts,
            fn_constructor_kwargs={"instruction": "What is it about?"},
            batch_size=512, num_cpus=2, compute=ray.data.ActorPoolStrategy(size=4),
        )

    It can be pickled; the copy loads again.

    Args:
        model: As of `InstructEncoder.from_pretrained`. Each machine needs a local folder at the
            same path.
        text_column: Texts.
        vector_column: Where the embeddings go, shape (n, dimension); a column of that name is
            replaced.
        instruction: One sentence for all texts; None for generic embeddings.
        instruction_column: Sentences, row by row; where there is none, the embedding is generic.
        threads: Of torch and BLAS; by default the CPUs of the actor. Outside of an actor they are
            left as they are.
        options: Of `InstructEncoder.from_pretrained`.

    Raises:
        ConfigError: An option is out of its range, or both kinds of instructions are given.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        text_column: str = "text",
        vector_column: str = "embedding",
        instruction: str | None = None,
        instruction_column: str | None = None,
        threads: int | None = None,
        **options: Unpack[EncoderArguments],
    ) -> None:
        if instruction is not None and instruction_column is not None:
            raise ConfigError(
                f"instruction={instruction!r} and instruction_column={instruction_column!r} are "
                "both given. Pass one sentence for all texts, or a column of them."
            )
        self.encoder = InstructEncoder.from_pretrained(model, **options)
        self.text_column, self.vector_column = text_column, vector_column
        self.instruction, self.instruction_column = instruction, instruction_column
        self.threads = at_least("threads", threads, 1)
        self._pinned = False

    def __call__(self, batch: Batch) -> Batch:
        """The batch with the column of embeddings.

        Raises:
            ConfigError: A column is missing, or some embeddings of the batch have another length.
            TypeError: A text is missing or no text.
            EncoderError: The model cannot be loaded.
        """
        if not self._pinned:
            _pin(self.threads or cpus_of_actor())
            self._pinned = True
        texts = batches.values(batch, self.text_column)
        return batches.with_vectors(batch, self.vector_column, self._encode(batch, texts))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pinned": False}

    def _encode(self, batch: Batch, texts: list[str]) -> NDArray[Any]:
        if self.instruction_column is None:
            return self.encoder.encode(texts, instruction=self.instruction)
        groups: dict[Hashable, list[int]] = {}
        for place, given in enumerate(batches.values(batch, self.instruction_column)):
            groups.setdefault(None if batches.is_missing(given) else given, []).append(place)
        if not groups:
            return self.encoder.encode(texts)
        parts = [
            self.encoder.encode([texts[place] for place in places], instruction=sentence)  # type: ignore[arg-type]
            for sentence, places in groups.items()
        ]
        if len({part.shape[1] for part in parts}) > 1:
            raise ConfigError(
                "Generic embeddings and those under an instruction have other lengths with this "
                "model, and do not fit into one column. Give every row an instruction, or none."
            )
        order = np.argsort([place for places in groups.values() for place in places])
        return np.concatenate(parts)[order]


def cpus_of_actor() -> int | None:
    """How many CPUs Ray gave to this actor or task, at least 1; None outside of one."""
    if not in_worker():
        return None
    context: Any = ray.get_runtime_context()
    given = context.get_assigned_resources().get("CPU", 1)
    return max(1, int(given))


def in_worker() -> bool:
    """Whether this code runs in an actor or a task of Ray."""
    return ray.is_initialized() and ray.get_runtime_context().get_task_id() is not None


def _pin(threads: int | None) -> None:
    if threads is None:
        return
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    threadpool_limits(limits=threads)
