"""The models that the commands use."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from instruct_embeddings.encoder import InstructEncoder
    from instruct_embeddings.protocols import InstantMover


def load_encoder(model: str | None = None) -> "InstructEncoder":
    """Load the encoder of generic vectors; all-MiniLM-L6-v2 unless another is named."""
    from instruct_embeddings.encoder import BASE_MODEL

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
