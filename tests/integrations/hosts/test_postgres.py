"""Stores of PostgreSQL of both hosts, searched through their retrievers."""

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
from langchain_postgres import PGEngine, PGVectorStore
from langchain_postgres.v2.engine import Column
from langchain_postgres.v2.indexes import DistanceStrategy
from langchain_postgres.vectorstores import PGVector
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery
from llama_index.vector_stores.postgres import PGVectorStore as LlamaIndexStore

import langchain_instruct_embeddings as langchain
import llama_index_instruct_embeddings as llama_index
from instruct_embeddings.errors import UnreachableCollectionError, UnsupportedCollectionError
from instruct_embeddings.protocols import Rows
from instruct_embeddings.stores import collection_behind, open_store
from postgres_instruct_embeddings import PostgresVectors
from tests.integrations.langchain.conftest import TinyEmbeddings
from tests.integrations.langchain.conftest import tickets as documents
from tests.integrations.llama_index.conftest import TinyEmbedding
from tests.integrations.llama_index.conftest import tickets as nodes
from tests.integrations.tickets import KIND, CountingGuide
from tests.postgres_server import postgres_server

DIMENSION = len(TinyEmbeddings().embed_query("text"))
QUERY = "printer broken"


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    with postgres_server() as found:
        yield found


@pytest.fixture(scope="session")
def engine(address: str) -> Iterator[PGEngine]:
    found = PGEngine.from_connection_string(address.replace("postgresql:", "postgresql+psycopg:"))
    yield found
    found._run_as_sync(found.close())


@pytest.fixture(scope="session")
def langchain_store(engine: PGEngine) -> PGVectorStore:
    """Part of the metadata lies in columns of its own."""
    engine.init_vectorstore_table(
        "tickets",
        DIMENSION,
        id_column=Column("langchain_id", "TEXT", nullable=False),
        metadata_columns=[Column("kind", "TEXT"), Column("n", "INTEGER")],
    )
    store = PGVectorStore.create_sync(
        engine, TinyEmbeddings(), "tickets", metadata_columns=["kind", "n"]
    )
    store.add_documents(list(documents()))
    return store


@pytest.fixture(scope="session")
def llama_index_store(address: str) -> Iterator[LlamaIndexStore]:
    """Its nodes know their neighbours; the first has been stored twice."""
    store = LlamaIndexStore(
        connection_string=address.replace("postgresql:", "postgresql+psycopg2:"),
        async_connection_string=address.replace("postgresql:", "postgresql+asyncpg:"),
        table_name="Tickets",
        embed_dim=DIMENSION,
    )
    model = TinyEmbedding()
    made = list(nodes())
    for node, after in zip(made, [*made[1:], None], strict=True):
        node.embedding = model.get_text_embedding(node.text)
        if after is not None:
            related = RelatedNodeInfo(node_id=after.node_id)
            node.relationships[NodeRelationship.NEXT] = related
    store.add([*made, made[0]])
    yield store
    asyncio.run(store.close())


def of_langchain(store: Any, **options: Any) -> langchain.InstructionTransformRetriever:
    return langchain.InstructionTransformRetriever(vectorstore=store, instant=None, **options)


def of_llama_index(store: Any, **options: Any) -> llama_index.InstructionTransformRetriever:
    return llama_index.InstructionTransformRetriever(
        vector_store=store, embed_model=TinyEmbedding(), instant=None, **options
    )


def test_documents_are_those_of_the_store_itself(langchain_store: PGVectorStore) -> None:
    found = of_langchain(langchain_store, k=5).invoke(QUERY)
    assert found == langchain_store.similarity_search(QUERY, k=5)
    assert found[0].metadata.keys() == {"area", "kind", "n"}


def test_nodes_are_those_of_the_store_itself(llama_index_store: LlamaIndexStore) -> None:
    found = of_llama_index(llama_index_store, similarity_top_k=5).retrieve(QUERY)
    vector = TinyEmbedding().get_query_embedding(QUERY)
    asked = VectorStoreQuery(query_embedding=vector, similarity_top_k=5)
    theirs = llama_index_store.query(asked)
    assert [one.node for one in found] == theirs.nodes
    np.testing.assert_allclose([one.score for one in found], theirs.similarities or [], atol=1e-5)
    assert found[0].node.relationships


@pytest.mark.parametrize("host", ["langchain", "llama_index"])
def test_an_instruction_is_learned_and_ranks(
    langchain_store: PGVectorStore, llama_index_store: LlamaIndexStore, host: str
) -> None:
    guide = CountingGuide()
    kinds: list[str]
    if host == "langchain":
        retriever = of_langchain(langchain_store, guide=guide, k=8, force=True)
        kinds = [one.metadata["kind"] for one in retriever.invoke(QUERY, instruction=KIND)]
    else:
        other = of_llama_index(llama_index_store, guide=guide, similarity_top_k=8, force=True)
        found = other.with_instruction(KIND).retrieve(QUERY)
        kinds = [one.node.metadata["kind"] for one in found]
    assert kinds == ["failure"] * 8
    assert len(guide.asked) == 1


def test_retrievers_of_one_table_share_an_engine(langchain_store: PGVectorStore) -> None:
    first = of_langchain(langchain_store, guide=CountingGuide())
    second = langchain.InstructionTransformRetriever(
        vectorstore=langchain_store, engine=first.engine, k=2
    )
    assert second.engine is first.engine


@pytest.mark.parametrize("where", [{"kind": "refund"}, {"area": "login"}, {"n": {"$lt": 2}}])
def test_filters_reach_metadata_in_json_and_in_columns(
    langchain_store: PGVectorStore, where: dict[str, Any]
) -> None:
    found = of_langchain(langchain_store, k=50, filter=where).invoke(QUERY)
    theirs = langchain_store.similarity_search(QUERY, k=96)
    [(key, value)] = where.items()
    passing = [
        one
        for one in theirs
        if (one.metadata[key] < 2 if key == "n" else one.metadata[key] == value)
    ]
    assert {one.id for one in found} == {one.id for one in passing}


def test_a_filter_of_the_store_itself_needs_no_mapping(langchain_store: PGVectorStore) -> None:
    retriever = of_langchain(langchain_store, k=50)
    for native in ("n > 5", {"$native": "n > 5"}):
        assert {one.metadata["n"] for one in retriever.invoke(QUERY, filter=native)} == {6, 7}


def test_a_node_that_was_stored_twice_is_one_row(llama_index_store: LlamaIndexStore) -> None:
    vectors = collection_behind(llama_index_store)
    ids = {node.node_id for node in nodes()}
    first = next(iter(nodes())).node_id
    assert vectors.count() == len(ids) == 96
    for rows in (Rows.joined(list(vectors.scan())), vectors.sample(500, seed=1)):
        assert len(rows) == 96
        assert set(rows.ids) == ids
    assert len(vectors.sample(40, seed=1)) == 40
    vector = np.asarray(vectors.fetch([first], vectors=True).vectors[0])
    for k in (1, 2, 96, 200):
        found = vectors.search(vector, k=k, vectors=True)
        assert len(set(found.ids)) == len(found) == min(k, 96)
        assert found.ids[0] == first


def test_texts_are_read_as_they_were_embedded(address: str) -> None:
    store = LlamaIndexStore(
        connection_string=address.replace("postgresql:", "postgresql+psycopg2:"),
        async_connection_string=address.replace("postgresql:", "postgresql+asyncpg:"),
        table_name="embedded",
        embed_dim=2,
    )
    store.add([TextNode(text="It crashes.", metadata={"area": "billing"}, embedding=[1.0, 0.0])])
    rows = collection_behind(store).sample(1, seed=0)
    assert rows.texts == ("It crashes.",)
    assert rows.read_texts == ("area: billing\n\nIt crashes.",)
    asyncio.run(store.close())


@pytest.mark.parametrize(
    ("strategy", "space"),
    [
        (DistanceStrategy.COSINE_DISTANCE, "cosine"),
        (DistanceStrategy.INNER_PRODUCT, "ip"),
        (DistanceStrategy.EUCLIDEAN, "l2"),
    ],
)
def test_the_distance_is_that_of_the_store(
    engine: PGEngine, langchain_store: PGVectorStore, strategy: DistanceStrategy, space: str
) -> None:
    store = PGVectorStore.create_sync(
        engine, TinyEmbeddings(), "tickets", distance_strategy=strategy
    )
    assert collection_behind(store).info().space == space


@pytest.mark.parametrize(("table", "row"), [("tickets", "printer-refund-0"), ("data_tickets", "")])
def test_tables_of_hosts_are_told_by_their_columns(
    langchain_store: PGVectorStore,
    llama_index_store: LlamaIndexStore,
    address: str,
    table: str,
    row: str,
) -> None:
    vectors = open_store(f"{address}&space=cosine", table)
    rows = vectors.fetch([row or next(iter(nodes())).node_id], records=True)
    assert (rows.texts[0] or "").startswith("printer paper tray")
    assert rows.metadatas[0]["area"] == "printer"


def test_many_rows_without_an_index_on_their_ids_are_told_of(
    llama_index_store: LlamaIndexStore,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("postgres_instruct_embeddings.vectors._SCANNED_QUICKLY", 10)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("ANALYZE data_tickets")
    vectors = collection_behind(llama_index_store)
    vectors.info()
    vectors.info()
    assert [one.getMessage() for one in caplog.records] == [
        'No index finds rows of "public"."data_tickets" by \'node_id\', so each search reads the '
        'whole table. Make one with: CREATE INDEX ON "public"."data_tickets" (node_id)'
    ]


def test_collections_that_share_a_table_are_told_what_to_do(address: str) -> None:
    class Shared(PGVector):
        def __init__(self) -> None:
            """Without a database."""

    with pytest.raises(UnsupportedCollectionError, match=r"one table.*Move.*PGVectorStore"):
        collection_behind(Shared())


def test_an_engine_that_says_no_address_needs_a_source(
    langchain_store: PGVectorStore, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postgres_instruct_embeddings.hosts._address", lambda url: None)
    with pytest.raises(UnsupportedCollectionError, match=r"'tickets'.*source=address"):
        collection_behind(langchain_store)
    assert PostgresVectors.of(langchain_store, source=address).count() == 96


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("postgresql+psycopg://u:p%40w@h:5/d", "postgresql://u:p%40w@h:5/d"),
        ("postgresql+asyncpg://u@h/d?ssl=require", "postgresql://u@h/d?sslmode=require"),
        (
            "postgresql+asyncpg://u@h/d?prepared_statement_cache_size=0&application_name=a",
            "postgresql://u@h/d?application_name=a",
        ),
        ("postgresql+psycopg2://u@/d?host=%2Ftmp%2Fx", "postgresql://u@/d?host=%2Ftmp%2Fx"),
        ("postgresql+asyncpg://", None),
    ],
)
def test_addresses_lose_their_driver(given: str, wanted: str | None) -> None:
    from sqlalchemy.engine import make_url

    from postgres_instruct_embeddings.hosts import _address

    assert _address(given) == wanted
    assert _address(make_url(given)) == wanted


def test_passwords_are_not_shown() -> None:
    secret = "-".join(["hunter", "two"])
    store = LlamaIndexStore.from_params("127.0.0.1", "9", "d", "me", secret, "t")
    vectors = collection_behind(store)
    with pytest.raises(UnreachableCollectionError) as caught:
        vectors.info()
    assert secret not in f"{vectors!r} {caught.getrepr(style='long')}"
