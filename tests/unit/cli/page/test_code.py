"""The code to copy runs, and finds what the page shows."""

from pathlib import Path
from typing import Any

import chromadb
import pytest

from instruct_embeddings import TransformStore
from instruct_embeddings.cli.page.asked import Asked
from instruct_embeddings.cli.page.code import langchain_code, llama_index_code
from instruct_embeddings.cli.page.session import Session
from instruct_embeddings.encoder import BASE_MODEL, InstructEncoder
from instruct_embeddings.instant import InstantQuery
from instruct_embeddings.stores import open_store

TEXTS = [f"{colour} {thing}" for colour in ("red", "green", "blue") for thing in ("ball", "cube")]
TEXTS = [f"{front} {text}" for front in ("the", "a", "every", "how many") for text in TEXTS]
ASKED = Asked("red ball", {"which colour is it": 0.75, "Only cube.": 0.25}, None, 4, 0.5)


@pytest.fixture
def known(tiny_models: None, tmp_path: Path) -> dict[str, str]:
    """A collection of the tiny model that stands in for the backbone."""
    encoder = InstructEncoder.from_pretrained(BASE_MODEL)
    chromadb.PersistentClient(str(tmp_path)).create_collection(
        "toys", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    ).add(
        ids=[f"t{place}" for place in range(len(TEXTS))],
        embeddings=encoder.encode(TEXTS),
        documents=TEXTS,
        metadatas=[{"long": len(text) > 9} for text in TEXTS],
    )
    folder = str(tmp_path / "transforms")
    address = f"chroma:{tmp_path}"
    return {"address": address, "collection": "toys", "model": BASE_MODEL, "folder": folder}


def shown(known: dict[str, str], asked: Asked) -> list[str | None]:
    """The texts of the ranking that retrievers give by themselves."""
    vectors = open_store(known["address"], known["collection"])
    encoder = InstructEncoder.from_pretrained(BASE_MODEL)
    instant, store = InstantQuery.from_pretrained(), TransformStore(known["folder"])
    sides = Session(vectors, encoder, instant, store).rank(asked)
    (side,) = [one for one in sides if one.name == ("instant" if asked.weights else "generic")]
    return [hit.text for hit in side.hits[: asked.k]]


@pytest.mark.parametrize(
    "asked",
    [
        ASKED,
        Asked("red ball", k=3),
        Asked("the 'red'\nball", {"which colour": 1.0}, {"long": True}),
    ],
    ids=["two", "none", "filtered"],
)
def test_the_code_for_both_hosts_finds_what_the_page_shows(
    known: dict[str, str], asked: Asked
) -> None:
    expected = shown(known, asked)
    assert expected
    for make, texts in (
        (langchain_code, lambda names: [one.page_content for one in names["documents"]]),
        (llama_index_code, lambda names: [one.text for one in names["nodes"]]),
    ):
        names: dict[str, Any] = {}
        exec(make(asked, **known), names)
        assert texts(names) == expected


def test_rows_of_other_stores_are_read_by_their_address(known: dict[str, str]) -> None:
    code = langchain_code(ASKED, **known | {"address": "qdrant://host:6333"})
    assert "collection=open_store('qdrant://host:6333', 'toys')" in code
    # The same form on the store that is here.
    names: dict[str, Any] = {}
    exec(code.replace("qdrant://host:6333", known["address"]), names)
    assert [one.page_content for one in names["documents"]] == shown(known, ASKED)


def test_a_judge_is_asked_for(known: dict[str, str]) -> None:
    judged = Asked("red ball", {"which colour is it": 1.0}, judged=True)
    assert "feedback=True" in langchain_code(judged, **known)
    assert "feedback=True" in llama_index_code(judged, **known)
