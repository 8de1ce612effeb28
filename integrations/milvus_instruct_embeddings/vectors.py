"""A collection of Milvus as the `VectorCollection` that retrieval works on."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from math import ceil, sqrt
from typing import Any

import numpy as np
from typing_extensions import Self

from instruct_embeddings._types import FloatArray
from instruct_embeddings.adapters import (
    AdaptedCollection,
    Asked,
    warn_of_compression,
)
from instruct_embeddings.config import at_least
from instruct_embeddings.errors import ConfigError, InstructEmbeddingsError
from instruct_embeddings.protocols import Capabilities, Rows, places
from milvus_instruct_embeddings.collection import (
    COMPRESSED,
    Collection,
    Fields,
    Milvus,
    describe,
    what_answers,
)
from milvus_instruct_embeddings.errors import translate
from milvus_instruct_embeddings.filters import Expressions
from milvus_instruct_embeddings.hosts import source_of
from milvus_instruct_embeddings.requests import Requests
from milvus_instruct_embeddings.samples import BLOCKS, by_blocks, by_rests

_LEVELS = ("Strong", "Session", "Bounded", "Eventually")
_MOST = 16_384  # rows that a server gives in one answer
_PAGE, _BYTES = 2000, 16_000_000
_NEAR = 16


class MilvusVectors(AdaptedCollection[Collection]):
    """The vectors of a collection of Milvus, on a server or in Milvus Lite; read only.

    An index is told to look the further the more rows are wanted. Rows that the server has not yet
    put into an index (it does so after a flush, from about a thousand rows on) are searched by a
    rough index of its own, which cannot be told how far to look: until then fewer of the nearest
    are found among many wanted.

    The identity is made of the number and the time that the server gave the collection, and of the
    name of the field of vectors; in Milvus Lite of the time of the file that describes it. A
    collection that is dropped and made anew has another one, and so has a restored copy.

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
            "Strong" waits for all that was written anywhere, longer at each request. Counts, scans
            and samples are always strong.
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
        fields = Fields(id_field, vector_field, text_field, metadata_field)
        super().__init__(collection, (source, collection, fields), check_every)
        self.collection, self._fields, self._level = collection, fields, consistency
        self._requests = Requests(source, collection, timeout)
        self._milvus: Milvus | None = None

    @classmethod
    def open(cls, address: str, collection: str, **options: Any) -> Self:
        """By `milvus://[user:password@]host:port[/database]`, or `milvus:PATH` of a Milvus Lite.

        A server that is reached by https has `?ssl=true` behind it. Without a user the environment
        variable MILVUS_TOKEN gives `user:password`, or a token. `options` are those of the class.

        Raises:
            ConfigError: The address is malformed.
        """
        return cls(address, collection, **options)

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

    def count(self) -> int:
        """Number of rows now."""
        (found,) = self._query("", ["count(*)"])
        return int(found["count(*)"])

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
        found, total = self._collection, self.count()
        if found.milvus.lite or total <= max(_MOST, 4 * size):
            ids = [row for page in self.scan() for row in page.ids]
        elif found.numbered:
            ids = by_rests(partial(self._keys, found), found.key, size, total, rng)
        else:
            directions = rng.standard_normal((BLOCKS, found.dimension)).tolist()
            near = self._search(found, directions, _NEAR, Asked(), output_fields=[])
            starts = sorted({_id(found, hit) for hits in near for hit in hits})
            asked = [Expressions(found).from_key(start) for start in starts]
            ids = by_blocks(partial(self._keys, found), asked, size, rng)
        chosen = np.sort(rng.permutation(len(ids))[:size])
        return self.fetch([ids[i] for i in chosen], vectors=True, records=True)

    def _pages(self, asked: Asked) -> Iterator[Rows]:
        found = self._collection
        passing = Expressions(found).passing(asked)
        # An iterator may begin before what was just written; this waits for it.
        self._query("", [found.key], limit=1)
        pages = self._request(
            "query_iterator",
            batch_size=_rows_a_request(found, asked.vectors),
            filter=passing,
            output_fields=_outputs(found, asked),
            consistency_level="Strong",
            strict_float32=True,
        )
        try:
            while page := self._ask(pages.next):
                yield _rows(found, page, asked)
        finally:
            pages.close()

    def _by_ids(self, ids: list[str], asked: Asked) -> Rows:
        found = self._collection
        outputs, size = _outputs(found, asked), _rows_a_request(found, asked.vectors)
        parts: list[Mapping[str, Any]] = []
        for start in range(0, len(ids), size):
            wanted = Expressions(found).ids(ids[start : start + size])
            parts += self._query(wanted, outputs, level=self._level)
        return _rows(found, parts, asked)

    def _nearest(
        self, found: Collection, query: FloatArray, k: int, asked: Asked
    ) -> tuple[Rows, FloatArray]:
        along = k <= 2 * _rows_a_request(found, asked.vectors)
        (hits,) = self._search(
            found,
            [query],
            self._at_most(k),
            asked,
            filter=Expressions(found).passing(asked),
            output_fields=_outputs(found, asked)[1:] if along else [],
        )
        vectors = _packed(found, hits) if along and asked.vectors else None
        entities = [hit["entity"] | {found.key: _id(found, hit)} for hit in hits]
        distances = np.array([hit["distance"] for hit in hits], dtype=np.float32)
        scores = -distances if found.space == "l2" else distances
        if along:
            return _rows(found, entities, asked, vectors), scores
        ids = [str(entity[found.key]) for entity in entities]  # too many for one answer
        rows = self.fetch(ids, vectors=asked.vectors, records=asked.records)
        return rows, scores[places(ids, rows.ids)]

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
        self, found: Collection, data: list[Any], k: int, asked: Asked, **options: Any
    ) -> Any:
        return self._request(
            "search",
            data=data,
            limit=k,
            anns_field=found.vector,
            search_params={
                "metric_type": found.space.upper(),
                "params": _looking(found, asked.depth(k)),
            },
            consistency_level=self._level,
            **options,
        )

    def _query(self, asked: str, outputs: list[str], **options: Any) -> list[Mapping[str, Any]]:
        level = options.pop("level", "Strong")
        found: list[Mapping[str, Any]] = self._request(
            "query",
            filter=asked,
            output_fields=outputs,
            consistency_level=level,
            strict_float32=True,  # vectors as arrays, which saves a list of numbers for each row
            **options,
        )
        return found

    def _request(self, method: str, **options: Any) -> Any:
        self._collection  # noqa: B018 - Milvus Lite is asked only of what it has loaded
        return self._ask(lambda: self._requests.ask(method, **options))

    def _translated(self, error: Exception) -> InstructEmbeddingsError | None:
        return translate(error, self.collection)

    def _answering(self) -> Milvus:
        if self._milvus is None:
            version = self._ask(lambda: self._requests.ask_server("get_server_version"))
            self._milvus = what_answers(str(version))
        return self._milvus

    def _described(self, before: Collection | None) -> Collection:
        milvus = self._answering()
        found = describe(self._requests, self._fields, milvus, before)
        if before is None or before.id != found.id:
            if milvus.lite:  # in this process, where nothing is in memory at first
                self._requests.ask("load_collection")
            if found.index in COMPRESSED:
                warn_of_compression(self._what, found.index, "HNSW or IVF_SQ8")
        return found

    def _holds_vectors(self, found: Collection) -> bool:
        return bool(self._query("", [found.key], limit=1))

    def _keys(self, found: Collection, asked: str, limit: int) -> list[str]:
        rows = self._query(asked, [found.key], limit=limit, level=self._level)
        return [str(row[found.key]) for row in rows]


def _looking(found: Collection, wide: int) -> dict[str, int]:
    """Settings for an index that is to look for so many rows."""
    if "HNSW" in found.index or found.index == "AUTOINDEX":
        return {"ef": min(wide, 32_768)}
    if found.index == "DISKANN":
        return {"search_list": min(wide, 65_535)}
    if "IVF" in found.index or found.index == "SCANN":
        lists = min(found.lists, max(10, ceil(2 * sqrt(found.lists)), ceil(wide / 32)))
        return {"nprobe": lists} | ({"reorder_k": wide} if found.index == "SCANN" else {})
    return {}


def _outputs(found: Collection, asked: Asked) -> list[str]:
    return [found.key, *[found.vector] * asked.vectors, *(found.records if asked.records else [])]


def _rows_a_request(found: Collection, vectors: bool) -> int:
    """So many that an answer is far from what a server may send at once, 64 MB."""
    return max(1, min(_PAGE, _BYTES // (4 * found.dimension * vectors + 4096)))


def _rows(
    found: Collection,
    rows: Sequence[Mapping[str, Any]],
    asked: Asked,
    vectors: FloatArray | None = None,
) -> Rows:
    if asked.vectors and vectors is None:
        vectors = _vectors(found, [row[found.vector] for row in rows])
    records = ((row.get(found.text or ""), _metadata(found, row)) for row in rows)
    return Rows.read([row[found.key] for row in rows], vectors, records if asked.records else None)


def _id(found: Collection, hit: Any) -> str:
    """Of a hit, under the name of its field, or "id" where the server does not tell that."""
    return str(hit[found.key if found.key in hit.keys() else "id"])  # noqa: SIM118


def _metadata(found: Collection, row: Mapping[str, Any]) -> Any:
    """Values by name; what is null is not there."""
    if found.metadata is not None:
        return row.get(found.metadata)
    none_of = (found.key, found.vector, found.text)
    return {name: value for name, value in row.items() if name not in none_of and value is not None}


def _packed(found: Collection, hits: Any) -> FloatArray | None:
    """Vectors of an answer as they came, so that no list of numbers is made of each.

    None where the client does not show them, or they are not of single precision.
    """
    fields = getattr(hits, "lazy_field_data", [])
    field = next((one for one in fields if one.field_name == found.vector), None)
    if field is None or found.kind != "FLOAT_VECTOR":
        return None
    hits.lazy_field_data = [one for one in fields if one is not field]
    numbers = np.array(field.vectors.float_vector.data, dtype=np.float32)
    return numbers.reshape(-1, found.dimension)


def _vectors(found: Collection, stored: Sequence[Any]) -> FloatArray:
    """Vectors as float32; halves come as bytes."""
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
