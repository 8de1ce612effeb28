"""Servers that ask for a header, and tenants and databases other than the default."""

import base64
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import chromadb
import pytest
from chromadb.api import ClientAPI
from chromadb.config import Settings
from langchain_chroma import Chroma
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.vector_stores.chroma import ChromaVectorStore

from chroma_instruct_embeddings import ChromaVectors, open_collection
from instruct_embeddings import FitConfig, InstructRetriever, MetadataGuide, TransformStore
from instruct_embeddings.testing import TinyEncoder
from tests.chroma_guard import Guard, chroma_guard
from tests.chroma_server import HOST
from tests.integrations.chroma.hosts import HostEmbedding, recorded
from tests.integrations.tickets import ticket_rows

SECRET = "s3cr3t-t0ken"
QUESTION = "What is asked for?"
TENANT, DATABASE = "shop", "archive"
FIT = FitConfig(sample_size=96, folds=2, time_budget=0.5)
_TOKEN = "chromadb.auth.token_authn.TokenAuthClientProvider"
_BASIC = "chromadb.auth.basic_authn.BasicAuthClientProvider"
_PAIR = base64.b64encode(f"ada:{SECRET}".encode()).decode()

Connect: TypeAlias = Callable[[int], ClientAPI]


def with_header(**headers: str) -> Connect:
    return lambda port: chromadb.HttpClient(host=HOST, port=port, headers=headers)


def with_provider(provider: str, credentials: str, **settings: Any) -> Connect:
    def connect(port: int) -> ClientAPI:
        chosen = Settings(
            chroma_client_auth_provider=provider,
            chroma_client_auth_credentials=credentials,
            **settings,
        )
        return chromadb.HttpClient(host=HOST, port=port, settings=chosen)

    return connect


ACCESS: dict[str, tuple[str, str, Connect]] = {
    "bearer": (
        "Authorization",
        f"Bearer {SECRET}",
        with_header(Authorization=f"Bearer {SECRET}"),
    ),
    "header of one's own": ("X-Team", SECRET, with_header(**{"X-Team": SECRET})),
    "Chroma's token": (
        "X-Chroma-Token",
        SECRET,
        with_provider(_TOKEN, SECRET, chroma_auth_token_transport_header="X-Chroma-Token"),
    ),
    "Chroma's bearer": ("Authorization", f"Bearer {SECRET}", with_provider(_TOKEN, SECRET)),
    "Chroma's basic": ("Authorization", f"Basic {_PAIR}", with_provider(_BASIC, f"ada:{SECRET}")),
}


@pytest.fixture(scope="module", params=sorted(ACCESS))
def access(request: pytest.FixtureRequest, port: int) -> Iterator[tuple[Guard, Connect]]:
    """A guarded server, and how to come in."""
    name, value, connect = ACCESS[request.param]
    with chroma_guard(port, name, value) as guard:
        yield guard, connect


@pytest.fixture(scope="module")
def inside(port: int) -> Iterator[tuple[Guard, ClientAPI]]:
    """A guarded server that was entered with a bearer token."""
    name, value, connect = ACCESS["bearer"]
    with chroma_guard(port, name, value) as guard:
        yield guard, connect(guard.port)


def fill(client: ClientAPI, name: str) -> chromadb.Collection:
    collection = client.create_collection(
        name, embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )
    ids, texts, metadatas = zip(*ticket_rows(), strict=True)
    collection.add(
        ids=list(ids),
        embeddings=TinyEncoder().encode(list(texts)),
        documents=list(texts),
        metadatas=list(metadatas),
    )
    return collection


def retriever(source: object, store: Path) -> InstructRetriever:
    return InstructRetriever(
        ChromaVectors(source),
        guide=MetadataGuide("kind"),
        store=TransformStore(store),
        fit=FIT,
    )


def ask(engine: InstructRetriever) -> list[str]:
    """Ids under the instruction, best first."""
    vector = TinyEncoder().encode(["refund"])[0]
    return [hit.id for hit in engine.search(vector, instruction=QUESTION, k=5)]


def test_what_a_server_asks_for_is_passed_on_by_every_request(
    access: tuple[Guard, Connect], name: str, tmp_path: Path
) -> None:
    """Filling, sampling, fitting, the search in the index and the rescoring."""
    guard, connect = access
    found = ask(retriever(fill(connect(guard.port), name), tmp_path))
    assert len(found) == 5
    assert all("-refund-" in row for row in found)
    paths = [path.rpartition("/")[2].partition("?")[0] for path in guard.let_through]
    assert {"add", "get", "query"} <= set(paths)
    assert guard.refused == []


@pytest.mark.parametrize("value", [None, f"Bearer {SECRET}-of-yesterday"])
def test_without_it_the_error_is_chromas_and_tells_no_secret(
    inside: tuple[Guard, ClientAPI], value: str | None
) -> None:
    guard, _ = inside
    headers = {} if value is None else {"Authorization": value}
    before = len(guard.let_through)
    with pytest.raises(Exception, match=r"(?i)auth|permission|tenant") as raised:
        chromadb.HttpClient(host=HOST, port=guard.port, headers=headers)
    assert SECRET not in str(raised.value)
    assert len(guard.let_through) == before


def test_the_secret_is_nowhere_that_people_look(
    inside: tuple[Guard, ClientAPI], name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in what is shown, nor in the log at its most talkative, nor in what is stored."""
    guard, client = inside
    caplog.set_level(logging.DEBUG)
    collection = fill(client, name)
    engine = retriever(collection, tmp_path)
    ask(engine)
    transform = engine.transform(QUESTION)
    shown = [engine, engine.collection, transform, transform.report, TransformStore(tmp_path)]
    stored = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert len(stored) == 1
    for text in (*map(repr, shown), *map(str, shown), caplog.text, *map(repr, stored)):
        assert SECRET not in text
    with pytest.raises(Exception, match="does not exist") as raised:
        open_collection(client, "none", HostEmbedding(Path("x"), None), create=False)
    assert SECRET not in str(raised.value)
    assert str(guard.port) not in stored[0].decode("latin-1")


@pytest.fixture(scope="module")
def archive(inside: tuple[Guard, ClientAPI]) -> ClientAPI:
    """A client of another tenant and another database, on the guarded server."""
    guard, _ = inside
    headers = {"Authorization": f"Bearer {SECRET}"}
    admin = chromadb.AdminClient(
        Settings(
            chroma_api_impl="chromadb.api.fastapi.FastAPI",
            chroma_server_host=HOST,
            chroma_server_http_port=guard.port,
            chroma_server_headers=headers,
        )
    )
    admin.create_tenant(TENANT)
    admin.create_database(DATABASE, tenant=TENANT)
    return chromadb.HttpClient(
        host=HOST, port=guard.port, headers=headers, tenant=TENANT, database=DATABASE
    )


def test_another_tenant_and_database_are_filled_adapted_and_asked(
    inside: tuple[Guard, ClientAPI], archive: ClientAPI, name: str, tmp_path: Path
) -> None:
    guard, _ = inside
    before = len(guard.let_through)
    found = ask(retriever(fill(archive, name), tmp_path))
    assert len(found) == 5
    assert all("-refund-" in row for row in found)
    asked = [path for path in guard.let_through[before:] if "/collections" in path]
    assert asked
    assert all(f"/tenants/{TENANT}/databases/{DATABASE}/" in path for path in asked)


def test_a_collection_of_the_same_name_elsewhere_has_transforms_of_its_own(
    inside: tuple[Guard, ClientAPI], archive: ClientAPI, name: str, tmp_path: Path
) -> None:
    _, client = inside
    here = retriever(fill(client, name), tmp_path)
    there = retriever(fill(archive, name), tmp_path)
    keys = [engine.transform(QUESTION).key for engine in (here, there)]
    assert sorted(keys) == TransformStore(tmp_path).keys()
    assert keys[0] != keys[1]


def test_a_collection_elsewhere_remembers_what_filled_it(
    archive: ClientAPI, name: str, host: HostEmbedding
) -> None:
    open_collection(archive, name, host)
    assert recorded(archive, name) == host.record


def test_langchain_reaches_it(
    archive: ClientAPI, inside: tuple[Guard, ClientAPI], name: str, tmp_path: Path
) -> None:
    """By the arguments of its own vector store, which makes a client of them."""
    guard, _ = inside
    fill(archive, name)
    store = Chroma(
        collection_name=name,
        host=HOST,
        port=guard.port,
        headers={"Authorization": f"Bearer {SECRET}"},
        tenant=TENANT,
        database=DATABASE,
        create_collection_if_not_exists=False,
    )
    assert all("-refund-" in row for row in ask(retriever(store, tmp_path)))
    assert SECRET not in repr(store)


def test_llama_index_reaches_it(archive: ClientAPI, name: str, tmp_path: Path) -> None:
    store = ChromaVectorStore(chroma_collection=fill(archive, name))
    index = VectorStoreIndex.from_vector_store(
        store,
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=MockEmbedding(embed_dim=8),
    )
    assert all("-refund-" in row for row in ask(retriever(index.vector_store, tmp_path)))
    assert SECRET not in repr(store)
