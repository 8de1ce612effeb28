"""Qdrant's engine behind its REST interface, on loopback: the parts that this project asks for.

The server of Qdrant is in no package index. Its engine is, as `qdrant_edge`: the same segments,
HNSW graphs and filters in the process. Requests are read by the models of Qdrant's own client, and
go to the engine with nothing but their types changed. What the engine does not have, which is
collections, their settings and their metadata, is kept here.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import RLock, Thread
from typing import Any
from uuid import uuid4

import numpy as np
import qdrant_edge as edge
from pydantic import BaseModel, TypeAdapter
from qdrant_client import models

_DISTANCES = {
    "Cosine": edge.Distance.Cosine,
    "Dot": edge.Distance.Dot,
    "Euclid": edge.Distance.Euclid,
    "Manhattan": edge.Distance.Manhattan,
}
# Indexes from a few rows on, where Qdrant waits for thousands.
_HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10}
_INDEXED_FROM = 1  # KB of vectors


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Collection:
    """One shard of the engine, and the settings that the server would keep."""

    def __init__(
        self, folder: Path, settings: models.CreateCollection, created: str | None
    ) -> None:
        self.settings, self.created = settings, created
        self.metadata = settings.metadata
        vectors = settings.vectors or {}
        named = vectors if isinstance(vectors, dict) else {"": vectors}
        self.shard = edge.EdgeShard.create(
            str(folder),
            edge.EdgeConfig(
                vectors={name: _vector_params(one) for name, one in named.items()},
                sparse_vectors={
                    name: edge.EdgeSparseVectorParams() for name in settings.sparse_vectors or {}
                },
                quantization_config=_quantization(settings.quantization_config),
                hnsw_config=edge.HnswIndexConfig(**_HNSW),
                optimizers=edge.EdgeOptimizersConfig(indexing_threshold=_INDEXED_FROM),
            ),
        )
        self.indexed = True

    def described(self) -> dict[str, Any]:
        info = self.shard.info()
        params = self.settings.model_dump(mode="json", include={"vectors", "sparse_vectors"})
        return {
            "status": "green",
            "optimizer_status": "ok",
            "points_count": info.points_count,
            "indexed_vectors_count": info.indexed_vectors_count,
            "segments_count": info.segments_count,
            "config": {
                "params": params,
                "hnsw_config": _HNSW,
                "optimizer_config": {
                    "deleted_threshold": 0.2,
                    "vacuum_min_vector_number": 1000,
                    "default_segment_number": 0,
                    "flush_interval_sec": 5,
                },
                "quantization_config": _plain(self.settings.quantization_config),
                "strict_mode_config": _plain(self.settings.strict_mode_config),
                "metadata": self.metadata,
            },
            "payload_schema": {},
            **({"created_at": self.created} if self.created else {}),
        }

    def upsert(self, request: models.PointsList) -> None:
        points = [edge.Point(p.id, _vector(p.vector), p.payload) for p in request.points]
        self._update(edge.UpdateOperation.upsert_points(points))

    def delete(self, request: models.PointIdsList) -> None:
        self._update(edge.UpdateOperation.delete_points(request.points))

    def index(self, request: models.CreateFieldIndex) -> None:
        kind = str(getattr(request.field_schema, "value", request.field_schema)).capitalize()
        schema = getattr(edge.PayloadSchemaType, kind)
        self._update(edge.UpdateOperation.create_field_index(request.field_name, schema))

    def _update(self, operation: edge.UpdateOperation) -> None:
        self.shard.update(operation)
        self.indexed = False

    def query(self, request: models.QueryRequest) -> dict[str, Any]:
        if not self.indexed:  # the server does it by itself
            self.shard.optimize()
            self.indexed = True
        vector = getattr(request.query, "nearest", request.query)
        asked = edge.QueryRequest(
            request.limit or 10,
            query=edge.Query.Nearest(vector, using=request.using or ""),
            filter=_filter(request.filter),
            params=_search_params(request.params),
            with_vector=request.with_vector,
            with_payload=request.with_payload,
        )
        found = self.shard.query(asked)
        return {
            "points": [_row(row) | {"version": row.version, "score": row.score} for row in found]
        }

    def scroll(self, request: models.ScrollRequest) -> dict[str, Any]:
        asked = edge.ScrollRequest(
            offset=request.offset,
            limit=request.limit or 10,
            filter=_filter(request.filter),
            with_payload=request.with_payload,
            with_vector=request.with_vector,
        )
        found, following = self.shard.scroll(asked)
        return {"points": [_row(row) for row in found], "next_page_offset": _id(following)}

    def retrieve(self, request: models.PointRequest) -> list[dict[str, Any]]:
        found = self.shard.retrieve(request.ids, request.with_payload, request.with_vector)
        return [_row(row) for row in found]

    def count(self, request: models.CountRequest) -> dict[str, int]:
        asked = edge.CountRequest(exact=bool(request.exact), filter=_filter(request.filter))
        return {"count": self.shard.count(asked)}


class Qdrant:
    """The collections of a server.

    Attributes:
        key: That every request must hold; None where all are answered.
        read_only: Whether requests that write are refused.
        version: That the server says it has; before 1.20 it tells no time of making, before 1.19 it
            knows no slices.
        requests: Methods and paths, in the order in which they came.
        raw: Bytes to send instead of an answer before the connection is closed, or None.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.lock = folder, RLock()
        self.collections: dict[str, Collection] = {}
        self.key: str | None = None
        self.read_only, self.version = False, (1, 20, 0)
        self.requests: list[tuple[str, str]] = []
        self.raw: bytes | None = None
        self.made = 0

    def answer(self, method: str, path: str, body: Any, key: str | None) -> Any:
        self.requests.append((method, path))
        if not path.strip("/"):
            return {"title": "qdrant", "version": ".".join(map(str, self.version))}
        if self.key is not None and key != self.key:
            raise Refused(401, "Must provide an API key or an Authorization bearer token")
        parts = path.strip("/").split("/")
        with self.lock:
            return {"result": self._result(method, parts[1:], body), "status": "ok", "time": 0.0}

    def _result(self, method: str, parts: list[str], body: Any) -> Any:
        if not parts:
            return {"collections": [{"name": name} for name in self.collections]}
        name, rest = parts[0], "/".join(parts[1:])
        if rest == "exists":
            return {"exists": name in self.collections}
        if self.read_only and (method, rest) not in _READS:
            raise Refused(403, "Forbidden: Global write access is required")
        if rest == "" and method in ("PUT", "DELETE"):
            return self._make(name, body) if method == "PUT" else self._drop(name)
        if name not in self.collections:
            raise Refused(404, f"Not found: Collection `{name}` doesn't exist!")
        found = self.collections[name]
        if rest == "":
            return found.described() if method == "GET" else self._change(found, body)
        if self.version < (1, 19) and '"slice"' in json.dumps(body):
            raise Refused(400, "Format error in JSON body: data did not match any variant")
        kind, act = _ROUTES[method, rest]
        request = kind.validate_python(body)
        try:
            result = act(found, request)
        except Exception as error:
            if type(error) not in (Exception, ValueError):  # the engine raises no other
                raise
            raise Refused(400, f"Wrong input: {error}") from error
        return {"operation_id": 0, "status": "completed"} if result is None else result

    def _drop(self, name: str) -> bool:
        gone = self.collections.pop(name, None)
        if gone is not None:
            gone.shard.close()
        return gone is not None

    def _change(self, found: Collection, body: Any) -> bool:
        if self.version >= (1, 16):
            found.metadata = (found.metadata or {}) | (body.get("metadata") or {})
        return True

    def _make(self, name: str, body: Any) -> bool:
        settings = models.CreateCollection.model_validate(body)
        if name in self.collections:
            raise Refused(409, f"Wrong input: Collection `{name}` already exists!")
        self.made += 1
        created = f"2026-12-01T00:00:00.{self.made:06}Z" if self.version >= (1, 20) else None
        self.collections[name] = Collection(self.folder / uuid4().hex, settings, created)
        return True


_Act = Callable[[Collection, Any], Any]
_ROUTES: dict[tuple[str, str], tuple[TypeAdapter[Any], _Act]] = {
    ("PUT", "points"): (TypeAdapter(models.PointsList), Collection.upsert),
    ("PUT", "index"): (TypeAdapter(models.CreateFieldIndex), Collection.index),
    ("POST", "points/delete"): (TypeAdapter(models.PointIdsList), Collection.delete),
    ("POST", "points/query"): (TypeAdapter(models.QueryRequest), Collection.query),
    ("POST", "points/scroll"): (TypeAdapter(models.ScrollRequest), Collection.scroll),
    ("POST", "points/count"): (TypeAdapter(models.CountRequest), Collection.count),
    ("POST", "points"): (TypeAdapter(models.PointRequest), Collection.retrieve),
}
_READS = {
    ("GET", ""),
    ("POST", "points/query"),
    ("POST", "points/scroll"),
    ("POST", "points/count"),
    ("POST", "points"),
}


@contextmanager
def qdrant_server() -> Iterator[tuple[str, Qdrant]]:
    """A server on loopback: its address, and what stands behind it."""
    folder = Path(tempfile.mkdtemp())
    behind = Qdrant(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            path = self.path.partition("?")[0]
            if behind.raw is not None:
                self.wfile.write(behind.raw)
                self.close_connection = True
                return
            try:
                status, found = (
                    200,
                    behind.answer(self.command, path, body, self.headers.get("api-key")),
                )
            except Refused as error:
                status, found = error.status, {"status": {"error": str(error)}, "time": 0.0}
            sent = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _answer

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"qdrant://127.0.0.1:{server.server_address[1]}", behind
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        for one in behind.collections.values():
            one.shard.close()
        shutil.rmtree(folder, ignore_errors=True)


def _vector_params(one: models.VectorParams) -> edge.EdgeVectorParams:
    multi = edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim)
    return edge.EdgeVectorParams(
        one.size,
        _DISTANCES[one.distance.value],
        multivector_config=multi if one.multivector_config else None,
    )


def _quantization(given: Any) -> Any:
    if isinstance(given, models.ProductQuantization):
        ratio = getattr(edge.CompressionRatio, given.product.compression.value.upper())
        return edge.ProductQuantizationConfig(ratio)
    return given and edge.ScalarQuantizationConfig(edge.ScalarType.Int8)


def _vector(given: Any) -> Any:
    if isinstance(given, dict):
        return {name: _vector(one) for name, one in given.items()}
    if isinstance(given, models.SparseVector):
        return edge.SparseVector(indices=given.indices, values=given.values)
    return given


def _search_params(given: models.SearchParams | None) -> edge.SearchParams | None:
    if given is None:
        return None
    kind = given.quantization
    return edge.SearchParams(
        hnsw_ef=given.hnsw_ef,
        exact=bool(given.exact),
        quantization=kind
        and edge.QuantizationSearchParams(rescore=kind.rescore, oversampling=kind.oversampling),
    )


def _filter(given: models.Filter | None) -> edge.Filter | None:
    if given is None:
        return None
    parts = {
        name: None
        if (found := getattr(given, name)) is None
        else [_condition(c) for c in _list(found)]
        for name in ("must", "should", "must_not")
    }
    return edge.Filter(**parts)


def _list(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [found]


def _condition(given: Any) -> Any:
    if isinstance(given, models.Filter):
        return _filter(given)
    if isinstance(given, models.HasIdCondition):
        return edge.HasIdCondition(set(given.has_id))
    if isinstance(given, models.HasVectorCondition):
        return edge.HasVectorCondition(given.has_vector)
    if type(given).__name__ == "SliceCondition":  # older clients know none
        return edge.SliceCondition(given.slice.total, given.slice.index)
    assert isinstance(given, models.FieldCondition)
    if given.range is not None:
        return edge.FieldCondition(
            given.key, range=edge.RangeFloat(**given.range.model_dump(exclude_none=True))
        )
    match = given.match
    kind = getattr(edge, type(match).__name__)
    assert match is not None
    (value,) = match.model_dump().values()
    # The binding takes True for 1, but not numpy's.
    return edge.FieldCondition(
        given.key, match=kind(np.bool_(value) if isinstance(value, bool) else value)
    )


def _row(row: Any) -> dict[str, Any]:
    return {"id": _id(row.id), "payload": row.payload, "vector": _stored(row.vector)}


def _id(found: Any) -> Any:
    return found if found is None or isinstance(found, int) else str(found)


def _stored(found: Any) -> Any:
    if isinstance(found, dict):
        return {name: _stored(one) for name, one in found.items()}
    if isinstance(found, edge.SparseVector):
        return {"indices": list(found.indices), "values": list(found.values)}
    return found


def _plain(found: BaseModel | None) -> Any:
    return None if found is None else found.model_dump(mode="json", exclude_none=True)
