"""A collection of Milvus as the `VectorCollection` that retrieval works on."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from math import ceil, sqrt
from typing import Any

import numpy as np
from typing_extensions import Self

from instruct_embeddings._threads import Lately
from instruct_embeddings._types import FloatArray, Where
from instruct_embeddings._warnings import warn
from instruct_embeddings.config import at_least, one_vector
from instruct_embeddings.errors import ConfigError, EmptyCollectionError
from instruct_embeddings.protocols import Capabilities, CollectionInfo, Neighbours, Rows
from milvus_instruct_embeddings.collection import (
    COMPRESSED,
    Collection,
    Fields,
    Milvus,
    describe,
    what_answers,
)
from milvus_instruct_embeddings.errors import wrong_dimension
from milvus_instruct_embeddings.filters import Expressions
from milvus_instruct_embeddings.hosts import source_of
from milvus_instruct_embeddings.requests import Requests
from milvus_instruct_embeddings.samples import BLOCKS, by_blocks, by_rests

_LEVELS = ("Strong", "Session", "Bounded", "Eventually")
_MOST = 16_384  # rows that a server gives in one answer
_PAGE, _BYTES = 2000, 16_000_000
_NEAR = 16


class MilvusVectors:
    """The vectors of a collection of Milvus, on a server or in Milvus Lite; read only.

    An index is told to look the further the more rows are wanted. Rows that the server has not yet
    put into an index (it does so after a flush, from about a thousand rows on) are searched by a
    rough index of its own, which cannot be told how far to look: until then fewer of the nearest
    are found among many wanted.

    Instantiate:
        ```python
        from instruct_embeddings import EncoderGuide, InstructRetriever
        from milvus_instruct_embeddings import MilvusVectors

        vectors = MilvusVectors(address, "documents")
        retriever = InstructRetriever(vectors, EncoderGuide())
        hits = retriever.search(vector, instruction="What is it for?", k=5)
        ```

    Args:
        source: A `pymilvus.MilvusClient`, or an address: `http://user:password@host:19530/database`
            or the path of a Milvus Lite, which ends in `.db`. Nothing is connected yet.
        collection: Its name, or an alias.
        id_field: Name of the primary key; None takes it as it is named.
        vector_field: Vectors of floats; None takes the only field of these.
        text_field: Texts, also among the dynamic fields; None where there are none.
        metadata_field: Metadata, one JSON field; None takes all further fields, the dynamic too.
        consistency: Of searches and of reading by id. "Session" finds what this process wrote at
            once, and what others wrote when the server has it in reach, mostly within a second.
            "Strong" waits for all that was written anywhere, a few tenths of a second for each
            request. Counts, scans and samples are always strong.
        timeout: Seconds that a request may take.
        check_every: Seconds after which a search looks again whether it is still the same
            collection.

    Raises:
        ConfigError: An argument is out of its range.
    """

    def __init__(
        self,
        source: object,
        collection: str,
        *,
        id_field: str | None = None,
        vector_field: str | None = None,
        text_field: str | None = "text",
        metadata_field: str | None = None,
        consistency: str = "Session",
        timeout: float = 30.0,
        check_every: float = 1.0,
    ) -> None:
        if consistency not in _LEVELS:
            raise ConfigError(
                f"consistency={consistency!r} is unknown. Allowed are {', '.join(_LEVELS)}."
            )
        if not timeout > 0:
            raise ConfigError(f"timeout={timeout!r} must be a positive number of seconds.")
        self.collection = collection
        self._fields = Fields(id_field, vector_field, text_field, metadata_field)
        self._level = consistency
        self._requests = Requests(source, collection, timeout)
        self._milvus: Milvus | None = None
        self._place = source, collection, self._fields
        self._known: Collection | None = None
        self._lately: Lately[Collection] = Lately(check_every)
        self._filled: str | None = None  # id of the collection that held rows when it was asked

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.collection!r})"

    @classmethod
    def open(cls, address: str, collection: str, **options: Any) -> Self:
        """By `milvus://[user:password@]host:port[/database]`, or `milvus:PATH` of a Milvus Lite.

        A server that is reached by https has `?ssl=true` behind it. Without a user the environment
        variable MILVUS_TOKEN gives `user:password`, or a token. `options` are those of the class.

        Raises:
            ConfigError: The address is malformed.
        """
        return cls(address, collection, **options)

    def __eq__(self, other: object) -> bool:
        """Whether both read one collection in one way, through one client or address."""
        if not isinstance(other, MilvusVectors):
            return NotImplemented
        return self._place == other._place

    def __hash__(self) -> int:
        return hash(self.collection)

    @classmethod
    def of(cls, store: object) -> Self:
        """The collection behind a LangChain `Milvus` or a LlamaIndex `MilvusVectorStore`.

        Raises:
            UnsupportedCollectionError: It is something else.
        """
        return cls(**source_of(store))

    @property
    def capabilities(self) -> Capabilities:
        """What it can do; texts are looked into by Milvus Lite, and by servers from 2.4 on."""
        return Capabilities(text_filters=self._answering().finds_texts)

    def close(self) -> None:
        """End the connection, if it is an own one; it is made again when it is needed."""
        self._requests.close()

    def info(self) -> CollectionInfo:
        """Identity, dimension and space.

        The identity is made of the number and the time that the server gave the collection, and of
        the name of the field of vectors; in Milvus Lite of the time of the file that describes it.
        A collection that is dropped and made anew has another one, and so has a restored copy.

        Raises:
            EmptyCollectionError: It holds no row.
            UnsupportedCollectionError: It cannot be searched as it is.
        """
        found = self._lately.get(self._describe)
        if found.id != self._filled:  # once, as this stands before each search
            if not self._query("", [found.key], limit=1):
                raise EmptyCollectionError(
                    f"The collection {self.collection!r} holds no vector. At least one is needed. "
                    "Store the vectors of its rows."
                )
            self._filled = found.id
        return CollectionInfo(self.collection, found.id, found.dimension, found.space)

    def count(self) -> int:
        """Number of rows now."""
        self._collection()
        (found,) = self._query("", ["count(*)"])
        return int(found["count(*)"])

    def state(self) -> str:
        """Changes with every row that comes or goes; all ids are read."""
        digest, rows = sha256(), 0
        for page in self.scan():
            rows += len(page)
            for row in page.ids:
                digest.update(f"{row}\x00".encode("utf-8", "surrogatepass"))
        return f"{rows} {digest.hexdigest()[:32]}"

    def sample(self, size: int, *, seed: int) -> Rows:
        """At most `size` rows with vectors, texts and metadata, in the order of their ids.

        Of up to 16,384 rows, and in Milvus Lite, each is as likely as any other, and the same seed
        gives the same. Of more, rows whose numbers leave a random rest when divided by a prime are
        drawn where ids are numbers. Where they are texts, blocks of 64 rows or fewer are read that
        follow upon ids found by searches in random directions: ids in their order that say nothing
        of the content, such as UUIDs, make it as good as a draw of single rows. The same seed gives
        the same rows while nothing is written.
        """
        size = at_least("size", size, 1, optional=False)
        rng = np.random.default_rng(seed)
        found, total = self._collection(), self.count()
        if found.milvus.lite or total <= max(_MOST, 4 * size):
            ids = [row for page in self.scan() for row in page.ids]
        elif found.numbered:
            ids = by_rests(partial(self._keys, found), found.key, size, total, rng)
        else:
            directions = rng.standard_normal((BLOCKS, found.dimension)).tolist()
            near = self._search(found, directions, _NEAR, output_fields=[])
            starts = sorted({_id(found, hit) for hits in near for hit in hits})
            asked = [Expressions(found).from_key(start) for start in starts]
            ids = by_blocks(partial(self._keys, found), asked, size, rng)
        chosen = np.sort(rng.permutation(len(ids))[:size])
        return self.fetch([ids[i] for i in chosen], vectors=True, records=True)

    def scan(
        self,
        *,
        where: Where | None = None,
        where_document: Where | None = None,
        vectors: bool = False,
        records: bool = False,
    ) -> Iterator[Rows]:
        """All rows that pass the filters, page by page, each once, in the order of the ids."""
        found = self._collection()
        passing = Expressions(found).passing(where, where_document)
        # An iterator may begin before what was just written; this waits for it.
        self._query("", [found.key], limit=1)
        pages = self._ask(
            "query_iterator",
            batch_size=_rows_a_request(found, vectors),
            filter=passing,
            output_fields=_outputs(found, vectors, records),
            consistency_level="Strong",
        )
        try:
            while page := self._requests.call(pages.next):
                yield _rows(found, page, vectors, records)
        finally:
            pages.close()

    def fetch(self, ids: Sequence[str], *, vectors: bool = False, records: bool = False) -> Rows:
        """Rows by id, any number, in the order of the ids; those that are gone are left out."""
        found, wanted = self._collection(), list(dict.fromkeys(ids))
        outputs, size = _outputs(found, vectors, records), _rows_a_request(found, vectors)
        parts: list[Mapping[str, Any]] = []
        for start in range(0, len(wanted), size):
            asked = Expressions(found).ids(wanted[start : start + size])
            parts += self._query(asked, outputs, level=self._level)
        rows = _rows(found, parts, vectors, records)
        position = {row: i for i, row in enumerate(rows.ids)}
        return rows.take([position[row] for row in ids if row in position])

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

        Raises:
            CollectionMismatchError: The vector has another dimension than the collection.
            ConfigError: `k` is no positive number or more than the server gives, or a filter is
                malformed.
            InvalidVectorsError: It is not one vector, or holds NaN or infinite numbers.
        """
        query, k = one_vector(vector), at_least("k", k, 1, optional=False)
        found = self._collection()
        if len(query) != found.dimension:
            raise wrong_dimension(self.collection, found.dimension, len(query))
        along = k <= 2 * _rows_a_request(found, vectors)
        (hits,) = self._search(
            found,
            [query.tolist()],
            self._at_most(k),
            candidates,
            filter=Expressions(found).passing(where, where_document),
            output_fields=_outputs(found, vectors, records)[1:] if along else [],
        )
        distances = np.array([hit["distance"] for hit in hits], dtype=np.float32)
        scores = -distances if found.space == "l2" else distances
        order = [int(i) for i in np.argsort(-scores, kind="stable") if np.isfinite(scores[i])]
        ids = tuple(_id(found, hits[i]) for i in order)
        if not (vectors or records):
            return Neighbours(Rows(ids), scores[order])
        if along:
            entities = [hits[i]["entity"] | {found.key: _id(found, hits[i])} for i in order]
            return Neighbours(_rows(found, entities, vectors, records), scores[order])
        rows = self.fetch(ids, vectors=vectors, records=records)  # too many for one answer
        kept = {row: place for place, row in enumerate(ids)}
        return Neighbours(rows, scores[[order[kept[row]] for row in rows.ids]])

    def _at_most(self, k: int) -> int:
        if k > _MOST and not self._answering().lite:
            rows = self.count()
            if rows > _MOST:
                raise ConfigError(
                    f"k={k} is too much for a collection of {rows} rows: Milvus gives at most "
                    f"{_MOST} for one vector. Pass fewer, or use scan()."
                )
            return _MOST
        return k

    def _search(
        self,
        found: Collection,
        data: list[Any],
        k: int,
        candidates: int | None = None,
        **options: Any,
    ) -> Any:
        looking = _looking(found, k, candidates)
        return self._ask(
            "search",
            data=data,
            limit=k,
            anns_field=found.vector,
            search_params={"metric_type": found.space.upper(), "params": looking},
            consistency_level=self._level,
            **options,
        )

    def _query(self, asked: str, outputs: list[str], **options: Any) -> list[Mapping[str, Any]]:
        level = options.pop("level", "Strong")
        found: list[Mapping[str, Any]] = self._ask(
            "query", filter=asked, output_fields=outputs, consistency_level=level, **options
        )
        return found

    def _ask(self, method: str, **options: Any) -> Any:
        try:
            return self._requests.ask(method, **options)
        except Exception:
            self._known = None
            self._lately.forget()
            raise

    def _answering(self) -> Milvus:
        if self._milvus is None:
            self._milvus = what_answers(self._requests.version())
        return self._milvus

    def _collection(self) -> Collection:
        """The collection as it was last described."""
        return self._known or self._describe()

    def _describe(self) -> Collection:
        """The collection as it is now."""
        before, milvus = self._known, self._answering()
        self._known = None
        found = describe(self._requests, self._fields, milvus, before)
        if before is None or before.id != found.id:
            if milvus.lite:  # in this process, where nothing is in memory at first
                self._requests.ask("load_collection")
            if found.index in COMPRESSED:
                warn(
                    f"The index of the collection {self.collection!r} is {found.index}, which "
                    "compresses vectors by product quantisation: fewer of the many candidates of "
                    "an instruction are the true nearest, more than of the first ten. Better is "
                    "HNSW or IVF_SQ8; or raise the prefetch."
                )
        self._known = found
        return found

    def _keys(self, found: Collection, asked: str, limit: int) -> list[str]:
        rows = self._query(asked, [found.key], limit=limit, level=self._level)
        return [str(row[found.key]) for row in rows]


def _looking(found: Collection, k: int, candidates: int | None) -> dict[str, int]:
    """How far an index looks for `k` rows; a server wants at least `k` in most of these."""
    wide = max(100, 2 * k) if candidates is None else max(k, candidates)
    if "HNSW" in found.index or found.index == "AUTOINDEX":
        return {"ef": min(wide, 32_768)}
    if found.index == "DISKANN":
        return {"search_list": min(wide, 65_535)}
    if "IVF" in found.index or found.index == "SCANN":
        lists = min(found.lists, max(10, ceil(2 * sqrt(found.lists)), ceil(wide / 32)))
        return {"nprobe": lists} | ({"reorder_k": wide} if found.index == "SCANN" else {})
    return {}


def _outputs(found: Collection, vectors: bool, records: bool) -> list[str]:
    return [found.key, *[found.vector] * vectors, *(found.records if records else [])]


def _rows_a_request(found: Collection, vectors: bool) -> int:
    """So many that an answer is far from what a server may send at once, 64 MB."""
    return max(1, min(_PAGE, _BYTES // (4 * found.dimension * vectors + 4096)))


def _rows(
    found: Collection, rows: Sequence[Mapping[str, Any]], vectors: bool, records: bool
) -> Rows:
    fields: dict[str, Any] = {}
    if vectors:
        fields["vectors"] = _vectors(found, [row[found.vector] for row in rows])
    if records:
        fields["texts"] = tuple(row.get(found.text) if found.text else None for row in rows)
        fields["metadatas"] = tuple(_metadata(found, row) for row in rows)
    return Rows(tuple(str(row[found.key]) for row in rows), **fields)


def _id(found: Collection, hit: Any) -> str:
    """Of a hit, under the name of its field, or "id" where the server does not tell that."""
    return str(hit[found.key if found.key in hit.keys() else "id"])  # noqa: SIM118


def _metadata(found: Collection, row: Mapping[str, Any]) -> dict[str, Any]:
    """Values by name, in one order, as hosts hash them; what is null is not there."""
    if found.metadata is not None:
        stored = row.get(found.metadata)
        return dict(sorted(stored.items())) if isinstance(stored, Mapping) else {}
    none_of = (found.key, found.vector, found.text)
    return {
        name: value
        for name, value in sorted(row.items())
        if name not in none_of and value is not None
    }


def _vectors(found: Collection, stored: Sequence[Any]) -> FloatArray:
    """Vectors as float32: floats come as lists, halves as bytes."""
    if found.kind == "FLOAT_VECTOR":
        vectors = np.array(stored, dtype=np.float32)
    elif found.kind == "FLOAT16_VECTOR":
        vectors = np.frombuffer(b"".join(map(_bytes, stored)), dtype="<f2").astype(np.float32)
    else:  # the upper half of a float32
        halves = np.frombuffer(b"".join(map(_bytes, stored)), dtype="<u2").astype("<u4") << 16
        vectors = halves.view("<f4").astype(np.float32)
    return vectors.reshape(len(stored), found.dimension)


def _bytes(stored: Any) -> bytes:
    return stored[0] if isinstance(stored, list) else bytes(stored)
