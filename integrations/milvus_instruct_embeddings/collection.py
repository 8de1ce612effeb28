"""What Milvus says of a collection: its fields, its index, and which one it is."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

from pymilvus import DataType
from pymilvus.exceptions import MilvusException

from instruct_embeddings._types import Space
from instruct_embeddings.adapters import Described
from milvus_instruct_embeddings.errors import NOT_FOUND, no_index, unusable
from milvus_instruct_embeddings.requests import Requests

_SPACES: Mapping[str, Space] = {"COSINE": "cosine", "IP": "ip", "L2": "l2"}
_FLOATS = ("FLOAT_VECTOR", "FLOAT16_VECTOR", "BFLOAT16_VECTOR")
COMPRESSED = ("IVF_PQ", "GPU_IVF_PQ", "HNSW_PQ", "HNSW_PRQ", "IVF_RABITQ")
DYNAMIC = "$meta"
_SECONDS = 10  # Milvus Lite counts rows to describe an index
_INFIX = (2, 4)  # the first version that finds a text within a text


@dataclass(frozen=True)
class Fields:
    """Names of the fields; None takes the only one that can be meant, or says there are none."""

    id: str | None
    vector: str | None
    text: str | None
    metadata: str | None


@dataclass(frozen=True)
class Scalar:
    """A field that is no vector."""

    type: str
    nullable: bool


@dataclass(frozen=True)
class Milvus:
    """What answers: a server, or Milvus Lite in this process."""

    lite: bool
    version: tuple[int, ...]

    @property
    def finds_texts(self) -> bool:
        """Whether it finds a text within a text."""
        return self.lite or self.version >= _INFIX


@dataclass(frozen=True)
class Collection(Described):
    """A collection as it is now.

    Attributes:
        key: Name of the field of ids, which is in `scalars`.
        vector: Name of the field of vectors.
        kind: Type of the vectors.
        text: Name of the field of texts, or a key of the dynamic fields; None where there are none.
        metadata: Name of a JSON field; None where each further field holds one value.
        scalars: All fields but vectors, by name.
        dynamic: Whether rows may have further fields.
        index: Kind of the index.
        lists: Of an index of the kind IVF.
        milvus: What answers.
        read: When this was read, by the clock of the process.
    """

    key: str
    vector: str
    kind: str
    text: str | None
    metadata: str | None
    scalars: Mapping[str, Scalar]
    dynamic: bool
    index: str
    lists: int
    milvus: Milvus
    read: float

    @property
    def numbered(self) -> bool:
        """Whether ids are numbers."""
        return self.scalars[self.key].type == "INT64"

    @property
    def records(self) -> list[str]:
        """Fields that hold texts and metadata."""
        if self.metadata is not None:
            return [name for name in (self.metadata, self.text) if name]
        return [*(name for name in self.scalars if name != self.key), *[DYNAMIC] * self.dynamic]


def what_answers(version: str) -> Milvus:
    """By what a server calls itself: "v2.6.1", or "milvus_lite-3.2.2"."""
    lite = version.startswith("milvus_lite")
    numbers = version.removeprefix("v").split("-")[0].split(".")
    known = all(part.isdigit() for part in numbers[:2])
    return Milvus(lite, tuple(map(int, numbers[:2])) if known else _INFIX)


def describe(
    requests: Requests, fields: Fields, milvus: Milvus, before: Collection | None
) -> Collection:
    """Read what the server says; of the index and the fields again only after some seconds.

    Raises:
        UnsupportedCollectionError: The collection cannot be searched as it is; the message says
            why.
    """
    found = _description(requests)
    identity = _identity(requests, found, milvus)
    if (
        before
        and monotonic() - before.read < _SECONDS
        and before.id == _id(identity, before.vector)
    ):
        return before
    there = {field["name"]: field for field in found["fields"]}
    types = {name: DataType(field["type"]).name for name, field in there.items()}
    vectors = [name for name, kind in types.items() if kind in _FLOATS]
    key = next(name for name, field in there.items() if field.get("is_primary"))
    dynamic = bool(found.get("enable_dynamic_field"))
    _check_fields(requests.collection, fields, types, key, dynamic)
    vector = fields.vector or (vectors[0] if len(vectors) == 1 else None)
    if vector is None or vector not in vectors:
        raise unusable(
            requests.collection,
            f"has {len(vectors)} fields with vectors of floats: {vectors}, asked was {vector!r}",
            f"Name one of them: vector_field={vectors[0]!r}."
            if vectors
            else "Sparse and binary vectors cannot be moved; store dense ones.",
        )
    index = _index(requests, vector)
    space = _SPACES.get(str(index.get("metric_type")).upper())
    if space is None:
        raise unusable(
            requests.collection,
            f"is indexed by {index.get('metric_type')}",
            "Allowed are COSINE, IP and L2. Make an index of one of these.",
        )
    return Collection(
        id=_id(identity, vector),
        key=key,
        vector=vector,
        kind=types[vector],
        text=fields.text,
        metadata=fields.metadata,
        scalars={
            name: Scalar(kind, bool(there[name].get("nullable")))
            for name, kind in types.items()
            if not kind.endswith("_VECTOR")
        },
        dynamic=dynamic,
        dimension=int(there[vector]["params"]["dim"]),
        space=space,
        index=str(index.get("index_type")).upper(),
        lists=int(index.get("nlist") or 128),
        milvus=milvus,
        read=monotonic(),
    )


def _check_fields(
    name: str, fields: Fields, types: Mapping[str, str], key: str, dynamic: bool
) -> None:
    if fields.id not in (None, key):
        raise unusable(
            name,
            f"has its ids in {key!r}, not in {fields.id!r}",
            "Only a primary key is unique. Leave out id_field.",
        )
    if fields.text is not None and types.get(fields.text, "VARCHAR" * dynamic) != "VARCHAR":
        raise unusable(
            name,
            f"has no texts in {fields.text!r}, only {sorted(types)}",
            "Name a field of the type VARCHAR: text_field (None where there are no texts).",
        )
    if fields.metadata is not None and types.get(fields.metadata) != "JSON":
        raise unusable(
            name,
            f"has no metadata in {fields.metadata!r}, only {sorted(types)}",
            "Name a field of the type JSON: metadata_field (None takes all further fields).",
        )


def _description(requests: Requests) -> dict[str, Any]:
    try:
        found: dict[str, Any] = requests.ask("describe_collection")
    except MilvusException as error:
        names: list[str] = []
        with suppress(Exception):
            names = sorted(requests.ask_server("list_collections"))
        if error.code != NOT_FOUND or not names:
            raise
        held = f"is not there; there are {names}"
        raise unusable(requests.collection, held, "Look at the name and the database.") from error
    return found


def _index(requests: Requests, vector: str) -> Mapping[str, Any]:
    names = requests.ask("list_indexes", vector)
    index = requests.ask("describe_index", names[0]) if names else None
    if not index:
        raise no_index(requests.collection)
    return index  # type: ignore[no-any-return]


def _id(identity: str, vector: str) -> str:
    return f"{identity}-{vector}"


def _identity(requests: Requests, found: Mapping[str, Any], milvus: Milvus) -> str:
    if not milvus.lite:
        return f"{found['collection_id']}-{found.get('created_timestamp', '')}"
    # Written once, when the collection is made, and where its fields are changed.
    schema = requests.lite_folder(found["collection_name"]) / "schema.json"
    return f"lite-{schema.stat().st_mtime_ns}"
