"""A Chroma collection as the `VectorCollection` that retrieval works on."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID

import numpy as np
from chromadb import Collection, Include
from typing_extensions import Self

from chroma_instruct_embeddings.database import ChromaDatabase
from chroma_instruct_embeddings.errors import AnswerError, translate
from chroma_instruct_embeddings.samples import sample_ids
from chroma_instruct_embeddings.spaces import depth_of, dimension_of, space_of
from instruct_embeddings._reading import shown
from instruct_embeddings._types import FloatArray, Space, Where
from instruct_embeddings.config import at_least, one_vector
from instruct_embeddings.errors import (
    ConfigError,
    EmptyCollectionError,
    StaleCollectionError,
    UnsupportedCollectionError,
)
from instruct_embeddings.filters import (
    Comparison,
    parse_where,
    parse_where_document,
    translate_filter,
)
from instruct_embeddings.paging import PagedCollection
from instruct_embeddings.protocols import CollectionInfo, Neighbours, Rows, places

# One id is one SQL variable, and SQLite takes 32,766 of them.
MAX_PAGE_SIZE = 10_000
_TRIES = 3
# Recognised by name: LangChain and LlamaIndex need not be installed, and are never imported.
# LangChain has no public accessor; only this place uses its private one.
_HOSTS = {
    "Chroma": (("langchain_chroma", "langchain_community.vectorstores.chroma"), "_collection"),
    "ChromaVectorStore": (("llama_index.vector_stores.chroma",), "client"),
}
_Answer = TypeVar("_Answer")


class ChromaVectors(PagedCollection):
    """The vectors of a Chroma collection, embedded or on a server; read only.

    Chroma's embedding functions are neither used nor needed. Filters are its own; empty means none.

    Instantiate:
        ```python
        from chroma_instruct_embeddings import ChromaVectors
        from instruct_embeddings import EncoderGuide, InstructRetriever

        retriever = InstructRetriever(ChromaVectors(collection), EncoderGuide())
        hits = retriever.search(vector, instruction="What is it for?", k=5)
        ```

    Args:
        source: A `chromadb.Collection`, a `langchain_chroma.Chroma` or a LlamaIndex
            `ChromaVectorStore`, made with a synchronous client. Nothing is read from it yet.
        page_size: Rows asked for in one request, at most 10,000 (Chroma Cloud: 300).

    Raises:
        UnsupportedCollectionError: The source is something else.
        ConfigError: The page size is out of its range.
    """

    def __init__(self, source: object, *, page_size: int = 2000) -> None:
        self.page_size = at_least("page_size", page_size, 1, optional=False)
        if self.page_size > MAX_PAGE_SIZE:
            raise ConfigError(f"page_size={page_size} is too much: at most {MAX_PAGE_SIZE}.")
        collection_of(source)
        self.source = source
        self._opened: ChromaDatabase | None = None
        # Of the collection of this id, as long as it is the one behind the source.
        self._dimension_of: tuple[UUID, int] | None = None
        self._index_of: tuple[UUID, Space, int] | None = None

    @classmethod
    def of(cls, store: object) -> Self:
        """The vectors behind a store of LangChain or LlamaIndex; see the class."""
        return cls(store)

    @classmethod
    def open(
        cls,
        address: str,
        collection: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Self:
        """The collection of that name at an address, such as `chroma:my-chroma`.

        `ChromaDatabase` tells what addresses there are, and what the other arguments are for.

        Raises:
            ConfigError: The address is malformed.
            CollectionError: There is no such database or collection, or its index is damaged.
            UnreachableCollectionError: No server answers.
        """
        database = ChromaDatabase(address, headers=headers, timeout=timeout)
        try:
            found = cls(database.collection(collection))
        except BaseException:
            database.close()
            raise
        found._opened = database
        return found

    def close(self) -> None:
        """End the connection that `open` made; a client of the caller's stays as it is."""
        if self._opened is not None:
            self._opened.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.collection.name!r}, id={str(self.collection.id)!r})"

    def __eq__(self, other: object) -> bool:
        """Whether both show one collection, through whichever objects."""
        if not isinstance(other, ChromaVectors):
            return NotImplemented
        return self.source is other.source or self.collection.id == other.collection.id

    def __hash__(self) -> int:
        return hash(self.collection.id)

    @property
    def collection(self) -> Collection:
        """The `chromadb.Collection` behind the source, as it is now."""
        return collection_of(self.source)

    def info(self) -> CollectionInfo:
        """Identity, dimension and space; EmptyCollectionError where it holds no vectors."""
        found = self.collection
        dimension = self._dimension(found)
        return CollectionInfo(found.name, str(found.id), dimension, self._index(found)[0])

    def count(self) -> int:
        """Number of rows now."""
        collection = self.collection

        def ask() -> int:
            found = collection.count()
            if not isinstance(found, int):
                raise AnswerError(f"the number of rows is {shown(found)}")
            return found

        return request(collection, ask)

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
        """One page of rows in the order of insertion; read in several requests where it is long.

        Raises:
            ConfigError: `limit` or `offset` is negative, or a filter is no mapping.
        """
        end = at_least("limit", limit, 0, optional=False)
        end += at_least("offset", offset, 0, optional=False)
        collection, kept = self.collection, _filters(where, where_document)
        parts: list[Rows] = []
        for start in range(offset, end, self.page_size):
            asked = min(self.page_size, end - start)
            paged = {"limit": asked, "offset": start, **kept}
            parts.append(_get_rows(collection, vectors, records, paged))
            if len(parts[-1]) < asked:
                break
        return self._joined(parts, collection, vectors)

    def sample(self, size: int, *, seed: int) -> Rows:
        """At most `size` rows with vectors, texts and metadata, in the order of insertion.

        In a folder any row is as likely as another, but for those behind a gap of deleted ones; of
        a server blocks of neighbours are read, see `PagedCollection.sample`.
        """
        ids = sample_ids(self.collection, size, seed=seed) if self.count() > size else []
        rows = self.fetch(ids, vectors=True, records=True) if len(ids) == size else Rows(())
        return rows if len(rows) == size else super().sample(size, seed=seed)

    def fetch(self, ids: Sequence[str], *, vectors: bool = False, records: bool = False) -> Rows:
        """Rows by id, any number, in the order of the ids; those that are gone are left out."""
        collection = self.collection
        wanted = list(dict.fromkeys(ids))  # Chroma refuses repeated ids
        pages = [wanted[at : at + self.page_size] for at in range(0, len(wanted), self.page_size)]
        parts = [_get_rows(collection, vectors, records, {"ids": page}) for page in pages]
        rows = self._joined(parts, collection, vectors)
        return rows if len(wanted) == len(ids) else rows.of(ids)

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
        """The `k` nearest rows of one vector, shape (d,), by Chroma's index.

        It looks further the more rows are asked for, and has no other way to be told. So where it
        has to look for more `candidates`, it is asked for their ids, and what else is wanted of the
        nearest `k` is read by a second request.

        Raises:
            CollectionMismatchError: The vector has another dimension than the collection.
            ConfigError: `k` is no positive number.
            InvalidVectorsError: It is not one vector, or holds NaN or infinite numbers.
            StaleCollectionError: Another process changed or deleted the collection.
        """
        query = one_vector(vector)
        k = at_least("k", k, 1, optional=False)
        collection = self.collection
        space, looks_for = self._index(collection)
        # Chroma makes room for as many as are asked for.
        wanted = k if candidates is None or candidates <= looks_for else max(k, candidates)
        if wanted > MAX_PAGE_SIZE:
            wanted = max(1, min(wanted, self.count()))
        kept = {"n_results": wanted, **_filters(where, where_document)}
        if wanted <= k:
            return _query_rows(collection, space, query, vectors, records, kept)
        found = _query_rows(collection, space, query, False, False, kept)
        near = found.take(range(min(k, len(found))))
        if not (vectors or records):
            return near
        rows = self.fetch(near.ids, vectors=vectors, records=records)
        return Neighbours(rows, near.scores[places(near.ids, rows.ids)])

    def _joined(self, parts: Sequence[Rows], collection: Collection, vectors: bool) -> Rows:
        """Pages as one, whose vectors have the dimension even where there is no row."""
        rows = parts[0] if len(parts) == 1 else Rows.joined(parts)
        if vectors and not rows.ids:
            with suppress(EmptyCollectionError):
                empty = np.empty((0, self._dimension(collection)), dtype=np.float32)
                return replace(rows, vectors=empty)
        return rows

    def _dimension(self, collection: Collection) -> int:
        if self._dimension_of is None or self._dimension_of[0] != collection.id:
            found = request(collection, lambda: dimension_of(collection))
            self._dimension_of = collection.id, found
        return self._dimension_of[1]

    def _index(self, collection: Collection) -> tuple[Space, int]:
        """Distance, and how many rows it looks for at the least."""
        if self._index_of is None or self._index_of[0] != collection.id:
            self._index_of = collection.id, space_of(collection), depth_of(collection)
        return self._index_of[1:]


def collection_of(source: object) -> Collection:
    """The synchronous collection behind a source, or UnsupportedCollectionError.

    Looked up on each use, because a LangChain store replaces its collection when it is reset.
    """
    found = source
    for base in type(source).__mro__:
        modules, attribute = _HOSTS.get(base.__name__, ((), ""))
        if base.__module__.startswith(modules):
            try:
                found = getattr(source, attribute, None)
            except ValueError as error:
                raise UnsupportedCollectionError(
                    f"The {_kind(source)} holds no collection: it was deleted. Call its "
                    "reset_collection(), or open the store again."
                ) from error
    if isinstance(found, Collection):
        return found
    behind = "" if found is source else f" behind a {_kind(source)}"
    raise UnsupportedCollectionError(
        f"Cannot read vectors from a {_kind(found)}{behind}. Accepted is a chromadb.Collection, a "
        "langchain_chroma.Chroma or a LlamaIndex ChromaVectorStore, made with a synchronous client "
        "such as HttpClient. Of a client, pass client.get_collection(name); for another store "
        "write a VectorCollection."
    )


def _kind(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def request(collection: Collection, ask: Callable[[], _Answer]) -> _Answer:
    """What Chroma answers, its errors translated; asked again where a row vanishes meanwhile.

    A server gathers ids first and their vectors later, and fails where a row was deleted in
    between. An index that is truly stale fails each time.
    """
    for left in reversed(range(_TRIES)):
        try:
            return ask()
        except Exception as error:
            known = translate(error, collection)
            if known is None:
                raise
            if not (left and isinstance(known, StaleCollectionError)):
                raise known from error
    raise AssertionError("unreachable")


def _filters(where: Where | None, where_document: Where | None) -> dict[str, Any]:
    """Filters as Chroma takes them: it wants one test a mapping; empty ones are none."""
    if where is None and where_document is None:
        return {}
    parsed = {"where": parse_where(where), "where_document": parse_where_document(where_document)}
    return {
        name: translate_filter(one, test=_test, join=_joined_tests, native=_refuse_native)
        for name, one in parsed.items()
        if one is not None
    }


def _test(test: Comparison) -> dict[str, Any]:
    value = list(test.value) if isinstance(test.value, tuple) else test.value
    return {test.operator: value} if test.of_text else {test.key: {test.operator: value}}


def _joined_tests(every: bool, parts: list[dict[str, Any]]) -> dict[str, Any]:
    return parts[0] if len(parts) == 1 else {"$and" if every else "$or": parts}


def _refuse_native(value: object) -> dict[str, Any]:
    raise ConfigError(
        f"Chroma knows no filters but those written without $native, got {value!r:.60}. Write the "
        'condition itself, such as {"area": "billing"}.'
    )


def _get_rows(
    collection: Collection, vectors: bool, records: bool, criteria: Mapping[str, Any]
) -> Rows:
    """Rows by id, in that order, or those of a page in the order of insertion."""

    def ask() -> Rows:
        answer = collection.get(include=_included(vectors, records), **criteria)
        # By id, Chroma answers in the order of insertion too.
        return _rows(answer, vectors, records, wanted=criteria.get("ids"))

    return request(collection, ask)


def _query_rows(
    collection: Collection,
    space: Space,
    query: FloatArray,
    vectors: bool,
    records: bool,
    criteria: Mapping[str, Any],
) -> Neighbours:
    """The rows that a query finds, with similarities."""
    include: Include = ["distances", *_included(vectors, records)]

    def ask() -> Neighbours:
        answer: Any = collection.query(query_embeddings=query, include=include, **criteria)
        # One answer for each query, of which there is one.
        first = {name: part and part[0] for name, part in answer.items() if name != "included"}
        rows = _rows(first, vectors, records)
        found = _numbers(first["distances"] or [], "distances", rows=len(rows.ids), axes=1)
        # Chroma reports 1 - cosine, 1 - inner product, and the squared Euclidean distance.
        return Neighbours(rows, -found if space == "l2" else 1 - found)

    return request(collection, ask)


def _included(vectors: bool, records: bool) -> Include:
    return [*["embeddings"] * vectors, *["documents", "metadatas"] * records]  # type: ignore[list-item]


def _rows(answer: Any, vectors: bool, records: bool, wanted: Sequence[str] | None = None) -> Rows:
    """What an answer holds, in the order of the wanted ids, or in its own."""
    ids = tuple(_each(answer["ids"], str, "ids"))
    fields: dict[str, Any] = {}
    if vectors and ids:
        fields["vectors"] = _numbers(answer["embeddings"], "embeddings", rows=len(ids), axes=2)
    if records:
        none: list[Any] = [None] * len(ids)
        texts = _each(answer["documents"] or none, str | None, "documents", len(ids))
        found = _each(answer["metadatas"] or none, Mapping | None, "metadatas", len(ids))
        # In one order: Chroma gives another at every read, and hosts hash them.
        metadatas = tuple(dict(sorted((metadata or {}).items())) for metadata in found)
        fields |= {"texts": tuple(texts), "metadatas": metadatas}
    rows = Rows(ids, **fields)
    return rows if wanted is None else rows.of(wanted)


def _each(values: Any, kind: Any, name: str, rows: int | None = None) -> Sequence[Any]:
    """A list of an answer, one entry of a kind for each row, as it is."""
    good = isinstance(values, list | tuple) and all(isinstance(value, kind) for value in values)
    if not good or (rows is not None and len(values) != rows):
        raise AnswerError(f"{name!r} are {shown(values)}")
    return values  # type: ignore[no-any-return]


def _numbers(values: Any, name: str, *, rows: int, axes: int) -> FloatArray:
    """Numbers of an answer as float32, one row or one number for each of its rows."""
    try:
        found = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise AnswerError(f"{name!r} are {shown(values)}") from error
    if found.ndim != axes or len(found) != rows:
        raise AnswerError(f"{name!r} have the shape {found.shape} for {rows} rows")
    return found
