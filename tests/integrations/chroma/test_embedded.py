"""What was embedded is not always what is stored."""

import json
import time
import tracemalloc

import chromadb
import pytest
from llama_index.core.schema import MetadataMode, TextNode
from llama_index.core.vector_stores.utils import node_to_metadata_dict

from chroma_instruct_embeddings import ChromaVectors
from instruct_embeddings.embedded import ROOM, embedded_text
from instruct_embeddings.protocols import Rows
from instruct_embeddings.retrieval import InstructRetriever

NODES = [
    TextNode(text="It crashes.", metadata={"area": "billing", "urgent": True}),
    TextNode(
        text="It crashes.",
        metadata={"area": "billing", "source": "mail"},
        excluded_embed_metadata_keys=["source"],
    ),
    TextNode(text="It crashes.", metadata={"source": "x"}, excluded_embed_metadata_keys=["source"]),
    TextNode(text="It crashes."),
    TextNode(
        text="It {metadata_str} crashes {key}.",
        metadata={"a": "{content}", "b": "{value}"},
        metadata_template="{value} <- {key}",
        metadata_separator=" | ",
        text_template="[{content}] ({metadata_str})",
    ),
]


@pytest.mark.parametrize("node", NODES)
def test_a_node_is_read_as_llama_index_embedded_it(node: TextNode) -> None:
    stored = node_to_metadata_dict(node, remove_text=True, flat_metadata=True)
    expected = node.get_content(metadata_mode=MetadataMode.EMBED)
    if "{" not in node.text:
        assert embedded_text(node.text, stored) == expected


def test_what_is_put_into_a_template_is_not_filled_in_again() -> None:
    stored = node_to_metadata_dict(NODES[-1], remove_text=True, flat_metadata=True)
    assert embedded_text(NODES[-1].text, stored) == (
        "[It {metadata_str} crashes {key}.] ({content} <- a | {value} <- b)"
    )


def test_templates_reach_into_nothing() -> None:
    node = {"metadata": {"a": "b"}, "metadata_template": "{key.__class__} {value!r}"}
    found = embedded_text("text", {"_node_content": json.dumps(node)})
    assert found == "{key.__class__} {value!r}\n\ntext"


@pytest.mark.parametrize(
    "content", ["{", "[]", "1", 7, None, "[" * 100_000, '{"metadata": [1]}', "{}"]
)
def test_what_is_no_node_is_read_as_it_is_stored(content: object) -> None:
    assert embedded_text("text", {"_node_content": content}) == "text"  # type: ignore[dict-item]


def stored_as(**node: object) -> dict[str, str]:
    return {"_node_content": json.dumps({"metadata": {"a": "b"}, **node})}


@pytest.mark.parametrize(
    "metadata",
    [
        stored_as(text_template="{content}" * 40_000),
        stored_as(text_template="{metadata_str}{content}" * 40_000),
        stored_as(metadata_template="{key}{value}" * 40_000, metadata={"a": "b" * 200_000}),
        stored_as(metadata_separator="x" * 200_000, metadata={str(i): "b" for i in range(40_000)}),
        stored_as(metadata_template="y" * 200_000, metadata={str(i): "b" for i in range(40_000)}),
        stored_as(metadata={str(i): "b" * 100 for i in range(40_000)}),
        stored_as(text_template="{content}" * 8),
        stored_as(metadata_separator="x" * 1000, metadata={str(i): "b" for i in range(400)}),
    ],
)
def test_no_template_makes_more_of_a_row_than_is_stored(metadata: dict[str, str]) -> None:
    text, begin = "It crashes. " * 16_000, time.process_time()
    tracemalloc.start()
    found = embedded_text(text, metadata)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    stored = len(text) + len(metadata["_node_content"])
    assert len(found) <= stored + ROOM
    assert most < 40 * (stored + ROOM)
    assert time.process_time() - begin < 20


def test_a_usual_node_is_never_cut() -> None:
    node = TextNode(text="It crashes. " * 16_000, metadata={f"k{i}": "x" * 99 for i in range(99)})
    stored = node_to_metadata_dict(node, remove_text=True, flat_metadata=True)
    assert embedded_text(node.text, stored) == node.get_content(metadata_mode=MetadataMode.EMBED)


def test_texts_are_made_only_where_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(
        "instruct_embeddings.protocols.embedded_text",
        lambda text, metadata: made.append(text) or f"made of {text}",  # type: ignore[func-returns-value]
    )
    collection = chromadb.EphemeralClient().create_collection("texts-when-read")
    collection.add(
        ids=["a", "b"],
        embeddings=[[1.0, 0.0], [0.0, 1.0]],
        documents=["one", "two"],
        metadatas=[stored_as(), stored_as()],
    )
    retriever = InstructRetriever(ChromaVectors(collection))
    assert [hit.text for hit in retriever.search([1.0, 0.0], k=2)] == ["one", "two"]
    rows = ChromaVectors(collection).page(limit=2, offset=0, vectors=True, records=True)
    kept = Rows.joined([rows.take([1]), rows.take([0])])
    assert made == []
    assert kept.read_texts == ("made of two", "made of one")


def test_pages_tell_both_texts() -> None:
    collection = chromadb.EphemeralClient().create_collection("embedded-texts")
    stored = [node_to_metadata_dict(node, remove_text=True, flat_metadata=True) for node in NODES]
    collection.add(
        ids=["plain", "node"],
        embeddings=[[1.0, 0.0], [0.0, 1.0]],
        documents=["plain", "It crashes."],
        metadatas=[{"a": 1}, stored[0]],
    )
    vectors = ChromaVectors(collection)
    for rows in (
        vectors.page(limit=10, offset=0, records=True),
        vectors.fetch(["plain", "node"], records=True),
    ):
        assert rows.texts == ("plain", "It crashes.")
        assert rows.read_texts == ("plain", "area: billing\nurgent: True\n\nIt crashes.")
        assert rows.take([1]).read_texts == rows.read_texts[1:]
    apart = vectors.fetch(["plain"], records=True).joined(
        [vectors.fetch(["plain"], records=True), vectors.fetch(["node"], records=True)]
    )
    assert apart.read_texts == rows.read_texts
