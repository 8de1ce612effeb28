"""The encoder that the commands use for texts and queries."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from instruct_embeddings._types import FloatArray
    from instruct_embeddings.encoder import InstructEncoder
    from instruct_embeddings.protocols import InstantMover


class TextEncoder(Protocol):
    """What the commands need of an encoder."""

    @property
    def name(self) -> str:
        """What a collection records as its model."""
        ...

    def encode(
        self, texts: Sequence[str], *, on_batch: Callable[[int], None] | None = None
    ) -> "FloatArray":
        """Unit vectors of texts, shape (n, d)."""
        ...


def load_encoder(model: str | None = None) -> TextEncoder:
    """Load the encoder of generic vectors; all-MiniLM-L6-v2 unless another is named."""
    from instruct_embeddings.encoder import BASE_MODEL

    # Generic vectors need no more than the backbone.
    return load_instructed(model or BASE_MODEL)


def load_instant() -> "InstantMover":
    """What answers where nothing is fitted; weights are loaded at its first use."""
    from instruct_embeddings.instant import InstantQuery

    return InstantQuery.from_pretrained()


def load_instructed(model: str | None = None) -> "InstructEncoder":
    """Load the encoder that guides; the one in the package unless another is named."""
    from instruct_embeddings.encoder import InstructEncoder

    encoder = InstructEncoder.from_pretrained(model)
    # Looked for now, so that a model that is not there stops a command before it starts.
    _ = encoder.name
    return encoder
