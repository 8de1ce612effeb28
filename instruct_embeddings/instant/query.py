"""The instant query: an instruction moves a query vector at once, nothing is fitted for it."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import Self

from instruct_embeddings._types import FloatArray
from instruct_embeddings.instant.head import HEAD_FILE, MoveHead
from instruct_embeddings.instant.space import CollectionMoves, Sampler, find_space
from instruct_embeddings.transform.vectors import unit_rows

if TYPE_CHECKING:
    from instruct_embeddings.encoder import EncoderOptions, InstructEncoder

DEFAULT_INSTANT = "instant-minilm-l6-v1"


class InstantQuery:
    """Reads a query with its instruction and moves the query's generic vector.

    The folded query is `unit(v + move)`: `v` is the vector that the model of the collection makes
    of the query anyway, and what is stored stays as it is. So an instruction that was never seen
    costs one pass over one short text. It was trained to rank frozen generic vectors under many
    kinds of instructions, and to stay where it is under those that ask for nothing else.

    The moves are made for the space of one model, `all-MiniLM-L6-v2`. A collection of another
    model gets a linear map of the two spaces, fitted once from its own texts and vectors.

    Instantiate:
        ```python
        instant = InstantQuery.from_pretrained()  # comes with the package
        retriever = InstructRetriever(collection, instant=instant)
        retriever.search(
            vector, query="Gaucher disease", instruction="What can be done against it?"
        )
        ```
    """

    def __init__(self, encoder: "InstructEncoder", head: MoveHead | Path) -> None:
        """See `from_pretrained`.

        Args:
            encoder: Reads a query with its instruction; its embeddings are not normalised.
            head: Makes moves of them, or the file to read it from at the first use.
        """
        self._encoder, self._head = encoder, head
        self._lock = threading.Lock()

    @classmethod
    def from_pretrained(cls, model: str | Path | None = None, *, device: str | None = None) -> Self:
        """Describe an instant query by its checkpoint; weights are loaded at the first use.

        Args:
            model: Folder of a checkpoint, or None for the one that comes with the package.
            device: A torch device; by default CUDA, then MPS, then the CPU.

        Raises:
            ModelNotFoundError: There is no such folder.
        """
        from instruct_embeddings.encoder import EncoderOptions

        return cls.from_options(EncoderOptions(model=str(model or DEFAULT_INSTANT), device=device))

    @classmethod
    def from_options(cls, options: "EncoderOptions") -> Self:
        """The same by all options of an encoder; those that shape its results do not count.

        Raises:
            ModelNotFoundError: There is no such folder.
        """
        from instruct_embeddings.encoder import InstructEncoder
        from instruct_embeddings.encoder.files import locate

        plain = replace(options, normalize=False, truncate_dim=None, precision="float32")
        folder = locate(plain.model, plain.revision, plain).path
        return cls(InstructEncoder(plain), folder / HEAD_FILE)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._encoder.options.model!r})"

    @property
    def name(self) -> str:
        """Name of the checkpoint."""
        return self._encoder.name

    @property
    def space(self) -> str:
        """Name of the model whose vectors are moved."""
        return self.head.space

    @property
    def dimension(self) -> int:
        """Length of the vectors that are moved."""
        return self.head.dimension

    @property
    def head(self) -> MoveHead:
        """What makes moves of embeddings.

        Raises:
            CheckpointError: Its file is missing, damaged, or written by a newer version.
        """
        with self._lock:
            if isinstance(self._head, Path):
                self._head = MoveHead.read(self._head)
            return self._head

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Generic vectors of the model whose space is moved in, unit rows of shape (n, d)."""
        return unit_rows(self._encoder.encode(texts))

    def moves(self, queries: Sequence[str], instruction: str, vectors: FloatArray) -> FloatArray:
        """What the instruction adds to query vectors of its own space; see `CollectionMoves`.

        Raises:
            InstructionError: The instruction leaves no room for a text.
            TextError: A query holds a lone surrogate.
        """
        read = np.asarray(self._encoder.encode(queries, instruction=instruction), dtype=np.float32)
        return self.head.moves(read, vectors)

    def fold(self, queries: Sequence[str], instruction: str) -> FloatArray:
        """Embed n queries under an instruction, in its own space.

        Returns:
            Folded queries, shape (n, d), each as long as the generic vector that the model makes of
            the query before it is scaled.

        Raises:
            InstructionError: The instruction leaves no room for a text.
            TextError: A query holds a lone surrogate.
        """
        from instruct_embeddings.encoder.texts import one_warning

        with one_warning(len(queries)):
            generic = self._encoder.encode(queries)
            read = self._encoder.encode(queries, instruction=instruction)
        return self._folded(generic, read)

    async def afold(self, queries: Sequence[str], instruction: str) -> FloatArray:
        """The same as `fold` without blocking the event loop."""
        from instruct_embeddings.encoder.texts import one_warning

        with one_warning(len(queries)):
            generic = await self._encoder.aencode(queries)
            read = await self._encoder.aencode(queries, instruction=instruction)
        return await asyncio.to_thread(self._folded, generic, read)

    def _folded(self, generic: FloatArray, read: FloatArray) -> FloatArray:
        vectors = unit_rows(generic)
        lengths = np.linalg.norm(generic, axis=1, keepdims=True)
        return np.asarray(lengths * unit_rows(vectors + self.head.moves(read, vectors)))

    def fingerprint(self, instruction: str) -> str:
        """A stable string for caches: equal only where `fold` gives the same for equal queries."""
        return self._encoder.fingerprint(instruction=instruction, role="query")

    def close(self) -> None:
        """Give the memory back, unless others use the same weights; then refuse to work."""
        self._encoder.close()

    def for_collection(self, sample: Sampler) -> CollectionMoves:
        """Moves in the space of a collection; a map of the spaces is fitted where they differ.

        Raises:
            GuideError: Another model filled the collection, and it holds too few texts for a map.
        """
        return find_space(self, sample)
