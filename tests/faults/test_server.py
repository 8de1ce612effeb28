"""A real Chroma server goes wrong in the middle of a search."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import chromadb
import pytest
from chromadb.errors import ChromaError

from chroma_instruct_embeddings import ChromaVectors
from instruct_embeddings.errors import UnreachableCollectionError
from instruct_embeddings.guides import MetadataGuide
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.transform import TransformStore
from tests.chroma_server import HOST
from tests.faults.conftest import COLOUR, QUICK, Answers, Inject, answers, ask_all
from tests.faults.ledger import Fault
from tests.faults.proxy import (
    Break,
    Proxy,
    Stage,
    answer_with,
    cut_off,
    do_first,
    hang_up,
    proxy_before,
    wait_first,
)
from tests.faults.server import ChromaServer
from tests.unit.conftest import Toys

pytestmark = pytest.mark.faults

BREAKS: dict[str, Break] = {
    "hangs up": hang_up,
    "cuts its answer off": cut_off,
    "answers 500": answer_with(500, "<h1>Internal Server Error</h1>"),
    "answers 503 of a gateway": answer_with(503, "upstream connect error", "text/plain"),
    "answers 429": answer_with(429, "slow down", "text/plain"),
    "answers 200 with a page": answer_with(200, "<html>maintenance</html>"),
    "answers with an error of its own": answer_with(
        500, '{"error": "ChromaError", "message": "compaction"}', "application/json"
    ),
}
# With ten rows a page, the 90 toys are sampled in ten requests.
OTHER = "Which colour has it?"
STAGES: dict[Stage, int] = {"sampling": 4, "prefetch": 0, "rescoring": 0}


@dataclass
class Place:
    """The toys on a server, reached through a proxy.

    Attributes:
        server: The real server.
        proxy: Before it.
        name: Of the collection.
        known: A store that knows the instruction.
    """

    server: ChromaServer
    proxy: Proxy
    name: str
    known: TransformStore

    def retriever(self, store: TransformStore) -> InstructRetriever:
        """One with a client of its own, as after a start of the user's program."""
        client = chromadb.HttpClient(host=HOST, port=self.proxy.port)
        vectors = ChromaVectors(client.get_collection(self.name), page_size=10)
        return InstructRetriever(vectors, MetadataGuide("colour"), store=store, fit=QUICK)

    def count(self) -> int:
        """Rows stored now, asked of the server itself."""
        client = chromadb.HttpClient(host=HOST, port=self.server.port)
        return client.get_collection(self.name).count()


@pytest.fixture(scope="module")
def place(toys: Toys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    server = ChromaServer(tmp_path_factory.mktemp("chroma"))
    server.start()
    try:
        client = chromadb.HttpClient(host=HOST, port=server.port)
        collection = client.create_collection(
            "toys", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
        )
        collection.add(
            ids=[str(i) for i in range(90)],
            embeddings=toys.vectors,
            metadatas=[{"colour": colour} for colour in toys.colours],
        )
        known = TransformStore(tmp_path_factory.mktemp("known"))
        with proxy_before(server.port) as proxy:
            place = Place(server, proxy, "toys", known)
            transform = place.retriever(known).transform(COLOUR)
            assert transform.mix > 0, "candidates are rescored, so that this can be disturbed"
            yield place
    finally:
        server.kill()


@pytest.fixture(autouse=True)
def _whole(place: Place) -> Iterator[None]:
    """Each test leaves the proxy as it found it."""
    yield
    assert place.proxy.rules == []


def store_for(stage: Stage, place: Place, folder: Path) -> TransformStore:
    """Only a retriever that has to fit samples."""
    return TransformStore(folder) if stage == "sampling" else place.known


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", BREAKS)
def test_a_request_that_breaks_is_a_clear_error_and_the_next_one_is_answered(
    name: str, stage: Stage, place: Place, right: Answers, toys: Toys, folder: Path, inject: Inject
) -> None:
    retriever = place.retriever(store_for(stage, place, folder))
    with inject(f"{stage}: the server {name}") as fault:
        place.proxy.break_next(stage, BREAKS[name], skip=STAGES[stage])
        with pytest.raises((UnreachableCollectionError, ChromaError)) as raised:
            retriever.search(toys.vectors[0], instruction=COLOUR)
        fault.count(error=raised.value)
        if stage == "sampling":
            assert TransformStore(folder).keys() == []
        ask_all(fault, retriever, toys, right)
        fault.lost += 90 - place.count()
    [summary] = store_for(stage, place, folder).summaries()
    assert summary.problem is None


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_server_that_ends_in_the_middle_is_asked_again_after_its_restart(
    end: str, stage: Stage, place: Place, right: Answers, toys: Toys, folder: Path, inject: Inject
) -> None:
    retriever = place.retriever(store_for(stage, place, folder))
    with inject(f"{stage}: the server is ended ({end}) and started again") as fault:
        place.proxy.break_next(stage, do_first(getattr(place.server, end)), skip=STAGES[stage])
        try:
            errors = ask_all(fault, retriever, toys, right)
        finally:
            place.server.start()
        assert [type(error) for error in errors] == [UnreachableCollectionError] * 6
        ask_all(fault, retriever, toys, right)
        fault.lost += 90 - place.count()


def test_a_server_that_is_not_there_is_named_and_the_same_client_goes_on(
    place: Place, right: Answers, toys: Toys, inject: Inject
) -> None:
    """Without a proxy: the connection is refused."""
    client = chromadb.HttpClient(host=HOST, port=place.server.port)
    vectors = ChromaVectors(client.get_collection(place.name))
    retriever = InstructRetriever(vectors, MetadataGuide("colour"), store=place.known)
    with inject("no server at the port") as fault:
        ask_all(fault, retriever, toys, right)
        place.server.stop()
        try:
            errors = ask_all(fault, retriever, toys, right)
        finally:
            place.server.start()
        assert len(errors) == 6
        assert all("'toys' did not answer" in str(error) for error in errors)
        assert all("refused" in str(error) for error in errors)
        ask_all(fault, retriever, toys, right)


def test_a_restart_under_load_gives_errors_for_a_while_and_no_wrong_answer(
    place: Place, right: Answers, toys: Toys, inject: Inject
) -> None:
    retriever = place.retriever(place.known)
    over = threading.Event()

    def ask_until_over(fault: Fault) -> int:
        rounds = 0
        while not over.wait(0.02):
            ask_all(fault, retriever, toys, right)
            rounds += 1
        return rounds

    with inject("a restart while four threads search") as fault, ThreadPoolExecutor(4) as pool:
        threads = [pool.submit(ask_until_over, fault) for _ in range(4)]
        try:
            place.server.kill()
            place.server.start()
        finally:
            over.set()
        assert all(thread.result() for thread in threads)
        ask_all(fault, retriever, toys, right)
        assert fault.errors


def test_a_slow_fit_holds_up_nobody_who_asks_what_is_known(
    place: Place, right: Answers, toys: Toys, folder: Path, inject: Inject
) -> None:
    """Ten pages of 0.3 seconds each; twelve searches under a known instruction wait for none."""
    retriever = place.retriever(TransformStore(folder))
    plain = answers(retriever, toys, instruction=None)
    retriever.transform(OTHER)
    with inject("sampling: the server is slow") as fault, ThreadPoolExecutor(2) as pool:
        place.proxy.break_next("sampling", wait_first(0.3), times=10)
        started = monotonic()
        fits = [pool.submit(retriever.transform, COLOUR) for _ in range(2)]
        waits = []
        while not any(fit.done() for fit in fits):
            begun = monotonic()
            ask_all(fault, retriever, toys, right, OTHER)
            ask_all(fault, retriever, toys, plain, None)
            waits.append(monotonic() - begun)
        assert monotonic() - started > 10 * 0.3
        assert max(waits) < 3
        assert fits[0].result() is fits[1].result()
        ask_all(fault, retriever, toys, right)


@pytest.mark.parametrize("stage", ["prefetch", "rescoring"])
def test_a_slow_answer_is_as_right_as_a_quick_one(
    stage: Stage, place: Place, right: Answers, toys: Toys, inject: Inject
) -> None:
    retriever = place.retriever(place.known)
    with inject(f"{stage}: the server is slow") as fault:
        place.proxy.break_next(stage, wait_first(0.5), times=2)
        ask_all(fault, retriever, toys, right)
