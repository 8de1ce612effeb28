"""Any LangChain vector store as a collection, by its public methods alone."""

import inspect
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from typing import Any, NoReturn
from uuid import uuid4

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from instruct_embeddings._threads import Recent
from instruct_embeddings._types import FloatArray, Where
from instruct_embeddings.config import at_least, check_filter
from instruct_embeddings.errors import (
    CollectionMismatchError,
    ConfigError,
    UnsupportedCollectionError,
)
from instruct_embeddings.protocols import Capabilities, CollectionInfo, Neighbours, Rows
from instruct_embeddings.stores import collection_behind, is_known
from instruct_embeddings.transform.vectors import unit_rows

_log = logging.getLogger(__name__)
_ANYTHING = "text"
_KEPT = 4096  # documents found last: their texts are asked for after a search
_DIRECTIONS = 8  # of one round of a sample
_FOUND_AT_ONCE = (4, 50)  # rows of one search of a sample
_ROUNDS_WITHOUT_NEWS = 3
_PROBES = 8
_FILTER_ARGUMENTS = ("filter", "expr")


def collection_of(store: VectorStore) -> Any:
    """The vectors behind a store of a known engine, or what its public methods give.

    Raises:
        UnsupportedCollectionError: A store of a known engine that cannot be read as it is.
        ConfigError: An unknown store without an embeddings object.
    """
    return collection_behind(store) if is_known(store) else StoreVectors(store)


class StoreVectors:
    """A LangChain vector store of an engine that has no adapter, by its public methods alone.

    Such a store is searched by a vector, `similarity_search_by_vector`, and says nothing else:

    - Instructions move the query, and the store's own order stands. Scores are unknown (NaN), so
      that `score_threshold`, `lambda_mult`, `feedback` and constraints ("only", "no") need
      `rescore`.
    - Rows cannot be listed. A sample is what searches in random directions find, and searches
      around what was found: it reaches rows at the edges sooner than those in the middle.
    - Vectors are not given back, so the texts of a sample are embedded again: some 400 before the
      first answer, up to `sample_limit` for a fit, each once in a process. A line is logged before
      that; with an embedding API it costs what embedding these texts costs.

    Instantiate:
        ```python
        retriever = InstructionTransformRetriever(
            vectorstore=store, collection=StoreVectors(store, name="tickets", rescore=True)
        )
        ```

    Args:
        store: The vector store.
        name: What tells its collection from others, so that fitted transforms are found again by
            another process. Without one they serve this process alone. A collection that is made
            anew is noticed before the next fit of this process, and not by another one: then give
            another name.
        rescore: Embed the texts that a search finds again (30 or twice `k` where a transform ranks,
            else `k`) and order them by what ranks: better, and one request to the embeddings at
            each search.
        sample_limit: Most texts of a sample.
        embeddings: What made the vectors; by default the store's own.
        filter_argument: Name of the argument of `similarity_search_by_vector` that takes a filter,
            where its signature does not say it. Filters are in the words of the store.

    Raises:
        ConfigError: The store has no embeddings, or an argument is out of its range.
    """

    def __init__(
        self,
        store: VectorStore,
        *,
        name: str | None = None,
        rescore: bool = False,
        sample_limit: int = 1000,
        embeddings: Embeddings | None = None,
        filter_argument: str | None = None,
    ) -> None:
        embeddings = embeddings or getattr(store, "embeddings", None)
        if not isinstance(store, VectorStore) or not isinstance(embeddings, Embeddings):
            raise ConfigError(
                f"StoreVectors got a {type(store).__name__} with embeddings of the type "
                f"{type(embeddings).__name__}. Needed is a VectorStore of LangChain and the "
                "Embeddings that made its vectors. Pass StoreVectors(store, embeddings=model)."
            )
        self.store, self.embeddings = store, embeddings
        self.name, self.rescore = name, rescore
        self.sample_limit = at_least("sample_limit", sample_limit, 1, optional=False)
        self._filter_argument = filter_argument
        kind = f"{type(store).__module__}.{type(store).__qualname__}"
        self._identity = f"{kind} {name or uuid4().hex}"
        self._made = 0  # times that it was found made anew
        self._info: CollectionInfo | None = None
        self._probes: Rows = Rows(())
        self._said = 0
        self._documents: Recent[str, Document] = Recent(_KEPT)
        self._vectors: Recent[str, FloatArray] = Recent(self.sample_limit + _KEPT)

    @property
    def capabilities(self) -> Capabilities:
        """Vectors where they are made again; neither rows nor their number."""
        return Capabilities(
            vectors=self.rescore,
            cheap_vectors=False,
            listing=False,
            cheap_count=False,
            text_filters=False,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self.store).__name__}, name={self.name!r})"

    def __eq__(self, other: object) -> bool:
        """Whether both ask one store in one way."""
        if not isinstance(other, StoreVectors):
            return NotImplemented
        own, others = (
            (id(one.store), id(one.embeddings), one.name, one.rescore) for one in (self, other)
        )
        return own == others

    def __hash__(self) -> int:
        return hash((id(self.store), self.name))

    def info(self) -> CollectionInfo:
        """Identity and dimension; the space is taken for that of cosines.

        One text is embedded, once.
        """
        if self._info is None:
            dimension = self._embedded([_ANYTHING]).shape[1]
            name = self.name or type(self.store).__name__
            self._info = CollectionInfo(name, f"{self._identity} {self._made}", dimension, "cosine")
        return self._info

    def count(self) -> int:
        """Not known: UnsupportedCollectionError."""
        self._refuse("count")

    def state(self) -> str:
        """Not known: UnsupportedCollectionError."""
        self._refuse("state")

    def scan(self, **options: Any) -> Iterator[Rows]:
        """Rows cannot be listed: UnsupportedCollectionError."""
        self._refuse("scan")

    def sample(self, size: int, *, seed: int) -> Rows:
        """At most `size` rows, and at most `sample_limit`: what random directions find.

        Searches in random directions take turns with searches around texts that were found. The
        texts are embedded again for their vectors. The same seed gives the same rows where the
        store answers alike.
        """
        size = min(at_least("size", size, 1, optional=False), self.sample_limit)
        self._say(size)
        self._look_at_probes()
        rng = np.random.default_rng(seed)
        fewest, most = _FOUND_AT_ONCE
        k = int(np.clip(size // 16, fewest, most))
        found: dict[str, Document] = {}
        around: list[str] = []
        silent, random = 0, True
        while len(found) < size and silent < _ROUNDS_WITHOUT_NEWS:
            directions: FloatArray
            if random or not around:
                shape = _DIRECTIONS, self.info().dimension
                directions = rng.standard_normal(shape, dtype=np.float32)
            else:
                chosen = [around.pop(int(rng.integers(len(around)))) for _ in around[:_DIRECTIONS]]
                near = _rows((row, found[row]) for row in chosen)
                directions = self._with_vectors(near).vectors
            before = len(found)
            for direction in unit_rows(directions):
                for row, document in self._ask(direction, k, None).items():
                    found.setdefault(row, document)
            fresh = list(found)[before:]
            around += fresh
            silent, random = (0 if fresh else silent + 1), not random
        rows = self._with_vectors(_rows(islice(found.items(), size)))
        if not len(self._probes):
            self._probes = rows.take(range(min(_PROBES, len(rows))))
        return rows

    def fetch(self, ids: Sequence[str], *, vectors: bool = False, records: bool = False) -> Rows:
        """Rows by id, of those that were found last; others only where the store has `get_by_ids`.

        Raises:
            UnsupportedCollectionError: Vectors are wanted, and `rescore` is off.
        """
        del records  # documents come whole
        if vectors and not self.rescore:
            self._refuse("the vectors of results")
        known = {row: self._documents.get(row) for row in dict.fromkeys(ids)}
        missing = [row for row, document in known.items() if document is None]
        if missing:
            known |= self._kept(self._by_ids(missing))
        rows = _rows((row, one) for row in ids if (one := known.get(row)) is not None)
        return self._with_vectors(rows) if vectors else rows

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
        """The `k` nearest rows of one vector, shape (d,), as the store orders them.

        With `rescore` their texts are embedded again and they are ordered by cosine; else their
        scores are NaN.

        Raises:
            CollectionMismatchError: The embeddings make vectors of another dimension.
            ConfigError: `k` is no positive number, or the store takes no such filter.
            UnsupportedCollectionError: The store cannot be searched by a vector, or vectors are
                wanted and `rescore` is off.
        """
        if where_document:
            raise ConfigError(
                f"where_document={where_document!r:.60} cannot be obeyed: a "
                f"{type(self.store).__name__} is asked by its public methods, which know no filter "
                "of texts. Filter by metadata, in the words of the store."
            )
        query = np.asarray(vector, dtype=np.float32)
        dimension = self.info().dimension
        if query.shape != (dimension,):
            raise CollectionMismatchError(
                f"The query vector has the shape {query.shape}, the embeddings of the store make "
                f"{dimension} numbers. Both must come from the same model. Embed queries with the "
                "embeddings of the store."
            )
        del candidates, records  # public methods know no depth, and documents come whole
        found = _rows(self._ask(query, at_least("k", k, 1, optional=False), where).items())
        if not self.rescore:
            if vectors:
                self._refuse("the vectors of results")
            return Neighbours(found, np.full(len(found), np.nan, dtype=np.float32))
        rows = self._with_vectors(found)
        scores = np.asarray(unit_rows(rows.vectors) @ unit_rows(query[None])[0], dtype=np.float32)
        order = np.argsort(-scores, kind="stable")
        return Neighbours((rows if vectors else found).take(order), scores[order])

    def _ask(self, vector: FloatArray, k: int, where: Where | None) -> dict[str, Document]:
        """The nearest documents by their ids, in the order of the store."""
        try:
            found = self.store.similarity_search_by_vector(
                vector.tolist(), k=k, **self._filters(where)
            )
        except NotImplementedError as error:
            raise UnsupportedCollectionError(
                f"A {type(self.store).__name__} has no similarity_search_by_vector, so that no "
                "moved query can be asked of it. It is the one method that is needed. Write a "
                "VectorCollection for its engine, or use another store."
            ) from error
        return self._kept(found)

    def _filters(self, where: Where | None) -> dict[str, Any]:
        """The filter as an argument of the search; a store may leave out one that it ignores."""
        check_filter("where", where)
        if not where:
            return {}
        value = where["$native"] if set(where) == {"$native"} else dict(where)
        if self._filter_argument is not None:
            return {self._filter_argument: value}
        known = inspect.signature(self.store.similarity_search_by_vector).parameters
        for name in _FILTER_ARGUMENTS:
            if name in known:
                return {name: value}
        raise ConfigError(
            f"Whether similarity_search_by_vector of a {type(self.store).__name__} takes a filter "
            f"is not to be seen: its arguments are {', '.join(known)}. One that it ignored would "
            'give wrong results. Pass collection=StoreVectors(store, filter_argument="filter") '
            "where it takes one of that name."
        )

    def _by_ids(self, ids: Sequence[str]) -> list[Document]:
        try:
            return self.store.get_by_ids(ids)
        except NotImplementedError:
            return []

    def _kept(self, documents: Iterable[Document]) -> dict[str, Document]:
        """Documents by their ids, kept for when their texts are asked for."""
        return {(row := _id(one)): self._documents.put(row, one) for one in documents}

    def _with_vectors(self, rows: Rows) -> Rows:
        """The rows with vectors, which are made again of their texts."""
        return replace(rows, vectors=self._embedded([text or "" for text in rows.read_texts]))

    def _embedded(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of texts, shape (n, d); those that were embedded before are remembered."""
        known = {text: self._vectors.get(text) for text in dict.fromkeys(texts)}
        new = [text for text, vector in known.items() if vector is None]
        if new:
            made = np.asarray(self.embeddings.embed_documents(new), dtype=np.float32)
            for text, vector in zip(new, made, strict=True):
                known[text] = self._vectors.put(text, vector)
        if not texts:
            return np.empty((0, self.info().dimension), dtype=np.float32)
        return np.stack([vector for text in texts if (vector := known[text]) is not None])

    def _say(self, size: int) -> None:
        """What is about to be embedded, where it is more than was said before."""
        if size > self._said:
            self._said = size
            _log.warning(
                "A %s gives no vectors back: up to %d of its texts are embedded again by %s, to "
                "get to know the collection. StoreVectors(store, sample_limit=...) sets the most.",
                type(self.store).__name__,
                size,
                type(self.embeddings).__name__,
            )

    def _look_at_probes(self) -> None:
        """Take another identity where none of some rows is found by its own vector any more."""
        if not len(self._probes):
            return
        for row, vector in zip(self._probes.ids, self._probes.vectors, strict=True):
            if row in self._ask(vector, _FOUND_AT_ONCE[0], None):
                return
        self._made, self._info, self._probes = self._made + 1, None, Rows(())

    def _refuse(self, what: str) -> NoReturn:
        raise UnsupportedCollectionError(
            f"A {type(self.store).__name__} is asked by its public methods, which do not give "
            f"{what}. Needed is a store of an engine that has an adapter (Chroma, Milvus, Qdrant, "
            "PostgreSQL); for vectors, StoreVectors(store, rescore=True) embeds texts again."
        )


def _id(document: Document) -> str:
    """Its id; of one without, as some stores give them, a digest of what it holds."""
    if document.id is not None:
        return document.id
    said = json.dumps(document.metadata, sort_keys=True, default=str)
    return sha256(f"{document.page_content}\x1f{said}".encode(errors="replace")).hexdigest()


def _rows(documents: Iterable[tuple[str, Document]]) -> Rows:
    """Documents with their ids as rows without vectors."""
    pairs = list(documents)
    return Rows(
        tuple(row for row, _ in pairs),
        texts=tuple(document.page_content for _, document in pairs),
        metadatas=tuple(document.metadata for _, document in pairs),
    )
