"""The seams: what retrieval needs of a collection of vectors and of a guide.

Everything is numpy and plain data, so that any vector store and any source of supervision fits.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Protocol, runtime_checkable

import numpy as np

from instruct_embeddings._types import FloatArray, IntArray, Metadata, Space, Where
from instruct_embeddings.embedded import NODE_KEY, embedded_text
from instruct_embeddings.supervision import Supervision, Targets


@dataclass(frozen=True)
class CollectionInfo:
    """What identifies a collection: a transform fitted on one must not be used on another.

    Attributes:
        name: Name of the collection in its store. It may be renamed: it says where the collection
            is, not which one it is, and two that differ in nothing else are equal.
        id: Identifier that survives re-opening and changes when a collection is recreated.
        dimension: Length of its vectors.
        space: Distance of its index.
    """

    name: str = field(compare=False)
    id: str
    dimension: int
    space: Space

    @property
    def fingerprint(self) -> str:
        """Stable hexadecimal digest of all that identifies it."""
        text = "\x1f".join([self.id, str(self.dimension), self.space])
        return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


_NO_VECTORS: FloatArray = np.empty((0, 0), dtype=np.float32)


@dataclass(frozen=True)
class Rows:
    """Rows of a collection, aligned by position. Fields that were not asked for are empty.

    Attributes:
        ids: Identifiers.
        vectors: Stored vectors as float32, shape (n, d), or (0, 0) where not asked for.
        texts: Stored texts (`None` where a row has none).
        metadatas: Stored metadata (an empty mapping where a row has none).
    """

    ids: tuple[str, ...]
    vectors: FloatArray = field(default_factory=_NO_VECTORS.copy)
    texts: tuple[str | None, ...] = ()
    metadatas: tuple[Metadata, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def read_texts(self) -> tuple[str | None, ...]:
        """What the vectors were made from, made at each call: LlamaIndex embeds metadata along."""
        if not any(NODE_KEY in metadata for metadata in self.metadatas):
            return self.texts
        pairs = zip(self.texts, self.metadatas, strict=True)
        return tuple(text and embedded_text(text, metadata) for text, metadata in pairs)

    def take(self, positions: Sequence[int] | IntArray) -> "Rows":
        """The rows at some positions, in that order; fields that are empty stay empty."""
        order = np.asarray(positions, dtype=np.int64)
        return Rows(
            ids=tuple(self.ids[i] for i in order),
            vectors=self.vectors[order] if self.vectors.size else self.vectors,
            texts=tuple(self.texts[i] for i in order) if self.texts else (),
            metadatas=tuple(self.metadatas[i] for i in order) if self.metadatas else (),
        )

    def of(self, ids: Sequence[str]) -> "Rows":
        """The rows of some ids, in that order; those that are not there are left out."""
        return self.take(places(self.ids, ids))

    @classmethod
    def read(
        cls,
        ids: Iterable[Any],
        vectors: FloatArray | None,
        records: Iterable[tuple[str | None, object]] | None,
    ) -> "Rows":
        """What a store holds; metadata come in one order, as hosts hash them."""
        fields: dict[str, Any] = {} if vectors is None else {"vectors": vectors}
        if records is not None:
            pairs = list(records)
            fields["texts"] = tuple(text if isinstance(text, str) else None for text, _ in pairs)
            fields["metadatas"] = tuple(
                dict(sorted(data.items())) if isinstance(data, Mapping) else {} for _, data in pairs
            )
        return cls(tuple(map(str, ids)), **fields)

    @classmethod
    def joined(cls, parts: Sequence["Rows"]) -> "Rows":
        """Several pages of one collection as one."""
        filled = [part.vectors for part in parts if part.vectors.size]
        return cls(
            ids=tuple(row for part in parts for row in part.ids),
            vectors=np.concatenate(filled) if filled else _NO_VECTORS.copy(),
            texts=tuple(text for part in parts for text in part.texts),
            metadatas=tuple(entry for part in parts for entry in part.metadatas),
        )


def places(found: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Where among the found ids the wanted ones stand, without those that are not there."""
    position = {row: place for place, row in enumerate(found)}
    return [position[row] for row in wanted if row in position]


@dataclass(frozen=True)
class Neighbours:
    """Answer of an approximate index, best first.

    Attributes:
        rows: The rows, with what was asked for beside their ids.
        scores: Similarity in the collection's own space, higher is closer, shape (n,): the cosine
            for `cosine`, the inner product for `ip`, minus the squared distance for `l2`.
    """

    rows: Rows
    scores: FloatArray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ids(self) -> tuple[str, ...]:
        """Their identifiers."""
        return self.rows.ids

    @property
    def vectors(self) -> FloatArray:
        """Their vectors, shape (n, d), or (0, 0) where not asked for."""
        return self.rows.vectors

    def take(self, positions: Sequence[int] | IntArray) -> "Neighbours":
        """Those at some positions, in that order."""
        return Neighbours(self.rows.take(positions), self.scores[np.asarray(positions, np.int64)])


@dataclass(frozen=True)
class Capabilities:
    """What a store can do beside searching.

    Attributes:
        vectors: Stored vectors can be read, with a search and by id.
        cheap_vectors: They are stored, not made again by embedding texts, so that many may be read.
        listing: Rows can be listed: `sample` reaches any row, and `scan` all of them.
        cheap_count: The number of rows is known without looking at them.
        text_filters: `where_document` is obeyed.
    """

    vectors: bool = True
    cheap_vectors: bool = True
    listing: bool = True
    cheap_count: bool = True
    text_filters: bool = True


class VectorCollection(Protocol):
    """A store of vectors with an approximate index over them."""

    @property
    def capabilities(self) -> Capabilities:
        """What the store can do."""
        ...

    def info(self) -> CollectionInfo:
        """Identity, dimension and space.

        Raises:
            EmptyCollectionError: Nothing was ever stored, so there is no dimension yet.
        """
        ...

    def count(self) -> int:
        """Number of rows now."""
        ...

    def sample(self, size: int, *, seed: int) -> Rows:
        """At most `size` rows from all over the collection, with vectors, texts and metadata.

        Each store has its own way, which it documents; `instruct_embeddings.paging` has one for
        stores that skip to an offset. A collection of at most `size` rows comes whole. The same
        seed gives the same rows while nothing was written; a store that cannot promise it says so.
        """
        ...

    def scan(
        self,
        *,
        where: Where | None = None,
        where_document: Where | None = None,
        vectors: bool = False,
        records: bool = False,
    ) -> Iterator[Rows]:
        """All rows that pass the filters, page by page, each once, in one stable order.

        `vectors` asks for vectors, `records` for texts and metadata; ids always come. Rows that
        are there from the first page to the last are not missed, whatever is written meanwhile.
        """
        ...

    def state(self) -> str:
        """A text that changes when rows were added or removed.

        Where it is the same, a copy of the rows is trusted but for updates in place. It may cost
        a look at every id: it is asked only where all rows are copied.
        """
        ...

    def fetch(self, ids: Sequence[str], *, vectors: bool = False, records: bool = False) -> Rows:
        """Rows by id, in the order asked; ids that no longer exist are left out."""
        ...

    def search(
        self,
        vector: FloatArray,
        *,
        k: int,
        candidates: int | None = None,
        where: Where | None = None,
        where_document: Where | None = None,
        vectors: bool = False,
        records: bool = False,
    ) -> Neighbours:
        """The `k` nearest rows of one vector, shape (d,), by the index.

        An approximate index that can be told how far to look (`ef`, `nprobe`) looks for so many
        `candidates`, of which the `k` nearest come; None leaves it to the store, which looks
        further the more rows are wanted. `vectors` asks for their vectors, `records` for texts and
        metadata, in the same request where the store can; ids and scores always come.

        Raises:
            CollectionMismatchError: The vector has another dimension than the collection.
        """
        ...


def missing_of_collection(value: object) -> str | None:
    """Name of a member that a value lacks to be a `VectorCollection`; None where it has all."""
    members = (name for name in vars(VectorCollection) if not name.startswith("_"))
    return next((name for name in members if getattr(value, name, None) is None), None)


class Guide(Protocol):
    """A source of supervision for a transform."""

    @property
    def key(self) -> str:
        """Short stable text that names the guide and what it depends on.

        Part of the identity of a stored transform: two guides that would teach different things
        have different keys.
        """
        ...

    def ids(self) -> Sequence[str] | None:
        """Rows that the guide wants in its sample; `None` leaves the choice to the sampler."""
        ...

    def judge(self, instruction: str, sample: Rows) -> Supervision:
        """Supervision for the rows of a sample, aligned with it.

        Args:
            instruction: The plain sentence to judge under.
            sample: Rows with vectors, texts and metadata.

        Raises:
            GuideError: Nothing can be learned; the message says why and what to do.
        """
        ...


@runtime_checkable
class EncodingGuide(Guide, Protocol):
    """A guide that encodes: its work grows with the rows, and it reads each row once for all.

    Its sample grows while its targets can be told better from more of them.
    """

    def judge_grid(self, instructions: Sequence[str], sample: Rows) -> list[Targets]:
        """Targets of the rows under each instruction; see `judge`."""
        ...


class CollectionMoves(Protocol):
    """Moves of query vectors in the space of one collection."""

    def moves(
        self,
        queries: Sequence[str],
        instruction: str,
        vectors: FloatArray,
        *,
        centred: bool = False,
    ) -> FloatArray:
        """What an instruction adds to generic unit vectors of n queries, (n, d) to (n, d).

        Folded queries are the unit rows of `vectors + moves`. `centred` takes out what is added to
        a text that says nothing.
        """
        ...

    def is_like_its_texts(self, query: str) -> bool:
        """Whether a query looks like the texts of the collection, so that it is one of a kind."""
        ...

    def directions(self, phrases: Sequence[str]) -> FloatArray:
        """Generic unit vectors of phrases, such as "games", in the same space, shape (n, d)."""
        ...

    def level(self, cosine: float) -> float:
        """What a cosine of the mover's own space amounts to between vectors of this one."""
        ...


class Judge(Protocol):
    """Reads a query and texts and says how relevant they are: a reranker, or a chat model."""

    @property
    def key(self) -> str:
        """Short stable text that names the judge; judgements are remembered under it."""
        ...

    def relevance(
        self, query: str, instruction: str | None, texts: Sequence[str]
    ) -> Sequence[float | None]:
        """One score a text, in their order; higher is more relevant, None is not judged.

        Scores in [0, 1] are taken for the probability that a text answers; of other scales only
        the order and the distances within one call count. Called from several threads.
        """
        ...


class InstantMover(Protocol):
    """Moves query vectors by an instruction at once, in the space of any collection."""

    @property
    def name(self) -> str:
        """What tells it from others."""
        ...

    def for_collection(self, sample: Callable[[int], Rows]) -> CollectionMoves:
        """Moves in the space of a collection, of which `sample` reads about so many rows.

        Raises:
            GuideError: The space cannot be reached from the rows that are there.
        """
        ...
