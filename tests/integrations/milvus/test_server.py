"""What only a server does: limits, indexes of another metric, collections without them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pymilvus import MilvusClient

from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import ConfigError, StaleCollectionError, UnsupportedCollectionError
from milvus_instruct_embeddings import MilvusVectors
from tests.integrations.milvus.conftest import THREE, fill

Key = Callable[[int], Any]
ROWS = 17_000
QUERY = np.array([1, 0], np.float32)


def many(client: MilvusClient, name: str, key: Key, **options: Any) -> FloatArray:
    vectors = np.random.default_rng(0).standard_normal((ROWS, 4)).astype(np.float32)
    rows = [{"n": row} for row in range(ROWS)]
    fill(client, name, vectors, rows=rows, ids=[key(row) for row in range(ROWS)], **options)
    return vectors


@pytest.mark.parametrize(
    "key", [lambda row: (row - 9000) * 6, "doc-{:06d}".format], ids=["numbers", "texts"]
)
def test_more_rows_than_a_server_gives_at_once(server: MilvusClient, name: str, key: Key) -> None:
    stored = many(server, name, key)
    vectors = MilvusVectors(server, name)
    assert sum(len(page) for page in vectors.scan()) == ROWS
    rows = vectors.sample(500, seed=1)
    assert len(set(rows.ids)) == 500
    places = [metadata["n"] for metadata in rows.metadatas]
    np.testing.assert_array_equal(rows.vectors, stored[places])
    counts, _ = np.histogram(places, 4, (0, ROWS))
    assert counts.min() > 50
    assert vectors.sample(500, seed=1).ids == rows.ids
    assert set(vectors.sample(500, seed=2).ids) != set(rows.ids)
    with pytest.raises(ConfigError, match=r"k=20000 is too much.*17000 rows.*16384"):
        vectors.search(stored[0], k=20_000)
    assert len(vectors.search(stored[0], k=3000, vectors=True).vectors) == 3000


def test_clusters_are_searched_too(server: MilvusClient, name: str) -> None:
    rows = np.random.default_rng(0).standard_normal((500, 8)).astype(np.float32)
    fill(server, name, rows, index="IVF_FLAT", metric="IP", nlist=16)
    vectors = MilvusVectors(server, name, consistency="Strong")
    assert vectors.info().space == "ip"
    found = vectors.search(rows[0], k=500, vectors=True)
    assert len(found) == 500
    np.testing.assert_allclose(found.scores, found.vectors @ rows[0], atol=1e-4)


def test_a_collection_that_is_not_loaded(server: MilvusClient, name: str) -> None:
    fill(server, name, THREE)
    vectors = MilvusVectors(server, name)
    vectors.info()
    server.release_collection(name)
    for ask in (
        lambda: vectors.search(QUERY, k=1),
        lambda: vectors.sample(2, seed=0),
        lambda: list(vectors.scan()),
    ):
        with pytest.raises(UnsupportedCollectionError, match=r"not loaded.*load_collection"):
            ask()


def test_an_index_of_another_metric_is_noticed(server: MilvusClient, name: str) -> None:
    fill(server, name, THREE, metric="L2")
    vectors = MilvusVectors(server, name)
    assert vectors.info().space == "l2"
    server.release_collection(name)
    server.drop_index(name, "vector")
    index = server.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type="IP")
    server.create_index(name, index)
    server.load_collection(name)
    with pytest.raises(StaleCollectionError, match="no longer what was opened"):
        vectors.search(QUERY, k=1)
    assert vectors.info().space == "ip"
    assert len(vectors.search(QUERY, k=1)) == 1


def test_texts_are_not_looked_into_by_an_old_server(server: MilvusClient, name: str) -> None:
    fill(server, name, THREE)
    vectors = MilvusVectors(server, name)
    assert not vectors.capabilities.text_filters
    with pytest.raises(ConfigError, match=r"this is Milvus 2\.3.*needs 2\.4"):
        vectors.search(QUERY, k=1, where_document={"$contains": "a"})
    found = vectors.search(QUERY, k=3, where={"n": {"$nin": [0, 1]}}).ids
    assert found == ("r2",)
