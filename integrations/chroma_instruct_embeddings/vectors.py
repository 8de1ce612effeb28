"""A Chroma collection as the `VectorCollection` that retrieval works on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast, get_args
from uuid import UUID

import numpy as np
from chromadb import Collection, GetResult, Include

from chroma_instruct_embeddings.embedded import NODE_KEY, embedded_text
from chroma_instruct_embeddings.errors import AnswerError, kind_of, translate, unsupported
from instruct_embeddings._reading import shown
from instruct_embeddings._types import FloatArray, Space, Where
from instruct_embeddings.config import at_least, check_filter
from instruct_embeddings.errors import (
    ConfigError,
    EmptyCollectionError,
    InvalidVectorsError,
    StaleCollectionError,
    UnsupportedCollectionError,
)
from instruct_embeddings.protocols import CollectionInfo, Neighbours, Rows

# One id is one SQL variable, and SQLite takes 32,766 of them.
MAX_PAGE_SIZE = 10_000
# Of the metadata, in which old versions of Chroma note the distance.
SPACE_KEY = "hnsw:space"
_DEFAULT_SPACE = "l2"
_TRIES = 3
# Recognised by name: LangChain and LlamaIndex need not be installed, and are never imported.
_LANGCHAIN = ("langchain_chroma", "langchain_community.vectorstores.chroma")
_LLAMA_INDEX = ("llama_index.vector_stores.chroma",)
_Answer = TypeVar("_Answer")


class ChromaVectors:
    """The vectors of a Chroma collection, embedded or on a server; read only.

    Texts are never passed to Chroma, so its embedding functions are neither used nor needed.

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
        page_size = at_least("page_size", page_size, 1, optional=False)
        if page_size > MAX_PAGE_SIZE:
            raise ConfigError(
                f"page_size={page_size!r} is out of range. Allowed is 1 to {MAX_PAGE_SIZE:,}. "
                "Use 2000, or 300 on Chroma Cloud."
            )
        collection_of(source)
        self.source = source
        self.page_size = page_size
        self._dimension_of: tuple[UUID, int] | None = None

    def __repr__(self) -> str:
        found = self.collection
        return f"{type(self).__name__}({found.name!r}, id={str(found.id)!r})"

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
        """Identity, dimension and space.

        Raises:
            EmptyCollectionError: The collection holds no vectors.
        """
        collection = self.collection
        return CollectionInfo(
            name=collection.name,
            id=str(collection.id),
            dimension=self._dimension(collection),
            space=space_of(collection),
        )

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

        Filters are Chroma's; empty means none.

        Raises:
            ConfigError: `limit` or `offset` is negative.
        """
        limit = at_least("limit", limit, 0, optional=False)
        offset = at_least("offset", offset, 0, optional=False)
        collection = self.collection
        parts = []
        for start in range(offset, offset + limit, self.page_size):
            asked = min(self.page_size, offset + limit - start)
            part = self._get(
                collection,
                vectors=vectors,
                records=records,
                limit=asked,
                offset=start,
                where=_filter(where),
                where_document=_filter(where_document),
            )
            parts.append(part)
            if len(part) < asked:
                break
        return self._joined(parts, collection, vectors=vectors)

    def fetch(self, ids: Sequence[str], *, vectors: bool = False, records: bool = False) -> Rows:
        """Rows by id, any number, in the order of the ids; those that are gone are left out."""
        collection = self.collection
        # Chroma refuses repeated ids.
        wanted = list(dict.fromkeys(ids))
        parts = [
            self._get(
                collection,
                vectors=vectors,
                records=records,
                ids=wanted[start : start + self.page_size],
            )
            for start in range(0, len(wanted), self.page_size)
        ]
        rows = self._joined(parts, collection, vectors=vectors)
        if len(wanted) == len(ids):
            return rows
        position = {row: i for i, row in enumerate(rows.ids)}
        return rows.take([position[row] for row in ids if row in position])

    def search(
        self,
        vector: FloatArray,
        *,
        k: int,
        where: Where | None = None,
        where_document: Where | None = None,
        vectors: bool = False,
    ) -> Neighbours:
        """The `k` nearest rows of one vector, shape (d,), by Chroma's index.

        Filters are Chroma's; empty means none. `vectors` come in the same request where they fit a
        page.

        Raises:
            CollectionMismatchError: The vector has another dimension than the collection.
            ConfigError: `k` is no positive number, or the vector is not one-dimensional.
            InvalidVectorsError: The vector holds NaN or infinite numbers.
            StaleCollectionError: Another process changed or deleted the collection.
        """
        query = _query(vector)
        k = at_least("k", k, 1, optional=False)
        collection = self.collection
        # Chroma makes room for as many as are asked for.
        wanted = k if k <= MAX_PAGE_SIZE else max(1, min(k, self.count()))
        along = vectors and wanted <= self.page_size
        include: Include = ["distances", "embeddings"] if along else ["distances"]

        def ask() -> Neighbours:
            answer = collection.query(
                query_embeddings=query,
                n_results=wanted,
                where=_filter(where),
                where_document=_filter(where_document),
                include=include,
            )
            ids = tuple(_each(answer["ids"][0], str, "ids"))
            distances = (answer["distances"] or [[]])[0]
            found = _numbers(distances, "distances", rows=len(ids), axes=1)
            # Chroma reports 1 - cosine, 1 - inner product, and the squared Euclidean distance.
            scores = -found if space_of(collection) == "l2" else 1 - found
            if not along or not ids:
                return Neighbours(ids, scores)
            embeddings: Any = answer["embeddings"]
            stored = _numbers(embeddings[0], "embeddings", rows=len(ids), axes=2)
            return Neighbours(ids, scores, stored)

        found = request(collection, ask)
        if along or not vectors:
            return found
        rows = self.fetch(found.ids, vectors=True)  # page by page
        scores = dict(zip(found.ids, found.scores, strict=True))
        kept = np.array([scores[row] for row in rows.ids], dtype=np.float32)
        return Neighbours(rows.ids, kept, rows.vectors)

    def _dimension(self, collection: Collection) -> int:
        known = self._dimension_of
        if known is None or known[0] != collection.id:
            known = (collection.id, request(collection, lambda: dimension_of(collection)))
            self._dimension_of = known
        return known[1]

    def _get(
        self, collection: Collection, *, vectors: bool, records: bool, **criteria: Any
    ) -> Rows:
        include: Include = ["embeddings"] if vectors else []
        if records:
            include += ["documents", "metadatas"]

        def ask() -> Rows:
            answer = collection.get(include=include, **criteria)
            return _rows(answer, criteria.get("ids"), vectors=vectors, records=records)

        return request(collection, ask)

    def _joined(self, parts: Sequence[Rows], collection: Collection, *, vectors: bool) -> Rows:
        rows = parts[0] if len(parts) == 1 else Rows.joined(parts)
        if not vectors or rows.ids:
            return rows
        try:
            dimension = self._dimension(collection)
        except EmptyCollectionError:
            return rows
        return replace(rows, vectors=np.empty((0, dimension), dtype=np.float32))


def collection_of(source: object) -> Collection:
    """The synchronous collection behind a source, or UnsupportedCollectionError.

    Looked up on each use, because a LangChain store replaces its collection when it is reset.
    """
    if isinstance(source, Collection):
        return source
    found = source
    if _is_a(source, "Chroma", _LANGCHAIN):
        try:
            # LangChain has no public accessor; this is the only place that uses the private one.
            found = getattr(source, "_collection", None)
        except ValueError as error:
            raise UnsupportedCollectionError(
                f"The {kind_of(source)} holds no collection: it was deleted. A store must hold one "
                "while it is searched. Call its reset_collection(), or open the store again."
            ) from error
    elif _is_a(source, "ChromaVectorStore", _LLAMA_INDEX):
        found = getattr(source, "client", None)
    if isinstance(found, Collection):
        return found
    raise unsupported(source, found)


def _is_a(source: object, name: str, modules: tuple[str, ...]) -> bool:
    bases = type(source).__mro__
    return any(base.__name__ == name and base.__module__.startswith(modules) for base in bases)


def configured_space(collection: Collection) -> str | None:
    """The distance that the collection's configuration names, if any; see `space_of`."""
    # The raw configuration: the parsed one fails where an embedding function is not registered.
    configuration: Mapping[str, Any] = collection.configuration_json or {}
    index = configuration.get("hnsw") or configuration.get("spann") or {}
    space: str | None = index.get("space")
    return space


def space_of(collection: Collection) -> Space:
    """Distance of the collection's index."""
    metadata: Mapping[str, Any] = collection.metadata or {}
    space = configured_space(collection) or _DEFAULT_SPACE
    if space == _DEFAULT_SPACE:
        # Collections of chromadb before 0.6 name their distance here; newer versions search by it
        # and still report the default.
        space = metadata.get(SPACE_KEY) or space
    if space not in get_args(Space):
        raise UnsupportedCollectionError(
            f"The collection {collection.name!r} uses the distance {space!r}. Known are "
            f"{', '.join(get_args(Space))}. Upgrade the package or copy the vectors to a new "
            "collection."
        )
    return cast(Space, space)


def dimension_of(collection: Collection) -> int:
    """Length of the stored vectors, or EmptyCollectionError."""
    # An object that was there before the first vector never learns it: a stored row tells it.
    known = collection.get_model().dimension
    first = collection.get(limit=1, include=[] if known else ["embeddings"])
    if not first["ids"]:
        raise EmptyCollectionError(
            f"The collection {collection.name!r} holds 0 vectors. At least one is needed. "
            "Add documents to it first, or check the name and the path of the collection."
        )
    return known or np.asarray(first["embeddings"]).shape[1]


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
            if not (isinstance(known, StaleCollectionError) and left):
                raise known from error
    raise AssertionError("unreachable")


def _rows(answer: GetResult, wanted: Sequence[str] | None, *, vectors: bool, records: bool) -> Rows:
    """Rows of one answer, in the order of `wanted`: Chroma answers in that of insertion."""
    ids = tuple(_each(answer["ids"], str, "ids"))
    order = list(range(len(ids)))
    if wanted is not None and ids != tuple(wanted):
        position = {row: i for i, row in enumerate(ids)}
        order = [position[row] for row in wanted if row in position]
    rows: dict[str, Any] = {}
    if vectors and ids:
        stored = _numbers(answer["embeddings"], "embeddings", rows=len(ids), axes=2)
        rows["vectors"] = stored if wanted is None else stored[order]
    if records:
        documents: Any = answer["documents"] or [None] * len(ids)
        metadatas: Any = answer["metadatas"] or [None] * len(ids)
        _each(documents, str | None, "documents", rows=len(ids))
        _each(metadatas, Mapping | None, "metadatas", rows=len(ids))
        rows["texts"] = tuple(documents[i] for i in order)
        # In one order: Chroma gives another at every read, and hosts hash them.
        rows["metadatas"] = tuple(dict(sorted((metadatas[i] or {}).items())) for i in order)
        if any(NODE_KEY in metadata for metadata in rows["metadatas"]):
            rows["embed"] = embedded_text
    return Rows(tuple(ids[i] for i in order), **rows)


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


def _query(vector: FloatArray) -> FloatArray:
    query = np.asarray(vector, dtype=np.float32)
    if query.ndim != 1:
        raise ConfigError(
            f"The query vector must have the shape (d,), got {query.shape}. Pass a single row."
        )
    if not np.isfinite(query).all():
        raise InvalidVectorsError(
            "The query vector holds NaN or infinite numbers. Look at the model that it came from."
        )
    return query


def _filter(where: Where | None) -> Any:
    check_filter("where", where)
    return dict(where) if where else None
