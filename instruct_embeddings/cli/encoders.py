"""The encoder that the commands use for texts and queries."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from instruct_embeddings._types import FloatArray


class TextEncoder(Protocol):
    """What the commands need of an encoder."""

    name: str

    def encode(
        self, texts: Sequence[str], *, on_batch: Callable[[int], None] | None = None
    ) -> "FloatArray":
        """Unit vectors of texts, shape (n, d)."""
        ...


def load_encoder(model: str | None = None) -> TextEncoder:
    """Load a sentence encoder; all-MiniLM-L6-v2 unless another is named."""
    from transformers.utils import logging

    from instruct_embeddings.encoder.generic import GenericEncoder

    # The commands show one progress bar, their own.
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    return GenericEncoder.from_pretrained(model)
