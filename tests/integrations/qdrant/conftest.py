"""Collections in local mode, and on Qdrant's engine behind its REST interface."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from instruct_embeddings._types import FloatArray
from tests.qdrant_server import Qdrant, qdrant_server

Fill: TypeAlias = Callable[..., None]
NAME = "tickets"
# The oldest clients are tried too.
TEXTS_FILTERED = hasattr(models, "MatchSubstring")
needs_client_1_20 = pytest.mark.skipif(not TEXTS_FILTERED, reason="the client is older than 1.20")


@pytest.fixture
def local() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    yield client
    client.close()


@pytest.fixture
def server() -> Iterator[tuple[str, Qdrant]]:
    with qdrant_server() as found:
        yield found


@pytest.fixture
def behind(server: tuple[str, Qdrant]) -> Qdrant:
    """What stands behind the server."""
    return server[1]


@pytest.fixture
def address(server: tuple[str, Qdrant]) -> str:
    return server[0]


@pytest.fixture
def remote(address: str) -> Iterator[QdrantClient]:
    client = QdrantClient(address.replace("qdrant", "http"), check_compatibility=False)
    yield client
    client.close()


@pytest.fixture(params=["local", "remote"])
def client(request: pytest.FixtureRequest) -> QdrantClient:
    found: QdrantClient = request.getfixturevalue(request.param)
    return found


def fill(
    client: QdrantClient,
    vectors: FloatArray | Sequence[Sequence[float]],
    *,
    payloads: Sequence[Any] | None = None,
    ids: Sequence[Any] | None = None,
    config: Any = None,
    name: str = "",
    **options: Any,
) -> None:
    """Make the collection, with the vectors under a name and the metadata {"n": place}."""
    rows = np.asarray(vectors, dtype=np.float32)
    params = config or models.VectorParams(size=rows.shape[1], distance=models.Distance.COSINE)
    client.create_collection(NAME, {name: params} if name else params, **options)
    plain = [{"page_content": f"text {i}", "metadata": {"n": i}} for i in range(len(rows))]
    points = zip(
        range(len(rows)) if ids is None else ids, rows.tolist(), payloads or plain, strict=True
    )
    client.upsert(
        NAME,
        [
            models.PointStruct(id=row, vector={name: vector} if name else vector, payload=payload)
            for row, vector, payload in points
        ],
    )
