"""A collection of Qdrant as the `VectorCollection` retrieval works on."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID
from weakref import finalize

import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.local.qdrant_local import QdrantLocal

from instruct_embeddings._types import FloatArray
from instruct_embeddings.adapters import AdaptedCollection, Asked, warn_of_compression
from instruct_embeddings.config import at_least
from instruct_embeddings.errors import (
    ConfigError,
    InstructEmbeddingsError,
    UnsupportedCollectionError,
)
from instruct_embeddings.protocols import Capabilities, Rows
from qdrant_instruct_embeddings.client import behind, open_client
from qdrant_instruct_embeddings.collection import Collection, describe, mark
from qdrant_instruct_embeddings.errors import translate
from qdrant_instruct_embeddings.filters import conditions
from qdrant_instruct_embeddings.payloads import Layout

_PAGE = 1000
_IDS = 10_000  # a page of nothing but ids


class QdrantVectors(AdaptedCollection[Collection]):
    """The vectors of a collection of Qdrant, on a server or in local mode; read only.

    Nothing is written but, where Qdrant does not tell when a collection was made (before 1.20, and
    in local mode), one text `instruct_embeddings_id` into the metadata of the collection, by which
    transforms are found again. The identity is that text, or the time of making, or `identity`; a
    collection that is made anew has another one, and one that is restored from a snapshot keeps
    what was written into its metadata.

    Where the index is quantised, twice as many are compared again by their vectors. Where fewer
    pass the filters than are wanted, all that pass are compared, as an index may have missed some.
    Local mode compares all rows.

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
        place = source, collection, vector_name, Layout(text_key, metadata_key), identity
        super().__init__(collection, place, check_every)
        self.name, self._layout = collection, place[3]
        self._client = open_client(source) if isinstance(source, str) else source
        self._end = finalize(self, self._client.close) if isinstance(source, str) else None
        # Seen only behind the client. Local mode compares all rows, and warns of settings.
        self._local = isinstance(getattr(self._client, "_client", None), QdrantLocal)
        self._vector_name, self._identity = vector_name, identity

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

    @property
    def capabilities(self) -> Capabilities:
        """Vectors are read, rows are listed and counted one by one; texts have filters or not.

        Texts inside of LlamaIndex's nodes have none, nor have those of a client before 1.20.
        """
        texts = self._layout.text_key is not None and hasattr(models, "MatchSubstring")
        return Capabilities(cheap_count=False, text_filters=texts)

    def close(self) -> None:
        """Close the client, where an address was given."""
        if self._end:
            self._end()

    def count(self) -> int:
        """Number of rows with a vector now; the server counts them one by one."""
        passing = self._passing([])
        return self._ask(
            lambda: self._client.count(self.name, count_filter=passing, exact=True)
        ).count

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

    def _pages(self, asked: Asked) -> Iterator[Rows]:
        passing = conditions(self._layout, asked)
        plain = not (asked.vectors or asked.records)
        for found in self._scrolled(passing, _IDS if plain else _PAGE, asked):
            yield self._rows(found, asked)

    def _by_ids(self, ids: list[str], asked: Asked) -> Rows:
        """UUIDs may be written in any form, in which they come back."""
        known = {row: key for row in ids if (key := _parsed(row)) is not None}
        # Servers know every form of a UUID, local mode before 1.20 that in which it was stored.
        keys = [key if isinstance(key, int) else row for row, key in known.items()]
        fields = self._fields(asked)
        pages = [keys[at : at + _PAGE] for at in range(0, len(keys), _PAGE)]
        found = [
            row
            for page in pages
            for row in self._ask(partial(self._client.retrieve, self.name, page, **fields))
        ]
        rows = self._rows(found, asked)
        position = {_parsed(row): i for i, row in enumerate(rows.ids)}
        there = [row for row in known if known[row] in position]
        return replace(rows.take([position[known[row]] for row in there]), ids=tuple(there))

    def _nearest(
        self, found: Collection, query: FloatArray, k: int, asked: Asked
    ) -> tuple[Rows, FloatArray]:
        passing = conditions(self._layout, asked)
        ask = partial(
            self._client.query_points,
            self.name,
            query=query.tolist(),
            using=found.vector or None,
            query_filter=models.Filter(must=passing) if passing else None,
            limit=k,
            **self._fields(asked),
        )
        answer = self._ask(lambda: ask(search_params=self._params(found, asked.depth(k)))).points
        if len(answer) < k and passing and not self._local:
            answer = self._ask(lambda: ask(search_params=models.SearchParams(exact=True))).points
        scores = np.array([row.score for row in answer], dtype=np.float32)
        # Qdrant gives the cosine, the inner product and the Euclidean distance.
        return self._rows(answer, asked), -np.square(scores) if found.space == "l2" else scores

    def _translated(self, error: Exception) -> InstructEmbeddingsError | None:
        return translate(error, self.name)

    def _described(self, before: Collection | None) -> Collection:
        found = describe(self._client, self.name, self._vector_name)
        if found.quantised == "ProductQuantization" and before is None:
            warn_of_compression(self._what, found.quantised, "scalar quantisation")
        return replace(found, id=self._identity or found.id)

    def _holds_vectors(self, found: Collection) -> bool:
        return bool(self._scroll([], limit=1)[0])

    def _identified(self, found: Collection) -> Collection:
        if found.id is None:
            found = self._ask(lambda: mark(self._client, self.name, self._describe))
            self._lately.forget()
        return found

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

    def _scrolled(
        self, filters: Sequence[models.Condition], size: int, asked: Asked
    ) -> Iterator[list[models.Record]]:
        offset, fields = None, self._fields(asked)
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
            return [str(row.id) for found in self._scrolled(asked, _IDS, Asked()) for row in found]
        except ConfigError:
            if not asked:
                raise
            return self._ids(1, 0)

    def _fields(self, asked: Asked) -> dict[str, Any]:
        """What is to come along, of all that stands in a row."""
        known = self._collection
        only = asked.vectors if known.alone or not asked.vectors else [known.vector]
        return {"with_payload": asked.records, "with_vectors": only}

    def _params(self, known: Collection, looked: int) -> models.SearchParams | None:
        if self._local:
            return None
        again = models.QuantizationSearchParams(rescore=True, oversampling=2.0)
        return models.SearchParams(
            hnsw_ef=min(looked, known.most_ef or looked),
            quantization=again if known.quantised else None,
        )

    def _rows(self, found: Sequence[Any], asked: Asked) -> Rows:
        vectors = None
        if asked.vectors:  # they come under their names where they have any
            known = self._collection
            found = [row for row in found if row.vector]
            stored = [
                row.vector[known.vector] if isinstance(row.vector, dict) else row.vector
                for row in found
            ]
            vectors = np.array(stored, dtype=np.float32).reshape(len(found), known.dimension)
        records = (self._layout.read(row.payload) for row in found) if asked.records else None
        return Rows.read([row.id for row in found], vectors, records)


def _parsed(row: str) -> int | UUID | None:
    """An id as an integer or a UUID; None for what is neither, and is no id of Qdrant."""
    try:
        if row.isascii() and row.isdecimal() and len(row) <= 20:
            return int(row) if str(int(row)) == row and int(row) < 2**64 else None
        return UUID(row)
    except ValueError:
        return None
