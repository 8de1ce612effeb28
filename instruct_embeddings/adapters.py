"""What adapters of stores have in common: a collection of which a client is asked."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Generic, TypeVar

import numpy as np

from instruct_embeddings._threads import Lately
from instruct_embeddings._types import FloatArray, Space, Where
from instruct_embeddings._warnings import warn
from instruct_embeddings.config import at_least, one_vector
from instruct_embeddings.errors import (
    CollectionMismatchError,
    EmptyCollectionError,
    InstructEmbeddingsError,
    UnreachableCollectionError,
    UnsupportedCollectionError,
)
from instruct_embeddings.filters import Condition, parse_where, parse_where_document
from instruct_embeddings.protocols import CollectionInfo, Neighbours, Rows


@dataclass(frozen=True)
class Asked:
    """What is asked of rows: filters that they pass, and what comes along beside ids.

    `candidates` are so many as an index looks for; None leaves it to the store.
    """

    where: Condition | None = None
    where_document: Condition | None = None
    vectors: bool = False
    records: bool = False
    candidates: int | None = None

    def depth(self, k: int) -> int:
        """How many an index looks for where the `k` nearest are wanted."""
        return max(100, 2 * k) if self.candidates is None else max(k, self.candidates)


@dataclass(frozen=True)
class Described:
    """What a store says of a collection; `id` is None where it tells none."""

    id: str | None
    dimension: int
    space: Space


_Found = TypeVar("_Found", bound=Described)
_Answer = TypeVar("_Answer")


class AdaptedCollection(ABC, Generic[_Found]):
    """A `VectorCollection` but for the requests themselves. Safe to share by threads.

    What the store says of the collection is asked again where a request failed, and in `info` after
    some seconds.
    """

    def __init__(
        self, name: str, place: object, check_every: float, *, kind: str = "collection"
    ) -> None:
        """`place` is equal for objects that read one collection in one way."""
        self._name, self._place, self._what = name, place, f"{kind} {name!r}"
        self._known: _Found | None = None
        self._lately: Lately[_Found] = Lately(check_every)
        self._filled: str | None = None  # id of the collection that was seen to hold vectors

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r})"

    def __eq__(self, other: object) -> bool:
        """Whether both read one collection in one way, through one client or address."""
        if not isinstance(other, AdaptedCollection) or type(self) is not type(other):
            return NotImplemented
        return bool(self._place == other._place)

    def __hash__(self) -> int:
        return hash(self._name)

    def info(self) -> CollectionInfo:
        """Identity, dimension and space.

        Raises:
            EmptyCollectionError: No row has a vector yet.
            UnsupportedCollectionError: The collection cannot be searched as it is.
        """
        found = self._lately.get(self._describe)
        if found.id is None or found.id != self._filled:  # once: this stands before each search
            if not self._holds_vectors(found):
                raise EmptyCollectionError(
                    f"The {self._what} holds no vectors yet. At least one is needed. Store the "
                    "vectors of its rows."
                )
            found = self._identified(found)
            self._filled = found.id
        return CollectionInfo(self._name, found.id or "", found.dimension, found.space)

    def state(self) -> str:
        """Changes with every row that comes or goes; all ids are read."""
        digest, rows = sha256(), 0
        for page in self._pages(Asked()):
            rows += len(page)
            digest.update("".join(f"{row}\0" for row in page.ids).encode("utf-8", "surrogatepass"))
        return f"{rows} {digest.hexdigest()[:32]}"

    def scan(
        self,
        *,
        where: Where | None = None,
        where_document: Where | None = None,
        vectors: bool = False,
        records: bool = False,
    ) -> Iterator[Rows]:
        """All rows that pass the filters, page by page, each once, in the order of the ids.

        Raises:
            ConfigError: A filter is malformed, or cannot be obeyed.
        """
        return self._pages(_asked(where, where_document, vectors, records))

    def fetch(self, ids: Sequence[str], *, vectors: bool = False, records: bool = False) -> Rows:
        """Rows by id, any number, in the order of the ids; those that are gone are left out."""
        asked = Asked(vectors=vectors, records=records)
        rows = self._by_ids(list(dict.fromkeys(ids)), asked)
        return rows.of(ids)

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
        """The `k` nearest rows of one vector, shape (d,), by the index; vectors come along.

        The index looks for so many `candidates`, else for twice as many as are wanted and for 100
        or more.

        Raises:
            CollectionMismatchError: The vector has another dimension than the collection.
            ConfigError: `k` is no positive number or more than the store gives, or a filter is
                malformed or cannot be obeyed.
            InvalidVectorsError: It is not one vector, or holds NaN or infinite numbers.
        """
        query, k = one_vector(vector), at_least("k", k, 1, optional=False)
        asked = _asked(where, where_document, vectors, records, candidates)
        found = self._collection
        if len(query) != found.dimension:
            raise wrong_dimension(self._what, found.dimension, len(query))
        rows, scores = self._nearest(found, query, k, asked)
        order = np.argsort(-scores, kind="stable")
        order = order[np.isfinite(scores[order])]
        return Neighbours(rows.take(order), scores[order].astype(np.float32, copy=False))

    @property
    def _collection(self) -> _Found:
        """As it was last described."""
        return self._known or self._describe()

    def _describe(self) -> _Found:
        """As it is now."""
        before, self._known = self._known, None
        found = self._known = self._ask(lambda: self._described(before))
        return found

    def _ask(self, ask: Callable[[], _Answer]) -> _Answer:
        """What the store answers, its errors translated."""
        try:
            return ask()
        except Exception as error:
            self._known = None
            self._lately.forget()
            known = self._translated(error)
            if known is None:
                raise
            raise known from error

    def _identified(self, found: _Found) -> _Found:
        """With an identity, where the store tells none by itself."""
        return found

    @abstractmethod
    def _described(self, before: _Found | None) -> _Found:
        """What the store says of the collection; `before`, what it said last."""

    @abstractmethod
    def _translated(self, error: Exception) -> InstructEmbeddingsError | None:
        """The error to raise instead of one of the client's; None where its own should pass."""

    @abstractmethod
    def _holds_vectors(self, found: _Found) -> bool:
        """Whether at least one row has a vector."""

    @abstractmethod
    def _pages(self, asked: Asked) -> Iterator[Rows]:
        """All rows that pass, each once, in the order of the ids."""

    @abstractmethod
    def _by_ids(self, ids: list[str], asked: Asked) -> Rows:
        """Rows by id, which are given once each, in any order."""

    @abstractmethod
    def _nearest(
        self, found: _Found, query: FloatArray, k: int, asked: Asked
    ) -> tuple[Rows, FloatArray]:
        """The nearest rows and their similarities, in any order; those that are not finite go."""


def _asked(where: Where | None, where_document: Where | None, *rest: Any) -> Asked:
    return Asked(parse_where(where), parse_where_document(where_document), *rest)


def kind_behind(store: object, hosts: Mapping[str, tuple[str, ...]]) -> str | None:
    """The package that a host's store comes from, by the names of its classes.

    Hosts need not be installed, and are never imported.

    Args:
        store: Of whatever kind.
        hosts: Packages by names of classes.
    """
    for base in type(store).__mro__:
        for package in hosts.get(base.__name__, ()):
            if f"{base.__module__}.".startswith(f"{package}."):
                return package
    return None


def cannot_read(store: object, accepted: str, remedy: str) -> UnsupportedCollectionError:
    """The error for something else than a store."""
    kind = type(store)
    return UnsupportedCollectionError(
        f"Cannot read vectors from a {kind.__module__}.{kind.__qualname__}. Accepted are "
        f"{accepted}. Pass one of these, or {remedy}."
    )


def wrong_dimension(what: str, stored: int, given: int) -> CollectionMismatchError:
    """The error for a query vector of another length than those stored."""
    return CollectionMismatchError(
        f"The query vector has {given} dimensions, the {what} stores vectors of {stored}. Both "
        "must come from the same embedding model. Embed queries with the model that embedded what "
        "is stored."
    )


def unreachable(what: str, why: str, also: str = "") -> UnreachableCollectionError:
    """The error for a store that does not answer, or answers with something else."""
    return UnreachableCollectionError(
        f"The server of the {what} did not answer as it should ({why}). Searching and fitting need "
        f"one that is up and in reach. {also}Start it, look at the address, or allow it more time, "
        "and call again; nothing was changed."
    )


def warn_of_compression(what: str, by: str, better: str) -> None:
    """Warn of an index that finds fewer of the candidates of an instruction."""
    warn(
        f"The index of the {what} is compressed by product quantisation ({by}): fewer of the many "
        "candidates of an instruction are the true nearest, more than of the first ten. Better is "
        f"{better}; or raise the prefetch, and see with exact=True what is lost."
    )
