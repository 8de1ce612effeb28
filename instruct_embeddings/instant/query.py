"""The instant query: an instruction moves a query vector at once, nothing is fitted for it."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import Self

from instruct_embeddings._types import FloatArray
from instruct_embeddings.instant.head import HEAD_FILE, MoveHead
from instruct_embeddings.instant.space import CollectionMoves, Sampler, find_space

if TYPE_CHECKING:
    from instruct_embeddings.encoder import InstructEncoder

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
        """Put the parts together; see `from_pretrained`.

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
        from instruct_embeddings.encoder import EncoderOptions, InstructEncoder
        from instruct_embeddings.encoder.hub import locate

        name = str(model or DEFAULT_INSTANT)
        options = EncoderOptions(model=name, device=device, normalize=False)
        folder = locate(name, None, options).path
        return cls(InstructEncoder(options), folder / HEAD_FILE)

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
        from instruct_embeddings.transform.vectors import unit_rows

        return unit_rows(self._encoder.encode(texts))

    def moves(self, queries: Sequence[str], instruction: str, vectors: FloatArray) -> FloatArray:
        """What the instruction adds to query vectors of its own space.

        Args:
            queries: Texts of n queries.
            instruction: A plain sentence.
            vectors: Their generic unit vectors, shape (n, d).

        Returns:
            Shape (n, d); the folded queries are the unit rows of `vectors + moves`.

        Raises:
            InstructionError: The instruction leaves no room for a text.
            TextError: A query holds a lone surrogate.
        """
        read = np.asarray(self._encoder.encode(queries, instruction=instruction), dtype=np.float32)
        return self.head.moves(read, vectors)

    def for_collection(self, sample: Sampler) -> CollectionMoves:
        """Moves in the space of a collection; a map of the spaces is fitted where they differ.

        Args:
            sample: Reads so many rows of the collection, with vectors and texts.

        Raises:
            GuideError: Another model filled the collection, and it holds too few texts for a map.
        """
        return find_space(self, sample)
