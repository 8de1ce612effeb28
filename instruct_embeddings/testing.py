"""Offline doubles for tests of code that uses this package: a tiny encoder, a collection in memory.

Both are deterministic, need numpy only and hold what the real ones promise.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from instruct_embeddings._types import FloatArray, Metadata, Space, Where
from instruct_embeddings.config import at_least
from instruct_embeddings.errors import CollectionMismatchError, ConfigError, EmptyCollectionError
from instruct_embeddings.filters import (
    NEGATED,
    Comparison,
    Condition,
    parse_where,
    parse_where_document,
    translate_filter,
)
from instruct_embeddings.paging import PagedCollection
from instruct_embeddings.protocols import CollectionInfo, Neighbours, Rows

_Passes: TypeAlias = Callable[[Metadata], bool]
_WORD = re.compile(r"\w+")
_EMPTY = np.empty((0, 0), dtype=np.float32)


class TinyEncoder:
    """An encoder without weights: texts that share words are close.

    Every word has a fixed vector of its own (from its hash); a text is the normalised sum.

    Attributes:
        name: What a collection records as its model.
        dimension: Dimension of the embeddings.
        encoded: Number of texts encoded so far.
    """

    dimension = 32

    def __init__(self, name: str = "tiny") -> None:
        """Make an encoder that calls itself `name`."""
        self.name = name
        self.encoded = 0

    def encode(
        self,
        texts: Sequence[str],
        *,
        instruction: str | None = None,
        on_batch: Callable[[int], None] | None = None,
    ) -> FloatArray:
        """Embeddings of unit length, shape (n, 32).

        Args:
            texts: Texts to embed.
            instruction: Written in front of every text.
            on_batch: Called once with the number of texts done.
        """
        if isinstance(texts, str):
            raise TypeError("encode() takes a sequence of texts, got one str; wrap it: [text].")
        front = "" if instruction is None else f"{instruction} "
        out = np.empty((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            words = _WORD.findall(f"{front}{text}".casefold()) or ["no words at all"]
            total = np.sum([_word_vector(word) for word in words], axis=0)
            out[row] = total / np.linalg.norm(total)
        self.encoded += len(texts)
        if on_batch is not None and len(texts):
            on_batch(len(texts))
        return out


def _word_vector(word: str) -> FloatArray:
    digest = np.frombuffer(sha256(word.encode()).digest(), dtype=np.uint8)
    return digest.astype(np.float32) - np.float32(127.5)


class InMemoryCollection(PagedCollection):
    """A `VectorCollection` over numpy arrays whose search is exact.

    Filters are those of `instruct_embeddings.filters`; a native one is a function of the metadata.
    """

    def __init__(
        self,
        vectors: ArrayLike = _EMPTY,
        *,
        ids: Sequence[str] | None = None,
        texts: Sequence[str | None] | None = None,
        metadatas: Sequence[Metadata | None] | None = None,
        space: Space = "cosine",
        name: str = "in-memory",
        id: str | None = None,
    ) -> None:
        """Make a collection, empty unless vectors are given.

        Args:
            vectors: Stored vectors, shape (n, d).
            ids: Identifiers; "0", "1", ... by default.
            texts: Stored texts.
            metadatas: Stored metadata.
            space: Distance of the index.
            name: Name of the collection.
            id: Identifier of the collection; by default made of its first name.
        """
        self._name, self._id, self._space = name, f"{name}-1" if id is None else id, space
        self._dimension = 0
        self._stored: dict[str, tuple[FloatArray, str | None, Metadata]] = {}
        # All vectors and their lengths, until rows change.
        self._measured: tuple[FloatArray, FloatArray] | None = None
        first = np.asarray(vectors, dtype=np.float32)
        if first.size:
            names = [str(i) for i in range(len(first))] if ids is None else ids
            self.add(names, first, texts=texts, metadatas=metadatas)

    def add(
        self,
        ids: Sequence[str],
        vectors: ArrayLike,
        *,
        texts: Sequence[str | None] | None = None,
        metadatas: Sequence[Metadata | None] | None = None,
    ) -> None:
        """Store rows, or replace those whose id exists, in the same position.

        Args:
            ids: Identifiers.
            vectors: Vectors, shape (n, d).
            texts: Texts, one a row.
            metadatas: Metadata, one a row.

        Raises:
            ConfigError: The arguments do not have one entry a row.
            CollectionMismatchError: The vectors have another dimension than those stored.
        """
        new = np.array(vectors, dtype=np.float32)
        texts = [None] * len(ids) if texts is None else texts
        metadatas = [None] * len(ids) if metadatas is None else metadatas
        if new.ndim != 2 or not len(new) == len(ids) == len(texts) == len(metadatas):
            raise ConfigError(
                f"Got {len(ids)} ids, vectors of shape {new.shape}, {len(texts)} texts and "
                f"{len(metadatas)} metadatas; each row needs one of each. Pass equal lengths."
            )
        self._dimension = self._dimension or new.shape[1]
        self._check(new.shape[1])
        for row, vector, text, metadata in zip(ids, new, texts, metadatas, strict=True):
            self._stored[row] = vector, text, metadata or {}
        self._measured = None

    def delete(self, ids: Sequence[str]) -> None:
        """Remove rows; ids that do not exist are ignored."""
        for row in ids:
            self._stored.pop(row, None)
        self._measured = None

    def info(self) -> CollectionInfo:
        """Identity, dimension and space."""
        if not self._dimension:
            raise EmptyCollectionError(
                f"The collection {self._name!r} holds no vectors. Add rows to it first."
            )
        return CollectionInfo(self._name, self._id, self._dimension, self._space)

    def count(self) -> int:
        """Number of rows now."""
        return len(self._stored)

    def page(
        self,
        *,
        limit: int,
        offset: int,
        where: Where | None = None,
        where_document: Where | None = None,
        vectors: bool = False,
        records: bool = False,
    ) -> Rows:
        """One page of rows in the order in which they were added."""
        found = self._matching(where, where_document)[offset : offset + limit]
        return self._rows(found, vectors=vectors, records=records)

    def fetch(self, ids: Sequence[str], *, vectors: bool = False, records: bool = False) -> Rows:
        """Rows by id, in the order asked; ids that do not exist are left out."""
        found = [row for row in ids if row in self._stored]
        return self._rows(found, vectors=vectors, records=records)

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
        """The `k` nearest rows of one vector, shape (d,), exactly."""
        del candidates  # all rows are compared
        query = np.asarray(vector, dtype=np.float32)
        self._check(query.shape[-1])
        k = at_least("k", k, 1, optional=False)
        found = self._matching(where, where_document)
        stored, lengths = self._measure(found)
        scores = _similarity(query, stored, lengths, self._space)
        best = np.argsort(-scores, kind="stable")[:k]
        rows = self._rows([found[i] for i in best], vectors=vectors, records=records)
        return Neighbours(rows, scores[best])

    def _check(self, dimension: int) -> None:
        if dimension != self.info().dimension:
            raise CollectionMismatchError(
                f"Vectors of dimension {dimension} do not fit the collection {self._name!r}, "
                f"whose dimension is {self._dimension}. Use the model that filled it."
            )

    def _matching(self, where: Where | None, where_document: Where | None) -> list[str]:
        if not where and not where_document:
            return list(self._stored)
        of_metadata = _test(parse_where(where))
        of_text = _test(parse_where_document(where_document))
        return [
            row
            for row, (_, text, metadata) in list(self._stored.items())
            if of_metadata(metadata) and of_text({"": text or ""})
        ]

    def _measure(self, ids: Sequence[str]) -> tuple[FloatArray, FloatArray]:
        """Vectors and their lengths: measuring all takes longer than comparing them does."""
        everything, known = len(ids) == len(self._stored), self._measured
        if everything and known is not None:
            return known
        vectors = self._vectors(ids)
        found = vectors, np.linalg.norm(vectors, axis=1)
        if everything:
            self._measured = found
        return found

    def _vectors(self, ids: Sequence[str]) -> FloatArray:
        if not ids:
            return np.empty((0, self._dimension), dtype=np.float32)
        return np.stack([self._stored[row][0] for row in ids])

    def _rows(self, ids: Sequence[str], *, vectors: bool, records: bool) -> Rows:
        return Rows(
            ids=tuple(ids),
            vectors=self._vectors(ids) if vectors else _EMPTY,
            texts=tuple(self._stored[row][1] for row in ids) if records else (),
            metadatas=tuple(self._stored[row][2] for row in ids) if records else (),
        )


def _similarity(
    query: FloatArray, vectors: FloatArray, lengths: FloatArray, space: Space
) -> FloatArray:
    if space == "l2":
        return np.asarray(-np.square(vectors - query).sum(axis=1), dtype=np.float32)
    scores = vectors @ query
    if space == "cosine":
        norms = lengths * np.linalg.norm(query)
        scores = scores / np.where(norms == 0, 1, norms)
    return np.asarray(scores, dtype=np.float32)


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$eq": operator.eq,
    "$gt": lambda have, want: have is not None and bool(have > want),
    "$gte": lambda have, want: have is not None and bool(have >= want),
    "$lt": lambda have, want: have is not None and bool(have < want),
    "$lte": lambda have, want: have is not None and bool(have <= want),
    "$in": lambda have, want: have in want,
    "$contains": lambda have, want: have is not None and want in have,
}


def _test(condition: Condition | None) -> _Passes:
    if condition is None:
        return lambda row: True
    return translate_filter(condition, test=_holds, join=_joined, native=_native)


def _holds(test: Comparison) -> _Passes:
    compare = _COMPARISONS[NEGATED.get(test.operator, test.operator)]
    wanted = test.operator not in NEGATED
    return lambda row: compare(row.get(test.key), test.value) is wanted


def _joined(every: bool, parts: list[_Passes]) -> _Passes:
    return lambda row: (all if every else any)(passes(row) for passes in parts)


def _native(filter: Any) -> _Passes:
    if not callable(filter):
        raise ConfigError(f"A filter of this collection is a function of the metadata: {filter!r}.")
    return lambda row: bool(filter(row))
