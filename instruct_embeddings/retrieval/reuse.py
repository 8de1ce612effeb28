"""Whether another instruction means the same for the texts of a collection."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from instruct_embeddings._threads import Recent
from instruct_embeddings._types import FloatArray
from instruct_embeddings.config import at_least
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.protocols import EncodingGuide, Rows, VectorCollection
from instruct_embeddings.retrieval.sampling import sample_rows
from instruct_embeddings.transform.vectors import unit_rows

# Of the measured questions about other things none came so far, of paraphrases more than half did:
# see `make bench-reuse`.
DEFAULT_THRESHOLD = 0.925
DEFAULT_TEXTS = 128
_CANDIDATES = 16
_VIEWS = 64  # instructions whose embeddings are kept
_FEWEST_TEXTS = 8


@dataclass(frozen=True)
class Reuse:
    """When the transform of another instruction serves: off unless asked for.

    Sentences that look alike may ask for different things ("praise for the food", "praise for the
    staff"), and different sentences for the same. So not the sentences are compared but what they
    do: the encoder reads some texts of the collection under both.

    Attributes:
        reader: Reads the texts, such as `EncoderGuide()`, whatever guide teaches.
        threshold: Least agreement, from 0 to 1: the mean cosine of the centred embeddings.
        texts: Texts of the collection that are read.
    """

    reader: EncodingGuide = field(compare=False)
    threshold: float = DEFAULT_THRESHOLD
    texts: int = DEFAULT_TEXTS

    def __post_init__(self) -> None:
        at_least("texts", self.texts, _FEWEST_TEXTS, optional=False)
        if not 0 < self.threshold <= 1:
            raise ConfigError(
                f"threshold={self.threshold!r} is not in (0, 1]. 1 reuses nothing but identical "
                f"meanings; {DEFAULT_THRESHOLD} is the default."
            )


class InstructionMatcher:
    """Compares instructions by what they do to the texts of one collection."""

    def __init__(self, collection: VectorCollection, reuse: Reuse) -> None:
        """Nothing is read before the first comparison."""
        self._collection, self._reuse = collection, reuse
        self._rows: Rows | None = None
        self._views: Recent[str, FloatArray] = Recent(_VIEWS)
        self._lock = threading.Lock()

    def match(self, instruction: str, others: Sequence[str]) -> str | None:
        """Which of the first 16 others means the same and agrees best.

        None where none agrees enough, or the collection has too few texts to tell.
        """
        candidates = list(others)[:_CANDIDATES]
        with self._lock:
            if not candidates or len(self._read()) < _FEWEST_TEXTS:
                return None
            views = self._seen([instruction, *candidates])
        agreements = [agreement(views[0], other) for other in views[1:]]
        best = int(np.argmax(agreements))
        return candidates[best] if agreements[best] >= self._reuse.threshold else None

    def _read(self) -> Rows:
        """Rows with a text, the same in each comparison."""
        if self._rows is None:
            rows = sample_rows(self._collection, self._reuse.texts, seed=0)
            filled = [i for i, text in enumerate(rows.read_texts) if text and text.strip()]
            self._rows = rows.take(filled)
        return self._rows

    def _seen(self, instructions: Sequence[str]) -> list[FloatArray]:
        """Embeddings of the texts under each instruction, each read once."""
        views = {text: self._views.get(text) for text in instructions}
        new = [text for text, view in views.items() if view is None]
        if new:
            found = self._reuse.reader.judge_grid(new, self._read())
            for text, targets in zip(new, found, strict=True):
                views[text] = self._views.put(text, targets.vectors)
        return [view for text in instructions if (view := views[text]) is not None]


def agreement(one: FloatArray, other: FloatArray) -> float:
    """Mean cosine of the centred embeddings of the same texts, two arrays of shape (n, d).

    What all texts share under one instruction says nothing about any of them, so it is left out.
    """
    first, second = (unit_rows(vectors - vectors.mean(0)) for vectors in (one, other))
    return float((first * second).sum(1).mean())
