"""How far the index looks, filters that let few rows pass, samples, quantised vectors."""

from typing import Any
from uuid import UUID

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from instruct_embeddings._types import FloatArray
from instruct_embeddings.protocols import Rows
from qdrant_instruct_embeddings import QdrantVectors
from tests.integrations.qdrant.conftest import NAME, fill, needs_client_1_20
from tests.qdrant_server import Qdrant

ROWS, DIMENSION = 3000, 16
TWO = [[1.0, 0.0], [0.0, 1.0]]
QUERY = np.array([1, 0], np.float32)


@pytest.fixture
def vectors() -> FloatArray:
    found = np.random.default_rng(1).standard_normal((ROWS, DIMENSION))
    return found.astype(np.float32)


def nearest(vectors: FloatArray, query: FloatArray) -> list[str]:
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return [str(row) for row in np.argsort(-(units @ query))]


def test_the_index_finds_as_many_as_are_wanted(remote: QdrantClient, vectors: FloatArray) -> None:
    fill(remote, vectors)
    collection = QdrantVectors(remote, NAME)
    for k, recall in ((10, 0.98), (300, 0.98), (1500, 0.98)):
        shares = []
        for query in np.random.default_rng(2).standard_normal((5, DIMENSION)).astype(np.float32):
            found = collection.search(query, k=k, vectors=True)
            assert len(found) == len(set(found.ids)) == k
            assert (np.diff(found.scores) <= 0).all()
            shares.append(len(set(found.ids) & set(nearest(vectors, query)[:k])) / k)
        assert np.mean(shares) >= recall
    assert remote.get_collection(NAME).indexed_vectors_count == ROWS


@pytest.mark.parametrize("passing", [3, 40, 1500])
def test_filters_that_let_few_rows_pass_leave_nothing_out(
    remote: QdrantClient, vectors: FloatArray, passing: int
) -> None:
    fill(remote, vectors)
    query = vectors[5]
    found = QdrantVectors(remote, NAME).search(query, k=30, where={"n": {"$lt": passing}})
    best = [row for row in nearest(vectors, query) if int(row) < passing][:30]
    assert len(found) == len(best)
    assert len(set(found.ids) & set(best)) >= 0.9 * len(best)


def asked(client: QdrantClient, monkeypatch: pytest.MonkeyPatch) -> list[models.SearchParams]:
    """What each search says about how to look."""
    seen = []
    query = client.query_points

    def watched(*args: Any, **options: Any) -> Any:
        seen.append(options["search_params"])
        return query(*args, **options)

    monkeypatch.setattr(client, "query_points", watched)
    return seen


def test_the_index_is_told_how_far_to_look(
    remote: QdrantClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = models.StrictModeConfig(enabled=True, search_max_hnsw_ef=700)
    fill(remote, TWO, strict_mode_config=strict)
    collection, seen = QdrantVectors(remote, NAME), asked(remote, monkeypatch)
    for k in (10, 300, 600):
        collection.search(QUERY, k=k)
    assert [one.hnsw_ef for one in seen] == [100, 600, 700]
    assert not any(one.quantization for one in seen)


def test_local_mode_is_told_nothing(local: QdrantClient, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(local, TWO)
    seen = asked(local, monkeypatch)
    assert len(QdrantVectors(local, NAME).search(QUERY, k=5, where={"n": 1})) == 1
    assert seen == [None]


def test_vectors_that_are_quantised_are_compared_again(
    remote: QdrantClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8)
    fill(remote, TWO, quantization_config=models.ScalarQuantization(scalar=scalar))
    collection, seen = QdrantVectors(remote, NAME), asked(remote, monkeypatch)
    collection.search(QUERY, k=1)
    assert seen[0].quantization
    assert (seen[0].quantization.rescore, seen[0].quantization.oversampling) == (True, 2.0)


def test_product_quantisation_is_warned_of_once(remote: QdrantClient) -> None:
    product = models.ProductQuantizationConfig(compression=models.CompressionRatio.X16)
    fill(remote, TWO, quantization_config=models.ProductQuantization(product=product))
    collection = QdrantVectors(remote, NAME)
    with pytest.warns(UserWarning, match="compressed by product quantisation"):
        collection.info()
    collection.info()
    assert len(collection.search(QUERY, k=2)) == 2


def test_a_search_is_one_request(remote: QdrantClient, behind: Qdrant) -> None:
    fill(remote, TWO)
    collection = QdrantVectors(remote, NAME)
    collection.info()
    behind.requests.clear()
    collection.search(QUERY, k=2, vectors=True)
    assert [path for _, path in behind.requests] == [f"/collections/{NAME}/points/query"]


@pytest.mark.parametrize("version", [(1, 20, 0), (1, 18, 0)])
def test_samples_of_uuids(remote: QdrantClient, behind: Qdrant, version: Any) -> None:
    behind.version = version
    rng = np.random.default_rng(0)
    ids = [str(UUID(bytes=rng.bytes(16))) for _ in range(ROWS)]
    fill(remote, rng.standard_normal((ROWS, 4)), ids=ids)
    collection = QdrantVectors(remote, NAME)
    rows = collection.sample(100, seed=3)
    assert len(set(rows.ids)) == 100
    assert collection.sample(100, seed=3).ids == rows.ids
    seen = {row for seed in range(60) for row in collection.sample(100, seed=seed).ids}
    assert len(seen) > 0.8 * ROWS  # each as likely as any other: 87 %
    assert set(collection.sample(ROWS, seed=-1).ids) == set(ids)


def scanned(collection: QdrantVectors, where: Any) -> set[str]:
    return set(Rows.joined(list(collection.scan(where=where))).ids)


@needs_client_1_20
def test_values_are_told_apart_as_in_other_stores(client: QdrantClient) -> None:
    values = [1, 1.0, True, "1", [1, 2], ["a", "b"], None, 2**53 + 1]
    fill(
        client,
        np.eye(len(values)),
        payloads=[{"page_content": "", "metadata": {"v": value}} for value in values],
    )
    collection = QdrantVectors(client, NAME)
    for where, passing in (
        ({"v": 1}, {0, 1, 4}),
        ({"v": 1.0}, {0, 1, 4}),
        ({"v": True}, {2}),
        ({"v": "1"}, {3}),
        ({"v": {"$contains": "b"}}, {5}),
        ({"v": {"$not_contains": "b"}}, {0, 1, 2, 3, 4, 6, 7}),
        ({"v": 2**53 + 1}, {7}),
        ({"v": {"$in": [True, "a", 2]}}, {2, 4, 5}),
        ({"v": {"$in": []}}, set()),
        ({"v": {"$nin": []}}, set(range(8))),
        ({"v": {"$nin": ["1", 1]}}, {2, 5, 6, 7}),
    ):
        assert scanned(collection, where) == {str(row) for row in passing}, where


def test_keys_are_names_never_paths(client: QdrantClient) -> None:
    keys = ["a.b", "a b", "a[0]", "é", "", "-", "metadata"]
    fill(
        client,
        np.eye(len(keys)),
        payloads=[{"metadata": {key: 1, "a": {"b": 2}}} for key in keys],
    )
    collection = QdrantVectors(client, NAME)
    for row, key in enumerate(keys):
        assert scanned(collection, {key: 1}) == {str(row)}


def test_native_filters_are_models_or_mappings(client: QdrantClient) -> None:
    fill(client, TWO)
    collection = QdrantVectors(client, NAME)
    first = {"must": [{"has_id": [0]}]}
    assert scanned(collection, {"$native": first}) == {"0"}
    assert scanned(collection, {"$native": models.Filter.model_validate(first)}) == {"0"}
    assert scanned(collection, {"$or": [{"$native": first}, {"n": 1}]}) == {"0", "1"}


@needs_client_1_20
def test_texts_are_found_by_any_part_as_it_is_written(client: QdrantClient) -> None:
    texts = ["100% sure", "a_b", "Straße", 'he said "no"']
    fill(client, np.eye(4), payloads=[{"page_content": text, "metadata": {}} for text in texts])
    collection = QdrantVectors(client, NAME)
    for part, passing in (("0% s", {0}), ("_", {1}), ("aße", {2}), ("strasse", set()), ('"', {3})):
        found = collection.scan(where_document={"$contains": part})
        assert set(Rows.joined(list(found)).ids) == {str(row) for row in passing}
    assert len(next(collection.scan(where_document={"$contains": ""}))) == 4
    assert len(next(collection.scan(where_document={"$not_contains": ""}))) == 0
