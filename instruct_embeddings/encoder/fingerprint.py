"""Which embeddings belong together: fingerprints for caches, records for collections."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from instruct_embeddings._printable import printed
from instruct_embeddings.encoder.files import Location, digest
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.source import ModelSource
from instruct_embeddings.errors import CollectionMismatchError

_KEY = "instruct_embeddings:"


@dataclass(frozen=True)
class EmbeddingRecord:
    """What a collection remembers of the embeddings that fill it.

    Attributes:
        model: Name of the model.
        instruction: Instruction under which documents were embedded; None for generic embeddings.
        dimension: Their length.
        fingerprint: Equal where embeddings can be compared: the same model, adapter, instruction
            and shape. The type of the arithmetic and the device do not count.
    """

    model: str
    instruction: str | None
    dimension: int
    fingerprint: str

    def to_metadata(self) -> dict[str, str | int]:
        """Plain values, as collections hold them."""
        return {_KEY + name: value or "" for name, value in asdict(self).items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any] | None) -> "EmbeddingRecord | None":
        """The reverse of `to_metadata`; None where nothing was recorded."""
        found: list[Any] = [(metadata or {}).get(_KEY + field.name) for field in fields(cls)]
        if None in found:
            return None
        model, instruction, dimension, fingerprint = found
        return cls(str(model), str(instruction) or None, int(dimension), str(fingerprint))

    def check(self, other: "EmbeddingRecord", collection: str) -> None:
        """Refuse to mix embeddings.

        Args:
            other: Of the encoder at hand; `self` is what the collection recorded.
            collection: Name of the collection, for the message.

        Raises:
            CollectionMismatchError: They cannot be compared; the message names both.
        """
        if self.fingerprint == other.fingerprint and self.dimension == other.dimension:
            return
        raise CollectionMismatchError(
            f"The collection {collection!r} was filled with {self}, and the encoder at hand is "
            f"{other}. Their vectors cannot be compared. Open it with the model and instruction "
            "that filled it, or fill another collection."
        )

    @printed
    def __str__(self) -> str:
        """Model, instruction and dimension in words; a piece of the fingerprint tells versions."""
        under = "no instruction" if self.instruction is None else f"{self.instruction!r}"
        return f"{self.model!r} under {under} ({self.dimension} dimensions, {self.fingerprint[:8]})"


def record_of(
    source: ModelSource, options: EncoderOptions, instruction: str | None
) -> EmbeddingRecord:
    """What a collection remembers of embeddings of a model under the options of an encoder.

    Generic embeddings are those of the backbone: there a checkpoint, its adapter and refinement do
    not count.
    """
    return EmbeddingRecord(
        (source.base if instruction is None else source.model).name,
        instruction,
        _dimension(source, options, instruction),
        digest([_space(source, options, instruction), instruction]),
    )


def cache_namespace(
    source: ModelSource, options: EncoderOptions, instruction: str | None, role: str
) -> str:
    """A string for caches of the same embeddings, as of documents or queries."""
    details = {"role": role, "dtype": options.dtype, "tokens": options.max_tokens}
    return digest([_space(source, options, instruction), instruction, details])


def _space(source: ModelSource, options: EncoderOptions, instruction: str | None) -> dict[str, Any]:
    settings = source.settings
    # A backbone inside a checkpoint is as old as the checkpoint.
    base_revision = options.revision if settings.backbone else settings.base_revision
    space = {
        "model": _identity(source.base, base_revision),
        "dimension": _dimension(source, options, instruction),
        "normalize": options.normalize and settings.normalize,
        "precision": options.precision,
        "truncate_layers": options.truncate_layers,
    }
    if instruction is None:
        # Nearly all pool by the mean: naming it would part collections that are there from theirs.
        pooling = settings.generic_pooling
        return space if pooling == "mean" else space | {"pooling": pooling}
    return space | {
        "checkpoint": _identity(source.model, options.revision),
        "adapter": source.adapter and source.adapter.digest,
        "refine_steps": source.steps(options.refine_steps),
        "template": options.template,
    }


def _identity(location: Location, revision: str | None) -> list[str]:
    """Name and revision on the hub, or the content of a folder."""
    return [location.name, revision or "main"] if location.on_hub else [location.digest]


def _dimension(source: ModelSource, options: EncoderOptions, instruction: str | None) -> int:
    steps = 0 if instruction is None else source.steps(options.refine_steps)
    full = source.width(instructed=instruction is not None, refine_steps=steps)
    return min(options.truncate_dim or full, full)
