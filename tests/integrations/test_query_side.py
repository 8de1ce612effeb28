"""Drop-in classes: queries for generic documents of the default model are moved, not encoded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import pytest
from llama_index.core.storage.kvstore import SimpleKVStore

from chroma_instruct_embeddings import InstructEmbeddingFunction
from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder import InstructEncoder, model_cache
from instruct_embeddings.instant import InstantQuery
from instruct_embeddings.transform.vectors import unit_rows
from langchain_instruct_embeddings import InstructEmbeddings
from llama_index_instruct_embeddings import InstructEmbedding
from tests.models import INSTRUCTION, TEXTS, tiny_checkpoint

CLASSES: list[Callable[..., Any]] = [
    InstructEmbeddings,
    InstructEmbedding,
    InstructEmbeddingFunction,
]

pytestmark = pytest.mark.usefixtures("tiny_models")


def folded() -> FloatArray:
    """Queries as they should be embedded."""
    instant = InstantQuery.from_pretrained()
    vectors = instant.embed(TEXTS)
    return unit_rows(vectors + instant.moves(TEXTS, INSTRUCTION, vectors))


async def query(embeddings: Any, text: str) -> list[FloatArray]:
    """A query embedded in every way that the host has."""
    if isinstance(embeddings, InstructEmbeddings):
        found = [embeddings.embed_query(text), await embeddings.aembed_query(text)]
    elif isinstance(embeddings, InstructEmbedding):
        found = [embeddings.get_query_embedding(text)]
        found.append(await embeddings.aget_query_embedding(text))
    else:
        found = embeddings.embed_query([text])
    return [np.asarray(row, dtype=np.float32) for row in found]


def documents(embeddings: Any) -> FloatArray:
    """Documents as the host embeds them."""
    names = ("embed_documents", "get_text_embedding_batch", "__call__")
    method = next(getattr(embeddings, name) for name in names if hasattr(embeddings, name))
    return np.asarray(method(TEXTS), dtype=np.float32)


@pytest.mark.parametrize("made", CLASSES)
async def test_queries_are_moved_and_documents_stay_generic(made: Callable[..., Any]) -> None:
    with made(query_instruction=INSTRUCTION) as embeddings:
        for row in await query(embeddings, TEXTS[0]):
            np.testing.assert_allclose(row, folded()[0], atol=1e-5)
        generic = InstructEncoder().encode(TEXTS)
        np.testing.assert_allclose(documents(embeddings), generic, atol=1e-5)
        assert embeddings.fingerprint == InstructEncoder().fingerprint()
        assert embeddings.query_fingerprint != InstructEncoder().fingerprint(
            instruction=INSTRUCTION, role="query"
        )


@pytest.mark.parametrize("made", CLASSES)
@pytest.mark.parametrize("other", ["document_instruction", "model"])
async def test_everything_else_is_encoded(made: Callable[..., Any], other: str) -> None:
    arguments = {"query_instruction": INSTRUCTION}
    if other == "document_instruction":
        arguments[other] = INSTRUCTION
    else:
        name = "model_name" if made is InstructEmbedding else "model"
        arguments[name] = str(tiny_checkpoint())
    encoded = InstructEncoder().encode(TEXTS[:1], instruction=INSTRUCTION)
    with made(**arguments) as embeddings:
        for row in await query(embeddings, TEXTS[0]):
            np.testing.assert_allclose(row, encoded[0], atol=1e-5)


@pytest.mark.usefixtures("nothing_loaded")
@pytest.mark.parametrize("made", CLASSES)
async def test_copies_share_what_moves_queries_and_the_last_one_frees_it(
    made: Callable[..., Any],
) -> None:
    embeddings = made(query_instruction=INSTRUCTION)
    other = embeddings.with_instruction("what shape is it")
    await query(embeddings, "red")
    await query(other, "red")
    assert len(model_cache.models) == 1
    embeddings.close()
    assert not np.allclose((await query(other, "red"))[0], folded()[TEXTS.index("red")], atol=1e-3)
    other.close()
    assert len(model_cache.models) == 0


async def test_a_cache_of_llama_index_keeps_moved_queries_apart() -> None:
    store = SimpleKVStore()
    arguments: dict[str, Any] = {"query_instruction": INSTRUCTION, "embeddings_cache": store}
    moved, plain = InstructEmbedding(**arguments), InstructEmbedding(embeddings_cache=store)
    for _ in range(2):
        first, again = await query(moved, TEXTS[0])
        np.testing.assert_allclose(first, folded()[0], atol=1e-5)
        np.testing.assert_array_equal(first, again)
        assert not np.allclose((await query(plain, TEXTS[0]))[0], first, atol=1e-3)
        assert not np.allclose(documents(moved)[0], first, atol=1e-3)


def test_a_collection_that_chroma_opens_moves_queries_too(tmp_path: Path) -> None:
    client = chromadb.PersistentClient(str(tmp_path))
    function = InstructEmbeddingFunction(query_instruction=INSTRUCTION)
    texts = [text for text in TEXTS if text]
    client.create_collection("kept", embedding_function=function).add(
        ids=[str(row) for row in range(len(texts))], documents=texts
    )
    found = client.get_collection("kept").query(
        query_texts=TEXTS[:1], n_results=len(texts), include=["distances"]
    )
    cosines = InstructEncoder().encode(texts) @ folded()[0]
    assert found["distances"] is not None
    np.testing.assert_allclose(found["distances"][0], np.sort(1 - cosines), atol=1e-5)
    function.close()


@pytest.mark.slow
@pytest.mark.parametrize("made", CLASSES)
async def test_real_weights_move_in_the_space_of_the_documents(
    made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the real ones
    with made(query_instruction="How does the customer sound?", device="cpu") as embeddings:
        np.testing.assert_allclose(
            documents(embeddings), InstantQuery.from_pretrained().embed(TEXTS), atol=1e-5
        )
        lengths = [np.linalg.norm(row) for row in await query(embeddings, "I am very angry!")]
        np.testing.assert_allclose(lengths, 1, atol=1e-5)
