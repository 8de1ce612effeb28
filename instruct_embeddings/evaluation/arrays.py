"""Arrays as a collection, so that texts and vectors at hand can be searched and learned from."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from instruct_embeddings._types import FloatArray, Where
from instruct_embeddings.errors import CollectionMismatchError, ConfigError, EmptyCollectionError
from instruct_embeddings.protocols import CollectionInfo, Neighbours, Rows
from instruct_embeddings.transform.vectors import unit_rows


class ArrayCollection:
    """A `VectorCollection` over arrays: cosine, exact, read-only, without metadata and filters."""

    def __init__(
        self, ids: Sequence[str], vectors: ArrayLike, texts: Sequence[str | None] | None = None
    ) -> None:
        """Keep at least one row: its id, which is unique, its vector of (n, d) and its text."""
        self.vectors = unit_rows(vectors)
        self._ids = tuple(ids)
        self._texts = tuple(texts) if texts is not None else (None,) * len(self._ids)
        self._positions = {row: position for position, row in enumerate(self._ids)}
        if not self._ids:
            raise EmptyCollectionError("There is no text to search. Pass at least one.")
        if not len(self._positions) == len(self._ids) == len(self.vectors) == len(self._texts):
            raise ConfigError(
                f"Got {len(self._ids)} ids ({len(self._positions)} of them different), "
                f"{len(self.vectors)} vectors and {len(self._texts)} texts. Pass one of each for "
                "every row."
            )

    def __getitem__(self, ids: Sequence[str]) -> FloatArray:
        """Unit vectors of some ids, shape (m, d); a `KeyError` for one that is not here."""
        return self.vectors[[self._positions[row] for row in ids]]

    def info(self) -> CollectionInfo:
        """Identity, dimension and space."""
        return CollectionInfo("arrays", "arrays", self.vectors.shape[1], "cosine")

    def count(self) -> int:
        """Number of rows."""
        return len(self._ids)

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
        """One page of rows in the order given."""
        _refuse_filters(where, where_document)
        return self._rows(range(self.count())[offset : offset + limit], vectors, records)

    def fetch(self, ids: Sequence[str], *, vectors: bool = False, records: bool = False) -> Rows:
        """Rows by id, in the order asked; ids that do not exist are left out."""
        known = [self._positions[row] for row in ids if row in self._positions]
        return self._rows(known, vectors, records)

    def search(
        self,
        vector: FloatArray,
        *,
        k: int,
        where: Where | None = None,
        where_document: Where | None = None,
        vectors: bool = False,
    ) -> Neighbours:
        """The `k` nearest rows of one vector, shape (d,)."""
        _refuse_filters(where, where_document)
        query = unit_rows(np.reshape(vector, (1, -1)))[0]
        if len(query) != self.vectors.shape[1]:
            raise CollectionMismatchError(
                f"A query of {len(query)} dimensions does not fit vectors of "
                f"{self.vectors.shape[1]}. Embed both with the same model."
            )
        scores = self.vectors @ query
        best = np.argpartition(-scores, min(k, len(scores)) - 1)[:k]
        best = best[np.argsort(-scores[best], kind="stable")]
        found = Neighbours(tuple(self._ids[position] for position in best), scores[best])
        return replace(found, vectors=self.vectors[best]) if vectors else found

    def _rows(self, positions: Sequence[int], vectors: bool, records: bool) -> Rows:
        everything = Rows(
            self._ids,
            self.vectors if vectors else np.empty((0, 0), dtype=np.float32),
            self._texts if records else (),
            ({},) * len(self._ids) if records else (),
        )
        return everything.take(positions)


def _refuse_filters(*filters: Where | None) -> None:
    if any(filters):
        raise ConfigError(
            f"Arrays have no metadata to filter by, got {filters}. Leave filters out."
        )
