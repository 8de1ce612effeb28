"""A real server of Milvus that is killed and started again, or that hangs."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pymilvus import DataType, MilvusClient

from instruct_embeddings.errors import UnreachableCollectionError
from instruct_embeddings.guides import MetadataGuide
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.transform import TransformStore
from milvus_instruct_embeddings import MilvusVectors
from tests.faults.conftest import QUICK, Answers, Inject, answers, ask_all
from tests.faults.ledger import Fault
from tests.milvus_server import MilvusServer, milvus_server
from tests.unit.conftest import Toys

pytestmark = pytest.mark.faults

_SECONDS = 90


@pytest.fixture(scope="module")
def milvus(toys: Toys) -> Iterator[MilvusServer]:
    """Holds the toys."""
    with milvus_server() as server:
        client = MilvusClient(server.address)
        schema = client.create_schema(enable_dynamic_field=True)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=20)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=toys.vectors.shape[1])
        index = client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="COSINE")
        client.create_collection("toys", schema=schema, index_params=index)
        rows = toys.collection().fetch([str(i) for i in range(len(toys.vectors))], records=True)
        client.insert(
            "toys",
            [
                {"id": row, "vector": vector, "text": text} | dict(metadata)
                for row, vector, text, metadata in zip(
                    rows.ids, toys.vectors, rows.texts, rows.metadatas, strict=True
                )
            ],
        )
        client.flush("toys")
        client.close()
        yield server


@pytest.fixture(scope="module")
def healthy(milvus: MilvusServer, toys: Toys, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """What is found where nothing breaks."""
    with retriever(milvus, tmp_path_factory.mktemp("healthy") / "store") as one:
        return answers(one, toys)


@contextmanager
def retriever(server: MilvusServer, folder: Path) -> Iterator[InstructRetriever]:
    vectors = MilvusVectors(server.address, "toys", timeout=2)
    yield InstructRetriever(
        vectors, MetadataGuide("colour"), store=TransformStore(folder), fit=QUICK
    )
    vectors.close()


def until_right(fault: Fault, one: InstructRetriever, toys: Toys, healthy: Answers) -> None:
    """A server that was started again loads its collections by itself, which takes a while."""
    end = time.monotonic() + _SECONDS
    while ask_all(fault, one, toys, healthy):
        assert time.monotonic() < end
        time.sleep(0.5)


def test_a_server_that_is_killed_and_started_again(
    milvus: MilvusServer, toys: Toys, healthy: Answers, folder: Path, inject: Inject
) -> None:
    with inject("Milvus is killed between searches") as fault, retriever(milvus, folder) as one:
        assert ask_all(fault, one, toys, healthy) == []
        before = one.collection.info()
        milvus.kill()
        errors = ask_all(fault, one, toys, healthy)
        assert {type(error) for error in errors} == {UnreachableCollectionError}
        milvus.start()
        until_right(fault, one, toys, healthy)
        assert one.collection.info() == before
        assert len(TransformStore(folder).keys()) == 1


def test_a_server_that_is_killed_before_a_fit(
    milvus: MilvusServer, toys: Toys, healthy: Answers, folder: Path, inject: Inject
) -> None:
    with inject("Milvus is killed before a fit") as fault, retriever(milvus, folder) as one:
        milvus.kill()
        errors = ask_all(fault, one, toys, healthy)
        assert {type(error) for error in errors} == {UnreachableCollectionError}
        assert not folder.exists()
        milvus.start()
        until_right(fault, one, toys, healthy)


def test_a_server_that_hangs(
    milvus: MilvusServer, toys: Toys, healthy: Answers, folder: Path, inject: Inject
) -> None:
    with inject("Milvus hangs") as fault, retriever(milvus, folder) as one:
        assert ask_all(fault, one, toys, healthy) == []
        milvus.signal(signal.SIGSTOP)
        try:
            errors = ask_all(fault, one, toys, healthy)
        finally:
            milvus.signal(signal.SIGCONT)
        assert {type(error) for error in errors} == {UnreachableCollectionError}
        assert max(fault.times) < 20_000
        until_right(fault, one, toys, healthy)
