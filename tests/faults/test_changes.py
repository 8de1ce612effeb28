"""Another process adds, updates and deletes documents while queries run."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import chromadb
import numpy as np
import pytest

from chroma_instruct_embeddings import ChromaVectors
from instruct_embeddings.errors import EmptyCollectionError
from instruct_embeddings.guides import MetadataGuide
from instruct_embeddings.retrieval import Hit, InstructRetriever
from instruct_embeddings.transform import TransformStore
from tests.chroma_server import HOST
from tests.faults.conftest import COLOUR, QUICK, Inject
from tests.faults.ledger import Fault
from tests.faults.server import ChromaServer
from tests.faults.writer import Writer, vector_of
from tests.unit.conftest import Toys

pytestmark = pytest.mark.faults
ALL = 300
THREADS = 4
DELETIONS = 30


@dataclass(frozen=True)
class Place:
    """A collection that another process changes.

    Attributes:
        port: Of its server.
        name: Its name.
        retriever: Knows the instruction already.
    """

    port: int
    name: str
    retriever: InstructRetriever


@pytest.fixture
def place(server: ChromaServer, toys: Toys, folder: Path, request: Any) -> Place:
    """90 rows that stay, and one that moves."""
    client = chromadb.HttpClient(host=HOST, port=server.port)
    collection = client.create_collection(
        f"toys-{abs(hash(request.node.name))}",
        configuration={"hnsw": {"space": "cosine"}},
        embedding_function=None,
    )
    collection.add(
        ids=[*map(str, range(90)), "moving"],
        embeddings=np.concatenate([toys.vectors, [vector_of(0)]]),
        metadatas=[{"colour": colour} for colour in [*toys.colours, "red"]],
    )
    retriever = InstructRetriever(
        ChromaVectors(collection), MetadataGuide("colour"), store=TransformStore(folder), fit=QUICK
    )
    retriever.transform(COLOUR)
    return Place(server.port, collection.name, retriever)


def look(fault: Fault, place: Place, writer: Writer, **options: Any) -> None:
    """Ask for all rows with the vector of one that is there; nothing deleted may come back."""
    gone, there = writer.absent(), writer.present()
    number = max(int(row[1:]) for row in there)
    hits: list[Hit] = place.retriever.search(vector_of(number), k=ALL, **options)
    found = {hit.id for hit in hits}
    still = writer.present()
    fault.count(wrong=bool(found & gone) or len(found) != len(hits))
    fault.lost += len({*map(str, range(90)), "moving", *(there & still)} - found)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"instruction": COLOUR},
        {"instruction": COLOUR, "exact": True},
        {"instruction": COLOUR, "where": {"colour": {"$ne": "none"}}},
        {"instruction": COLOUR, "where": {"colour": {"$ne": "none"}}, "exact": True},
    ],
    ids=["plain", "adapted", "exact", "filtered", "exact and filtered"],
)
def test_what_is_deleted_is_never_named_and_what_is_there_is_always_found(
    options: dict[str, Any], place: Place, inject: Inject, request: pytest.FixtureRequest
) -> None:
    name = f"another process changes the collection ({request.node.callspec.id})"
    over = Event()

    def look_until_over(fault: Fault, writer: Writer) -> None:
        while not over.is_set():
            look(fault, place, writer, **options)

    with inject(name) as fault, Writer(place.port, place.name) as writer:
        writer.wait_for(1)
        with ThreadPoolExecutor(THREADS) as pool:
            threads = [pool.submit(look_until_over, fault, writer) for _ in range(THREADS)]
            try:
                writer.wait_for(DELETIONS)
            finally:
                over.set()
            for thread in threads:
                thread.result()


def test_a_collection_that_changes_can_be_learned_from(place: Place, inject: Inject) -> None:
    name = "another process changes the collection during fits"
    with inject(name) as fault, Writer(place.port, place.name) as writer:
        writer.wait_for(1)
        for _ in range(5):
            fault.ask(lambda: place.retriever.refit(COLOUR).report.gains, True)
            look(fault, place, writer, instruction=COLOUR)


def test_a_row_moved_by_another_process_is_found_where_it_is_now(
    place: Place, inject: Inject
) -> None:
    other = chromadb.HttpClient(host=HOST, port=place.port).get_collection(place.name)
    with inject("another process updates a document") as fault:
        for number in (150, 160, 170):
            other.update(ids=["moving"], embeddings=[vector_of(number)])
            [best] = place.retriever.search(vector_of(number), k=1)
            fault.count(wrong=best.id != "moving" or best.score < 0.999)


@pytest.mark.parametrize("exact", [False, True], ids=["adapted", "exact"])
def test_a_collection_that_is_emptied_and_filled_again(
    exact: bool, place: Place, toys: Toys, inject: Inject
) -> None:
    other = chromadb.HttpClient(host=HOST, port=place.port).get_collection(place.name)

    def found() -> list[str]:
        hits = place.retriever.search(toys.vectors[0], instruction=COLOUR, exact=exact)
        return [hit.id for hit in hits]

    mode = "exact" if exact else "adapted"
    with inject(f"another process empties the collection and fills it again ({mode})") as fault:
        other.delete(ids=["moving"])
        before = found()
        other.delete(ids=[str(i) for i in range(90)])
        error = fault.ask(found, [])
        assert isinstance(error, EmptyCollectionError) == exact
        other.add(
            ids=[str(i) for i in range(90)],
            embeddings=toys.vectors,
            metadatas=[{"colour": colour} for colour in toys.colours],
        )
        fault.ask(found, before)
