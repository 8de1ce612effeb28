"""A collection of Qdrant as the `VectorCollection` retrieval works on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from typing import Any, TypeVar
from uuid import UUID
from weakref import finalize

import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.local.qdrant_local import QdrantLocal

from instruct_embeddings._threads import Lately
from instruct_embeddings._types import FloatArray, Space, Where
from instruct_embeddings._warnings import warn
from instruct_embeddings.config import at_least, one_vector
from instruct_embeddings.errors import (
    ConfigError,
    EmptyCollectionError,
    UnsupportedCollectionError,
)
from instruct_embeddings.protocols import Capabilities, CollectionInfo, Neighbours, Rows
from qdrant_instruct_embeddings.client import behind, open_client
from qdrant_instruct_embeddings.collection import Collection, describe, mark
from qdrant_instruct_embeddings.errors import translate, wrong_dimension
from qdrant_instruct_embeddings.filters import conditions
from qdrant_instruct_embeddings.payloads import Layout

_PAGE = 1000
_IDS = 10_000  # a page of nothing but ids
_Answer = TypeVar("_Answer")


class QdrantVectors:
    """The vectors of a collection of Qdrant, on a server or in local mode; read only.

    Nothing is written but, where Qdrant does not tell when a collection was made (before 1.20, and
    in local mode), one text `instruct_embeddings_id` into the metadata of the collection, by which
    transforms are found again.

    Instantiate:
        ```python
        from instruct_embeddings import EncoderGuide, InstructRetriever
        from qdrant_instruct_embeddings import QdrantVectors

        retriever = InstructRetriever(QdrantVectors(qdrant, "documents"), EncoderGuide())
        hits = retriever.search(vector, instruction="What is it for?", k=5)
        ```

    Args:
        source: A synchronous `qdrant_client.QdrantClient`, or an address as `open` takes it. A
            server is not asked yet.
        collection: Name of the collection, or an alias.
        vector_name: Name of the vectors. None takes those without a name, or the only ones.
        text_key: Key of the texts in the payloads. None reads the texts of LlamaIndex's nodes.
        metadata_key: Key of the metadata in the payloads, "metadata" as LangChain writes it. None
            takes all but the text for metadata, as LlamaIndex and others write it.
        identity: Text that says which collection this is, for keys that may only read; another one
            is to be passed when the collection is made anew. None asks Qdrant.
        check_every: Seconds after which a search looks again whether it is still the same
            collection.

    Raises:
        ConfigError: An argument is out of its range.
        UnsupportedCollectionError: The source is something else, or a folder that cannot be opened.
    """

    def __init__(
        self,
        source: QdrantClient | str,
        collection: str,
        *,
        vector_name: str | None = None,
        text_key: str | None = "page_content",
        metadata_key: str | None = "metadata",
        identity: str | None = None,
        check_every: float = 1.0,
    ) -> None:
        if identity is not None and not (isinstance(identity, str) and identity):
            raise ConfigError(f"identity={identity!r:.60} is none. Allowed is a text, or None.")
        if not isinstance(source, str | QdrantClient):
            raise UnsupportedCollectionError(
                f"source={type(source).__name__} is no Qdrant. Accepted is a qdrant_client."
                "QdrantClient, which is synchronous, or an address such as qdrant://host:6333."
            )
        self.name = collection
        self._client = open_client(source) if isinstance(source, str) else source
        self._end = finalize(self, self._client.close) if isinstance(source, str) else None
        # Seen only behind the client. Local mode compares all rows, and warns of settings.
        self._local = isinstance(getattr(self._client, "_client", None), QdrantLocal)
        self._layout = Layout(text_key, metadata_key)
        self._vector_name, self._identity = vector_name, identity
        self._known: Collection | None = None
        self._lately: Lately[Collection] = Lately(check_every)
        self._filled: str | None = None  # id of the collection that was seen to hold vectors
        self._warned = False
        self._place = source, collection, vector_name, self._layout, identity

    def __eq__(self, other: object) -> bool:
        """Whether both read one collection in one way, through one client or address."""
        if not isinstance(other, QdrantVectors):
            return NotImplemented
        return self._place == other._place

    def __hash__(self) -> int:
        return hash(self.name)

    @classmethod
    def of(cls, store: object) -> "QdrantVectors":
        """The vectors behind a store of a host, read as that store writes them.

        Args:
            store: A `QdrantVectorStore` or `Qdrant` of langchain-qdrant, or a `QdrantVectorStore`
                of LlamaIndex, with a synchronous client.

        Raises:
            UnsupportedCollectionError: It is something else.
        """
        return cls(**behind(store))

    @classmethod
    def open(
        cls,
        address: str,
        collection: str,
        *,
        vector_name: str | None = None,
        identity: str | None = None,
    ) -> "QdrantVectors":
        """A collection by an address; one row is read to see who wrote it.

        Args:
            address: `qdrant://host:6333`, `qdrant://KEY@host:6333?ssl=true` for a server that
                asks for a key and speaks TLS, or `qdrant:FOLDER` for a folder of local mode.
            collection: Name of the collection, or an alias.
            vector_name: As in the class.
            identity: As in the class.

        Raises:
            ConfigError: It is no address of Qdrant.
            CollectionError: There is no such server, folder or collection.
        """
        found = cls(address, collection, vector_name=vector_name, identity=identity)
        try:
            found._describe()
            rows, _ = found._scroll([], limit=1, with_payload=True)
        except BaseException:
            found.close()  # at once: a folder serves one client at a time
            raise
        found._layout = Layout.of(rows[0].payload if rows else None)
        return found

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @property
    def capabilities(self) -> Capabilities:
        """Vectors are read, rows are listed and counted one by one; texts have filters or not.

        Texts inside of LlamaIndex's nodes have none, nor have those of a client before 1.20.
        """
        texts = self._layout.text_key is not None and hasattr(models, "MatchSubstring")
        return Capabilities(cheap_count=False, text_filters=texts)

    def info(self) -> CollectionInfo:
        """Identity, dimension and space.

        The identity is `identity`, or the text that was once written into the metadata of the
        collection, or the time it was made at; a collection that is made anew has another one. One
        that is restored from a snapshot keeps what was written into its metadata.

        Raises:
            EmptyCollectionError: No row has such a vector.
            UnsupportedCollectionError: The collection cannot be searched as it is, or has no
                identity and none may be written.
        """
        found = self._lately.get(self._describe)
        known = self._identity or found.id
        if not found.rows or known is None or known != self._filled:
            rows, _ = self._scroll([], limit=1)
            if not rows:
                vectors = f"{found.vector!r} " if found.vector else ""
                raise EmptyCollectionError(
                    f"The collection {self.name!r} holds no vectors {vectors}yet. At least one is "
                    "needed. Store the vectors of its rows."
                )
        if known is None:
            found = self._ask(lambda: mark(self._client, self.name, self._describe))
            self._lately.forget()
        self._filled = self._identity or found.id
        return CollectionInfo(self.name, self._filled or "", found.dimension, found.space)

    def count(self) -> int:
        """Number of rows with a vector now; the server counts them one by one."""
        passing = self._passing([])
        return self._ask(
            lambda: self._client.count(self.name, count_filter=passing, exact=True)
        ).count

    def state(self) -> str:
        """Changes with every row that is added or removed; all ids are read."""
        state = blake2b(digest_size=16)
        for rows in self._pages([], size=_IDS):
            state.update("".join(f"{row.id}\n" for row in rows).encode())
        return state.hexdigest()

    def sample(self, size: int, *, seed: int) -> Rows:
        """At most `size` rows with vectors, texts and metadata, each as likely as any other.

        They are drawn from the ids in some of the slices that Qdrant divides a collection into, by
        hashes; before Qdrant 1.19, from all ids. The same seed gives the same rows.
        """
        size = at_least("size", size, 1, optional=False)
        rng = np.random.default_rng(seed % 2**63)
        slices = max(1, self.count() // (2 * size))
        ids: list[str] = []
        for index in rng.permutation(slices).tolist():
            ids += self._ids(slices, index)
            if len(ids) >= size:
                break
        drawn = rng.permutation(len(ids))[:size]
        return self.fetch([ids[i] for i in drawn], vectors=True, records=True)

    def scan(
        self,
        *,
        where: Where | None = None,
        where_document: Where | None = None,
        vectors: bool = False,
        records: bool = False,
    ) -> Iterator[Rows]:
        """All rows that pass the filters, page by page, each once, in the order of the ids."""
        passing = conditions(self._layout, where, where_document)
        for found in self._pages(passing, size=_PAGE, **self._fields(vectors, records)):
            yield self._rows(found, vectors, records)

    def fetch(self, ids: Sequence[str], *, vectors: bool = False, records: bool = False) -> Rows:
        """Rows by id, any number, in the order of the ids; those that are gone are left out.

        UUIDs may be written in any form, in which they come back.
        """
        known = {row: key for row in ids if (key := _parsed(row)) is not None}
        # Servers know every form of a UUID, local mode before 1.20 that in which it was stored.
        keys = [key if isinstance(key, int) else row for row, key in known.items()]
        fields = self._fields(vectors, records)

        def page(at: int) -> list[models.Record]:
            return self._client.retrieve(self.name, keys[at : at + _PAGE], **fields)

        pages = [self._ask(partial(page, at)) for at in range(0, len(keys), _PAGE)]
        rows = self._rows([row for found in pages for row in found], vectors, records)
        position = {_parsed(row): i for i, row in enumerate(rows.ids)}
        there = [row for row in ids if row in known and known[row] in position]
        return replace(rows.take([position[known[row]] for row in there]), ids=tuple(there))

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

        The index looks for so many `candidates` (`hnsw_ef`), else for twice as many as are wanted
        and for 100 or more. Where it is quantised, as many are compared again by their vectors.
        Where fewer pass the filters than are wanted, all that pass are compared, as an index may
        have missed some. Local mode compares all rows.

        Raises:
            CollectionMismatchError: The vector has another dimension than the collection.
            ConfigError: `k` is no positive number, or a filter is malformed.
            InvalidVectorsError: It is not one vector, or holds NaN or infinite numbers.
        """
        query = one_vector(vector)
        k = at_least("k", k, 1, optional=False)
        passing = conditions(self._layout, where, where_document)
        # As `info` saw it last: retrieval asks for that before each search.
        known = self._collection
        if len(query) != known.dimension:
            raise wrong_dimension(self.name, known.dimension, len(query))
        ask = partial(
            self._client.query_points,
            self.name,
            query=query.tolist(),
            using=known.vector or None,
            query_filter=models.Filter(must=passing) if passing else None,
            limit=k,
            **self._fields(vectors, records),
        )
        answer = self._ask(lambda: ask(search_params=self._params(known, k, candidates))).points
        if len(answer) < k and passing and not self._local:
            answer = self._ask(lambda: ask(search_params=models.SearchParams(exact=True))).points
        scores = np.array([row.score for row in answer], dtype=np.float32)
        scores = _similarities(scores, known.space)
        order = np.argsort(-scores, kind="stable")
        rows = self._rows([answer[int(i)] for i in order], vectors, records)
        return Neighbours(rows, scores[order])

    def close(self) -> None:
        """Close the client, where an address was given."""
        if self._end:
            self._end()

    def _ask(self, ask: Callable[[], _Answer]) -> _Answer:
        """What Qdrant answers, its errors translated."""
        try:
            return ask()
        except Exception as error:
            self._known = None
            self._lately.forget()
            known = translate(error, self.name)
            if known is None:
                raise
            raise known from error

    def _describe(self) -> Collection:
        found = self._ask(lambda: describe(self._client, self.name, self._vector_name))
        if found.quantised == "ProductQuantization" and not self._warned:
            self._warned = True
            warn(
                f"The index of {self.name!r} is compressed by product quantisation, which loses "
                "candidates that an instruction would rank first. Use scalar quantisation, which "
                "loses hardly any, or see with exact=True what is lost."
            )
        self._known = found
        return found

    @property
    def _collection(self) -> Collection:
        """As it was last described."""
        return self._known or self._describe()

    def _passing(self, filters: Sequence[models.Condition]) -> models.Filter:
        """Rows that have the vectors and pass filters."""
        has = models.HasVectorCondition(has_vector=self._collection.vector)
        return models.Filter(must=[has, *filters])

    def _scroll(
        self, filters: Sequence[models.Condition], *, limit: int, offset: Any = None, **fields: Any
    ) -> tuple[list[models.Record], Any]:
        fields = {"with_payload": False, "with_vectors": False} | fields
        ask = partial(self._client.scroll, self.name, self._passing(filters), **fields)
        return self._ask(lambda: ask(limit=limit, offset=offset))

    def _pages(
        self, filters: Sequence[models.Condition], *, size: int, **fields: Any
    ) -> Iterator[list[models.Record]]:
        offset = None
        while True:
            found, offset = self._scroll(filters, limit=size, offset=offset, **fields)
            yield found
            if offset is None:
                return

    def _ids(self, slices: int, index: int) -> list[str]:
        """Ids in one of some slices; all of them where Qdrant has no slices."""
        asked: list[models.Condition] = []
        if slices > 1 and hasattr(models, "SliceCondition"):
            asked = [models.SliceCondition(slice=models.Slice(total=slices, index=index))]
        try:
            return [str(row.id) for found in self._pages(asked, size=_IDS) for row in found]
        except ConfigError:
            if not asked:
                raise
            return self._ids(1, 0)

    def _fields(self, vectors: bool, records: bool) -> dict[str, Any]:
        """What is to come along, of all that stands in a row."""
        known = self._collection
        only = vectors if known.alone or not vectors else [known.vector]
        return {"with_payload": records, "with_vectors": only}

    def _params(
        self, known: Collection, k: int, candidates: int | None
    ) -> models.SearchParams | None:
        if self._local:
            return None
        looked = max(100, 2 * k) if candidates is None else max(k, candidates)
        again = models.QuantizationSearchParams(rescore=True, oversampling=2.0)
        return models.SearchParams(
            hnsw_ef=min(looked, known.most_ef or looked),
            quantization=again if known.quantised else None,
        )

    def _rows(self, found: Sequence[Any], vectors: bool, records: bool) -> Rows:
        fields: dict[str, Any] = {}
        if vectors:
            found = [row for row in found if row.vector]
            fields["vectors"] = self._read(found)
        if records:
            read = [self._layout.read(row.payload) for row in found]
            fields |= {"texts": tuple(r[0] for r in read), "metadatas": tuple(r[1] for r in read)}
        return Rows(tuple(str(row.id) for row in found), **fields)

    def _read(self, found: Sequence[Any]) -> FloatArray:
        """Vectors, which come under their names where they have any."""
        known = self._collection
        vectors = [row.vector for row in found]
        stored = [one[known.vector] if isinstance(one, dict) else one for one in vectors]
        return np.array(stored, dtype=np.float32).reshape(len(found), known.dimension)


def _similarities(scores: FloatArray, space: Space) -> FloatArray:
    """Qdrant gives the cosine, the inner product and the Euclidean distance."""
    return -np.square(scores) if space == "l2" else scores


def _parsed(row: str) -> int | UUID | None:
    """An id as an integer or a UUID; None for what is neither, and is no id of Qdrant."""
    try:
        if row.isascii() and row.isdecimal() and len(row) <= 20:
            return int(row) if str(int(row)) == row and int(row) < 2**64 else None
        return UUID(row)
    except ValueError:
        return None
