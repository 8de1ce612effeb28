"""What was embedded is not always what is stored."""

import json

import chromadb
import pytest
from llama_index.core.schema import MetadataMode, TextNode
from llama_index.core.vector_stores.utils import node_to_metadata_dict

from chroma_instruct_embeddings import ChromaVectors
from chroma_instruct_embeddings.embedded import embedded_text, embedded_texts

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
    assert embedded_texts([node.text], [stored]) == (embedded_text(node.text, stored),)


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


def test_rows_of_other_hosts_have_nothing_else_embedded() -> None:
    assert embedded_texts(["a", None], [{}, {"x": 1}]) == ()


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
