"""Which vectors are read, whose payloads, and which collection it is."""

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from instruct_embeddings.errors import (
    ConfigError,
    EmptyCollectionError,
    UnsupportedCollectionError,
)
from instruct_embeddings.protocols import Rows
from qdrant_instruct_embeddings import QdrantVectors
from tests.integrations.qdrant.conftest import NAME, TEXTS_FILTERED, fill, needs_client_1_20
from tests.qdrant_server import Qdrant

TWO = [[1.0, 0.0], [0.0, 1.0]]
QUERY = np.array([1, 0], np.float32)
MARKER = "instruct_embeddings_id"


def marker(client: QdrantClient) -> Any:
    return (client.get_collection(NAME).config.metadata or {}).get(MARKER)


def scanned(collection: QdrantVectors, **options: Any) -> Rows:
    return Rows.joined(list(collection.scan(**options)))


def test_ids_are_integers_or_uuids(client: QdrantClient) -> None:
    ids = [7, str(uuid.UUID(int=5))]
    fill(client, TWO, ids=ids)
    vectors = QdrantVectors(client, NAME)
    assert set(vectors.search(QUERY, k=2).ids) == {"7", ids[1]}
    foreign = ["r7", "07", "-1", str(2**64), "9" * 5000, f"{ids[1]}x", ""]
    assert vectors.fetch([*foreign, ids[1], "7", "8"]).ids == (ids[1], "7")
    # LangChain tells the ids that it made in another form.
    if TEXTS_FILTERED:
        hexadecimal = uuid.UUID(int=5).hex
        assert vectors.fetch([hexadecimal, ids[1]], vectors=True).ids == (hexadecimal, ids[1])


@pytest.mark.parametrize("written", [{}, {"owner": "me"}])
def test_an_identity_is_written_once_where_none_is_told(written: dict[str, str]) -> None:
    client = QdrantClient(":memory:")
    fill(client, TWO, metadata=written or None)
    first = QdrantVectors(client, NAME).info()
    kept = marker(client)
    assert len(kept) == 32
    assert kept in first.id
    assert QdrantVectors(client, NAME).info() == first
    assert client.get_collection(NAME).config.metadata == written | {MARKER: kept}
    client.close()


def test_nothing_is_written_before_it_is_needed(local: QdrantClient) -> None:
    fill(local, TWO)
    vectors = QdrantVectors(local, NAME)
    vectors.search(QUERY, k=1)
    assert len(vectors.sample(2, seed=0)) == 2
    assert marker(local) is None


@needs_client_1_20
def test_the_time_of_making_is_an_identity(remote: QdrantClient, behind: Qdrant) -> None:
    fill(remote, TWO)
    behind.read_only = True
    first = QdrantVectors(remote, NAME).info()
    assert first.id.startswith("2026-12-01T00:00:00.000001")
    assert marker(remote) is None
    behind.read_only = False
    remote.delete_collection(NAME)
    fill(remote, TWO)
    assert QdrantVectors(remote, NAME).info() != first


def test_older_servers_keep_what_was_written(remote: QdrantClient, behind: Qdrant) -> None:
    behind.version = (1, 18, 0)
    fill(remote, TWO)
    first = QdrantVectors(remote, NAME).info()
    behind.read_only = True
    assert QdrantVectors(remote, NAME).info() == first
    assert marker(remote) in first.id


def test_no_identity_is_said(remote: QdrantClient, behind: Qdrant) -> None:
    behind.version = (1, 15, 0)
    fill(remote, TWO)
    with pytest.raises(UnsupportedCollectionError, match=r"it forgot.*identity=\"\.\.\.\""):
        QdrantVectors(remote, NAME).info()
    behind.version, behind.read_only = (1, 18, 0), True
    with pytest.raises(UnsupportedCollectionError, match=r"403.*identity=\"\.\.\.\""):
        QdrantVectors(remote, NAME).info()
    assert QdrantVectors(remote, NAME, identity="mine").info().id == "mine"


@pytest.mark.parametrize("identity", ["", 3])
def test_an_identity_is_a_text(local: QdrantClient, identity: Any) -> None:
    with pytest.raises(ConfigError, match="identity="):
        QdrantVectors(local, NAME, identity=identity)


def test_two_vectors_of_one_collection_are_two(client: QdrantClient) -> None:
    params = models.VectorParams(size=2, distance=models.Distance.DOT)
    client.create_collection(NAME, {"a": params, "b": params})
    points = [models.PointStruct(id=1, vector={"a": [1, 0], "b": [0, 2]})]
    client.upsert(NAME, [*points, models.PointStruct(id=2, vector={"a": [1, 1]})])
    a, b = (QdrantVectors(client, NAME, vector_name=name) for name in "ab")
    assert a.info() != b.info()
    assert (a.count(), b.count()) == (2, 1)
    np.testing.assert_array_equal(b.fetch(["1", "2"], vectors=True).vectors, [[0, 2]])
    np.testing.assert_array_equal(b.search(QUERY, k=2, vectors=True).vectors, [[0, 2]])
    assert scanned(b).ids == ("1",)
    with pytest.raises(UnsupportedCollectionError, match="of several names: 'a', 'b'"):
        QdrantVectors(client, NAME).info()
    with pytest.raises(UnsupportedCollectionError, match="none of the name 'c': 'a', 'b'"):
        QdrantVectors(client, NAME, vector_name="c").info()


def test_the_only_name_need_not_be_told(client: QdrantClient) -> None:
    sparse = {"words": models.SparseVectorParams()}
    fill(client, TWO, name="dense", sparse_vectors_config=sparse)
    vectors = QdrantVectors(client, NAME)
    assert vectors.info().dimension == 2
    assert vectors.search(QUERY, k=2, vectors=True).vectors.shape == (2, 2)


def test_vectors_without_a_name_beside_sparse_ones(client: QdrantClient) -> None:
    fill(client, TWO, sparse_vectors_config={"words": models.SparseVectorParams()})
    words = models.SparseVector(indices=[3], values=[1.0])
    client.upsert(
        NAME, [models.PointStruct(id=5, vector={"": [1.0, 0.0], "words": words}, payload={})]
    )
    vectors = QdrantVectors(client, NAME)
    np.testing.assert_array_equal(
        vectors.search(QUERY, k=3, vectors=True).vectors[:2], [TWO[0]] * 2
    )
    assert scanned(vectors, vectors=True).vectors.shape == (3, 2)


def test_what_has_no_dense_vector_a_row_is_refused(client: QdrantClient) -> None:
    client.create_collection(NAME, {}, sparse_vectors_config={"w": models.SparseVectorParams()})
    with pytest.raises(UnsupportedCollectionError, match="no dense vectors, one a row"):
        QdrantVectors(client, NAME).info()
    client.delete_collection(NAME)
    many = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    client.create_collection(
        NAME,
        models.VectorParams(size=2, distance=models.Distance.DOT, multivector_config=many),
    )
    with pytest.raises(UnsupportedCollectionError, match="no dense vectors, one a row"):
        QdrantVectors(client, NAME).info()


def test_a_distance_that_is_not_read_is_refused(client: QdrantClient) -> None:
    fill(client, TWO, config=models.VectorParams(size=2, distance=models.Distance.MANHATTAN))
    with pytest.raises(UnsupportedCollectionError, match=r"Manhattan; Cosine, Dot and Euclid"):
        QdrantVectors(client, NAME).search(QUERY, k=1)


def test_rows_without_any_vector_are_no_vectors(client: QdrantClient) -> None:
    client.create_collection(NAME, models.VectorParams(size=2, distance=models.Distance.DOT))
    client.upsert(NAME, [models.PointStruct(id=1, vector={})])
    vectors = QdrantVectors(client, NAME)
    with pytest.raises(EmptyCollectionError, match="holds no vectors yet"):
        vectors.info()
    assert vectors.count() == 0
    assert vectors.fetch(["1"], vectors=True).ids == ()


@needs_client_1_20
def test_plain_payloads(client: QdrantClient) -> None:
    fill(client, TWO, payloads=[{"text": "one", "b": 1, "a": "x"}, {"b": 2}])
    vectors = QdrantVectors(client, NAME, text_key="text", metadata_key=None)
    rows = scanned(vectors, records=True)
    assert rows.texts == ("one", None)
    assert [list(metadata.items()) for metadata in rows.metadatas] == [
        [("a", "x"), ("b", 1)],
        [("b", 2)],
    ]
    assert scanned(vectors, where={"b": 2}).ids == ("1",)
    assert scanned(vectors, where_document={"$contains": "ne"}).ids == ("0",)
    assert scanned(vectors, where_document={"$not_contains": "ne"}).ids == ("1",)


@pytest.mark.parametrize(
    "payload", [None, {}, {"page_content": 3, "metadata": "x"}, {"_node_content": "{"}]
)
def test_payloads_of_another_form_are_read_as_far_as_it_goes(
    client: QdrantClient, payload: Any
) -> None:
    fill(client, TWO[:1], payloads=[payload or {}])
    rows = scanned(QdrantVectors(client, NAME), records=True)
    assert (rows.texts, rows.metadatas) == ((None,), ({},))
    nodes = QdrantVectors(client, NAME, text_key=None, metadata_key=None)
    assert scanned(nodes, records=True).metadatas == (payload or {},)


def test_texts_inside_of_nodes_have_no_filter(local: QdrantClient) -> None:
    fill(local, TWO)
    vectors = QdrantVectors(local, NAME, text_key=None, metadata_key=None)
    assert not vectors.capabilities.text_filters
    with pytest.raises(ConfigError, match="where_document cannot be obeyed"):
        vectors.search(QUERY, k=1, where_document={"$contains": "a"})


@pytest.mark.parametrize(
    ("payload", "text", "where"),
    [
        ({"page_content": "one", "metadata": {"n": 1}}, "one", {"n": 1}),
        ({"document": "one", "n": 1}, "one", {"n": 1}),
        ({"content": "one", "n": 1}, "one", {"n": 1}),
        ({"_node_content": '{"text": "one"}', "n": 1}, "one", {"n": 1}),
        ({"_node_content": '{"text_resource": {"text": "one"}}', "n": 1}, "one", {"n": 1}),
        ({"n": 1}, None, {"n": 1}),
    ],
)
def test_an_address_opens_what_anybody_wrote(
    remote: QdrantClient, address: str, payload: Any, text: str | None, where: Any
) -> None:
    fill(remote, TWO, payloads=[payload, payload])
    vectors = QdrantVectors.open(address, NAME)
    rows = scanned(vectors, records=True, where=where)
    assert rows.texts == (text, text)
    assert all(metadata["n"] == 1 for metadata in rows.metadatas)
    vectors.close()


# A client that is refused leaves the file of its lock open.
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_an_address_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCollectionError, match=r"no Qdrant in the folder .*writ"):
        QdrantVectors.open(f"qdrant:{tmp_path / 'new'}", NAME)
    assert not (tmp_path / "new").exists()
    client = QdrantClient(path=str(tmp_path))
    fill(client, TWO)
    first = QdrantVectors(client, NAME).info()
    with pytest.raises(UnsupportedCollectionError, match="one client at a time"):
        QdrantVectors.open(f"qdrant:{tmp_path}", NAME)
    client.close()
    vectors = QdrantVectors.open(f"qdrant:{tmp_path}", NAME)
    assert vectors.info() == first
    assert vectors.search(QUERY, k=1).ids == ("0",)
    vectors.close()


@pytest.mark.parametrize(
    "address",
    [
        "qdrant",
        "qdrant:",
        "chroma:folder",
        "qdrant://",
        "qdrant://host:port",
        "qdrant://hunter22@[x",
        "qdrant://host?tls=true",
        "qdrant://hunter22@host?ssl=perhaps",
    ],
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ConfigError, match=r"is none of Qdrant\. Allowed are qdrant:") as raised:
        QdrantVectors.open(address, NAME)
    assert "hunter22" not in f"{raised.value} {raised.value.__cause__}"


def test_keys_and_tls_of_an_address(remote: QdrantClient, address: str, behind: Qdrant) -> None:
    fill(remote, TWO)
    behind.key = "hunter/22"
    with pytest.warns(UserWarning, match="insecure connection"):
        vectors = QdrantVectors.open(address.replace("://", "://hunter%2F22@"), NAME)
    assert vectors.count() == 2
    vectors.close()
    for given, url in (
        ("qdrant://key@host:1/prefix/?ssl=true", "https://host:1/prefix"),
        ("qdrant://host", "http://host:6333"),
        ("qdrant://[::1]:80", "http://[::1]:80"),
    ):
        other = QdrantVectors(given, NAME)
        assert other._client._client.rest_uri == url
        other.close()


def test_what_is_no_client() -> None:
    for source in (3, AsyncQdrantClient(":memory:")):
        with pytest.raises(UnsupportedCollectionError, match=r"is no Qdrant\. Accepted is"):
            QdrantVectors(source, NAME)  # type: ignore[arg-type]
