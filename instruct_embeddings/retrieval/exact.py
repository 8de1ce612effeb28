"""Exact search: every row is scored, of a copy in memory or, where that would be large, on disk."""

import json
import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from instruct_embeddings._addresses import cache_folder
from instruct_embeddings._reading import safetensors_header
from instruct_embeddings._threads import one_thread
from instruct_embeddings._types import BoolArray, FloatArray, IntArray, Where
from instruct_embeddings.errors import EmptyCollectionError
from instruct_embeddings.protocols import CollectionInfo, Rows, VectorCollection
from instruct_embeddings.retrieval.ranking import (
    SAME_SCORE,
    FoldedQuery,
    Ranking,
    SearchRequest,
    best_first,
)
from instruct_embeddings.transform.files import MALFORMED, written_whole
from instruct_embeddings.transform.transform import InstructionTransform
from instruct_embeddings.transform.vectors import has_direction, unit_rows

# Larger collections are copied to disk: a million vectors of 384 numbers are 1.5 GB.
MAX_COPY_BYTES = 256 * 1024**2
_PROBES = 64
_BLOCK = 1024  # whose numbers, and what becomes of them, stay in the cache of a processor
_SPAN = 32 * _BLOCK  # scored before it is asked again whether the rest has to be
_FAR_APART = 64  # rows from all over a file that are read at once
_THREADS = min(2, os.cpu_count() or 1)
# Stores that keep cosine vectors normalised give them back with an error of about 5e-7.
_TOLERANCE = 1e-5
# Rounding to float16 moves a number by so much of itself at most, and so a unit vector.
_HALF = 2.0**-11
# A map of the vectors may stretch what rounding did; so many candidates are scored again at least.
_STRETCHED, _AGAIN, _MOST_AGAIN = 4, 256, 4096
_HEADER_BYTES = 4096
_log = logging.getLogger(__name__)


class _Ids(Sequence[str]):
    """Ids of a file: one text, and where each of them ends."""

    def __init__(self, text: NDArray[np.uint8], ends: IntArray) -> None:
        self._text, self._ends = text, ends

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[str, ...]: ...
    def __getitem__(self, at: int | slice) -> str | tuple[str, ...]:
        if isinstance(at, slice):
            return tuple(self[i] for i in range(*at.indices(len(self))))
        begin = int(self._ends[at - 1]) if at else 0
        return self._text[begin : int(self._ends[at])].tobytes().decode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class VectorCopy:
    """All vectors of a collection at one moment.

    The copy is checked by the `state` of the collection and by re-reading some of its vectors:
    additions and deletions are seen, updates of vectors likely. Call the retriever's `refresh()`
    after updating vectors in place.

    Attributes:
        ids: Their ids.
        vectors: As they are stored in float32, or mapped from a file in float16 as unit rows,
            shape (n, d).
        state: Digest of that of the collection when the copy was begun.
    """

    ids: Sequence[str]
    vectors: NDArray[Any]
    state: str

    @classmethod
    def read(cls, collection: VectorCollection) -> "VectorCopy":
        """Copy a collection into memory; EmptyCollectionError where nothing is stored."""
        state = _state(collection)  # first: what is written meanwhile is seen the next time
        rows = Rows.joined(list(collection.scan(vectors=True)))
        if not len(rows):
            raise _empty(collection)
        return cls(rows.ids, rows.vectors, state)

    @classmethod
    def write(cls, collection: VectorCollection, path: Path) -> None:
        """Copy a collection to a file, page by page, whole or not at all.

        Raises:
            EmptyCollectionError: Nothing is stored.
            OSError: It cannot be written there.
        """
        state, dimension = _state(collection), collection.info().dimension
        texts, ends, rows = bytearray(), [], 0
        with written_whole(path) as file:
            file.seek(_HEADER_BYTES)
            for page in collection.scan(vectors=True):
                file.write(unit_rows(page.vectors).astype(np.float16).tobytes())
                for row in page.ids:
                    texts += row.encode("utf-8", "surrogatepass")
                    ends.append(len(texts))
                rows += len(page)
            if not rows:
                raise _empty(collection)
            tensors = {
                "vectors": ("F16", (rows, dimension), 2 * rows * dimension),
                "ends": ("I64", (rows,), 8 * rows),
                "ids": ("U8", (len(texts),), len(texts)),
            }
            file.write(np.array(ends, dtype=np.int64).tobytes())
            file.write(texts)
            file.seek(0)
            file.write(_header(tensors, state))

    @classmethod
    def open(cls, path: Path) -> "VectorCopy | None":
        """Map what `write` has written; None where there is no such file, or another."""
        try:
            with path.open("rb") as file:
                header = safetensors_header(file.read(_HEADER_BYTES))
            state = str(header["__metadata__"]["state"])
            found = [_mapped(path, header[name]) for name in ("vectors", "ends", "ids")]
        except FileNotFoundError:
            return None
        except (OSError, *MALFORMED) as problem:
            _log.warning("The copy of a collection in %s cannot be used: %s", path, problem)
            return None
        vectors, ends, text = found
        if vectors.ndim != 2 or vectors.dtype != np.float16 or ends.shape != vectors.shape[:1]:
            return None
        return cls(_Ids(text, np.array(ends)), vectors, state)

    @property
    def is_rounded(self) -> bool:
        """Whether vectors are float16."""
        return self.vectors.dtype == np.float16

    @property
    def rounding(self) -> float:
        """How far a unit row is at most from the one that is stored."""
        return _HALF if self.is_rounded else 0.0

    def is_current(self, collection: VectorCollection) -> bool:
        """Whether the collection still looks as it did when it was copied."""
        if _state(collection) != self.state:
            return False
        probes = np.unique(np.linspace(0, len(self.ids) - 1, _PROBES).astype(int))
        wanted = tuple(self.ids[i] for i in probes)
        found = collection.fetch(wanted, vectors=True)
        if found.ids != wanted or found.vectors.shape[1] != self.vectors.shape[1]:
            return False
        known, tolerance = found.vectors, _TOLERANCE
        if self.is_rounded:
            known, tolerance = unit_rows(known), _TOLERANCE + _HALF
        return np.allclose(known, self.vectors[probes], atol=tolerance, equal_nan=True)

    def passing(
        self, collection: VectorCollection, where: Where | None, where_document: Where | None
    ) -> BoolArray | None:
        """Which rows pass the filters of the collection, shape (n,); None for all of them."""
        if not where and not where_document:
            return None
        pages = collection.scan(where=where, where_document=where_document)
        matching = {row for page in pages for row in page.ids}
        return np.fromiter((row in matching for row in self.ids), np.bool_, len(self.ids))

    def units(self, positions: range | IntArray) -> FloatArray:
        """Unit rows at some positions, shape (m, d)."""
        if not self.is_rounded:
            at = (
                slice(positions.start, positions.stop)
                if isinstance(positions, range)
                else positions
            )
            return unit_rows(self.vectors[at])
        found = np.empty((len(positions), self.vectors.shape[1]), dtype=np.float32)
        # A system may map up to some megabytes around each row that is looked at.
        size = len(positions) if isinstance(positions, range) else _FAR_APART
        for start in range(0, len(positions), size):
            part = positions[start : start + size]
            at = slice(part.start, part.stop) if isinstance(part, range) else part
            found[start : start + size] = self.vectors[at]
            _release(self.vectors)
        return found

    def rows(self, collection: VectorCollection, positions: IntArray) -> Rows:
        """Rows with their vectors as they are stored; what is gone is left out."""
        ids = tuple(self.ids[i] for i in positions)
        if self.is_rounded:
            return collection.fetch(ids, vectors=True)
        return Rows(ids, self.vectors[positions])


def _header(tensors: dict[str, tuple[str, tuple[int, ...], int]], state: str) -> bytes:
    """The header of a safetensors file, filled up with blanks as the format allows."""
    about: dict[str, Any] = {"__metadata__": {"state": state}}
    start = 0
    for name, (dtype, shape, size) in tensors.items():
        about[name] = {"dtype": dtype, "shape": shape, "data_offsets": (start, start + size)}
        start += size
    size = _HEADER_BYTES - 8
    return size.to_bytes(8, "little") + json.dumps(about).encode().ljust(size)


def _state(collection: VectorCollection) -> str:
    return sha256(collection.state().encode("utf-8", "surrogatepass")).hexdigest()


def _mapped(path: Path, entry: dict[str, Any]) -> NDArray[Any]:
    dtype = {"F16": np.float16, "I64": np.int64, "U8": np.uint8}[entry["dtype"]]
    shape = tuple(int(size) for size in entry["shape"])
    start = _HEADER_BYTES + int(entry["data_offsets"][0])
    return np.memmap(path, dtype=dtype, mode="r", offset=start, shape=shape)


def _release(vectors: NDArray[Any]) -> None:
    """Give pages of a mapped file back, which stay in the cache of the system."""
    mapped = getattr(vectors, "_mmap", None)
    if mapped is not None and hasattr(mapped, "madvise"):
        from mmap import MADV_DONTNEED

        mapped.madvise(MADV_DONTNEED)


def _empty(collection: VectorCollection) -> EmptyCollectionError:
    return EmptyCollectionError(
        f"The collection {collection.info().name!r} is empty. Index documents first."
    )


class ExactSearch:
    """Ranks all rows of a collection, of a copy that is kept while it is current.

    A small collection is copied into memory; a larger one into the folder `exact` of the cache of
    the user, where the next process finds it, and which may be deleted at any time. Where nothing
    can be written there, the collection is read by each search.
    """

    def __init__(self, collection: VectorCollection) -> None:
        """Nothing is read yet."""
        self._collection = collection
        self._copy: VectorCopy | None = None
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Read the collection again the next time."""
        with self._lock:
            self._copy = None
            with suppress(EmptyCollectionError):  # of nothing there is no copy that could be used
                copied_to(self._collection.info()).unlink(missing_ok=True)

    def rank(self, query: FoldedQuery, request: SearchRequest) -> Ranking:
        """The best `k` of the rows that pass the filters of a request."""
        where, where_document = request.where, request.where_document
        copy = self._current(query.first.collection)
        if copy is None:
            pages = self._collection.scan(where=where, where_document=where_document, vectors=True)
            return rank_pages(pages, query, request.k)
        passing = copy.passing(self._collection, where, where_document)
        return rank_exactly(copy, self._collection, query, request.k, passing)

    def _current(self, info: CollectionInfo) -> VectorCopy | None:
        size = self._collection.count() * info.dimension * np.dtype(np.float32).itemsize
        with self._lock:
            if self._copy is not None and self._copy.is_current(self._collection):
                return self._copy
            if size <= MAX_COPY_BYTES:
                self._copy = VectorCopy.read(self._collection)
                return self._copy
            path = copied_to(info)
            self._copy = VectorCopy.open(path)
            if self._copy is None or not self._copy.is_current(self._collection):
                self._copy = self._written(path)
            return self._copy

    def _written(self, path: Path) -> VectorCopy | None:
        try:
            VectorCopy.write(self._collection, path)
        except OSError as problem:
            _log.warning("No copy for exact searches, each reads the collection: %s", problem)
            return None
        return VectorCopy.open(path)


def copied_to(info: CollectionInfo) -> Path:
    """The file with the copy of a large collection."""
    return cache_folder() / "exact" / f"{info.fingerprint}.safetensors"


def rank_exactly(
    copy: VectorCopy,
    collection: VectorCollection,
    query: FoldedQuery,
    k: int,
    passing: BoolArray | None = None,
) -> Ranking:
    """The best `k` rows of a copy, by scores of stored vectors; ties keep the order of the rows.

    A score is an inner product, which is computed for all rows, and a share of similarities of
    another space, which have an upper bound. So rows are scored in the order of their inner
    products, until none of the rest can reach the best.
    """
    direction, most = _linear_part(query)
    everything = range(len(copy.ids))
    with _Blocks() as blocks:
        bounds = blocks.map(lambda block: copy.units(block) @ direction, everything)
        # To an inner product a row without a direction is as near as an orthogonal one.
        if len(near := np.flatnonzero(bounds == 0)):
            real = blocks.map(lambda block: has_direction(copy.units(block)), near)
            bounds[near[~real]] = -np.inf
        order = np.arange(len(everything)) if passing is None else np.flatnonzero(passing)
        if not len(order):
            return Ranking((), np.empty(0, dtype=np.float32))
        order = order[best_first(bounds[order])]
        found, error = bounds[order], float(np.linalg.norm(direction)) * copy.rounding
        if most:
            error = _STRETCHED * copy.rounding
            found = _best_first(copy, query, order, found + np.float32(most + error), k, blocks)
            order, best = order[: len(found)], best_first(found)
            order, found = order[best], found[best]
    least = found[k - 1] - 2 * error - SAME_SCORE if k < len(found) else -np.inf
    reaching = int((found >= least).sum())
    again = np.sort(order[: min(max(reaching, _AGAIN), _MOST_AGAIN + k)])
    rows = copy.rows(collection, again)
    if not rows.ids:
        return Ranking((), np.empty(0, dtype=np.float32))
    scores = query.score(rows)
    best = best_first(scores)[:k]
    return Ranking(tuple(rows.ids[i] for i in best), np.maximum(scores[best], -1.0), rows)


def _linear_part(query: FoldedQuery) -> tuple[FloatArray, float]:
    """A vector of shape (d,), whose inner product is part of a score, and the most of the rest."""
    direction, most = np.zeros(query.query.shape[1]), 0.0
    for one in query.rankers:
        ranker, blend = one.ranker, query.blend * one.blend
        direction += one.weight * (1 - ranker.mix) * ranker.fold(query.query, blend)[0]
        reached = 1.0
        if isinstance(ranker, InstructionTransform):
            reached = ranker.most(query.query, blend)
        most += one.weight * ranker.mix * reached
    if query.shift is not None:
        direction += query.vector - replace(query, shift=None).vector
    return direction.astype(np.float32), most


def _best_first(
    copy: VectorCopy,
    query: FoldedQuery,
    order: IntArray,
    bounds: FloatArray,
    k: int,
    blocks: "_Blocks",
) -> FloatArray:
    """Scores of the first rows in the order of their bounds: all that can be among the best `k`."""
    parts: list[FloatArray] = []
    best, done, size = np.empty(0, dtype=np.float32), 0, _BLOCK
    while done < len(order) and not (len(best) == k and bounds[done] < best[0]):
        positions = order[done : done + size]
        parts.append(blocks.map(lambda block: query.score(Rows((), copy.units(block))), positions))
        best = np.sort(np.concatenate([best, parts[-1]]))[-k:]
        done, size = done + len(positions), min(2 * size, _SPAN)
    return np.concatenate(parts)


class _Blocks:
    """Works on blocks of rows in a few threads, each with kernels of its own."""

    def __enter__(self) -> "_Blocks":
        self._open = ExitStack()
        self._open.enter_context(one_thread())
        self._pool = self._open.enter_context(ThreadPoolExecutor(_THREADS))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def map(self, work: Callable[[Any], NDArray[Any]], positions: range | IntArray) -> NDArray[Any]:
        """What the work makes of each block, shape (m,) for m positions."""
        starts = range(0, len(positions), _BLOCK)
        done = self._pool.map(lambda at: work(positions[at : at + _BLOCK]), starts)
        return np.concatenate(list(done)) if starts else np.empty(0, dtype=np.float32)


def rank_pages(pages: Iterable[Rows], query: FoldedQuery, k: int) -> Ranking:
    """Score every row of some pages with vectors; ties keep the order of the rows."""
    best: list[tuple[str, float]] = []
    for rows in pages:
        if rows.ids:
            scores = query.score(rows)
            order = best_first(scores)[:k]
            best += [(rows.ids[i], float(scores[i])) for i in order]
            kept = best_first(np.array([score for _, score in best], dtype=np.float32))[:k]
            best = [best[i] for i in kept]
    scores = np.array([max(score, -1.0) for _, score in best], dtype=np.float32)
    return Ranking(tuple(row for row, _ in best), scores)
