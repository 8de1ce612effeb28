"""One key-value store for many kinds of embeddings: never mixed up, reused where equal."""

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.storage.kvstore import SimpleKVStore

from instruct_embeddings.encoder import InstructEncoder
from instruct_embeddings.errors import TextError
from llama_index_instruct_embeddings import InstructEmbedding
from llama_index_instruct_embeddings.cache import SeparateCache
from tests.models import INSTRUCTION, TEXTS, tiny_checkpoint

OTHER = "what shape is it"


def make(**arguments: Any) -> InstructEmbedding:
    return InstructEmbedding(model_name=str(tiny_checkpoint()), **arguments)


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> Iterator[None]:
    """Holds the weights, so that they are loaded once."""
    with make() as embedding:
        embedding.get_query_embedding("red")
        yield


@pytest.fixture
def store() -> SimpleKVStore:
    return SimpleKVStore()


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Texts of each call that reaches the encoder."""
    seen: list[list[str]] = []
    plain, aplain = InstructEncoder.encode, InstructEncoder.aencode

    def spy(self: InstructEncoder, texts: list[str], **call: Any) -> Any:
        seen.append(list(texts))
        return plain(self, texts, **call)

    async def aspy(self: InstructEncoder, texts: list[str], **call: Any) -> Any:
        seen.append(list(texts))
        return await aplain(self, texts, **call)

    monkeypatch.setattr(InstructEncoder, "encode", spy)
    monkeypatch.setattr(InstructEncoder, "aencode", aspy)
    return seen


async def all_ways(embedding: InstructEmbedding) -> list[list[float]]:
    """A text embedded by every public method, queries first."""
    return [
        embedding.get_query_embedding("red"),
        await embedding.aget_query_embedding("red"),
        embedding.get_text_embedding("red"),
        await embedding.aget_text_embedding("red"),
        embedding.get_text_embedding_batch(["red"])[0],
        (await embedding.aget_text_embedding_batch(["red"]))[0],
    ]


async def test_roles_and_instructions_and_models_are_not_mixed_up(store: SimpleKVStore) -> None:
    kinds: list[dict[str, Any]] = [
        {"query_instruction": INSTRUCTION, "document_instruction": OTHER},
        {"query_instruction": OTHER, "document_instruction": INSTRUCTION},
        {},
        {"truncate_dim": 8},
        {"precision": "binary"},
        {"normalize": False},
        {"refine_steps": 2, "document_instruction": OTHER},
    ]
    for _ in range(2):
        for kind in kinds:
            found = await all_ways(make(**kind, embeddings_cache=store))
            right = await all_ways(make(**kind))
            np.testing.assert_allclose(found, right, atol=1e-5)
    other = InstructEmbedding(
        model_name=str(tiny_checkpoint(soft_prompts=1)), query_instruction=INSTRUCTION
    )
    right = await all_ways(other)
    other.embeddings_cache = store
    np.testing.assert_allclose(await all_ways(other), right, atol=1e-5)
    assert store.get_all(collection="embeddings") == {}


async def test_an_equal_instance_reuses_entries(
    store: SimpleKVStore, encoded: list[list[str]]
) -> None:
    kind: dict[str, Any] = {"query_instruction": INSTRUCTION, "document_instruction": OTHER}
    first = await all_ways(make(**kind, embeddings_cache=store))
    assert encoded == [["red"], ["red"]]  # a query and a document
    assert await all_ways(make(**kind, embeddings_cache=store)) == first
    assert await all_ways(make(**kind, device="cpu", embeddings_cache=store)) == first
    assert encoded == [["red"], ["red"]]


async def test_only_unknown_texts_are_encoded_and_each_once(
    store: SimpleKVStore, encoded: list[list[str]]
) -> None:
    embedding = make(embeddings_cache=store)
    embedding.get_text_embedding("red")
    found = embedding.get_text_embedding_batch(["a cube", "red", "a cube", "", "red"])
    assert list(chain(*encoded)) == ["red", "a cube", ""]
    assert await embedding.aget_text_embedding_batch(["", "blue", "a cube", "blue"]) == [
        found[3],
        embedding.get_text_embedding("blue"),
        found[0],
        embedding.get_text_embedding("blue"),
    ]
    assert list(chain(*encoded)) == ["red", "a cube", "", "blue"]


def test_a_copy_with_another_instruction_has_its_own_entries(store: SimpleKVStore) -> None:
    embedding = make(embeddings_cache=store, document_instruction=OTHER)
    generic = embedding.get_query_embedding("red")
    adapted = embedding.with_instruction(INSTRUCTION)
    assert adapted.embeddings_cache.store is store
    assert np.abs(np.subtract(adapted.get_query_embedding("red"), generic)).max() > 0.1
    assert embedding.get_query_embedding("red") == generic


def test_a_store_that_is_set_later_is_separate_too(store: SimpleKVStore) -> None:
    one, other = make(), make(query_instruction=INSTRUCTION)
    one.embeddings_cache = other.embeddings_cache = store
    for copy in (one, other, one.model_copy(update={"embeddings_cache": store})):
        assert isinstance(copy.embeddings_cache, SeparateCache)
    assert one.get_query_embedding("red") != other.get_query_embedding("red")
    one.embeddings_cache = None
    assert one.embeddings_cache is None


def test_a_changed_model_in_the_same_folder_is_another(
    store: SimpleKVStore, tmp_path: Path
) -> None:
    for pooling in ("mean", "last_token"):
        source, target = tiny_checkpoint(pooling=pooling), tmp_path / "model"
        target.mkdir(exist_ok=True)
        for file in source.iterdir():
            (target / file.name).write_bytes(file.read_bytes())
        arguments: dict[str, Any] = {"model_name": target, "query_instruction": INSTRUCTION}
        found = InstructEmbedding(**arguments, embeddings_cache=store).get_query_embedding("red")
        assert found == InstructEmbedding(**arguments).get_query_embedding("red")


def test_changing_a_vector_does_not_change_what_is_kept(store: SimpleKVStore) -> None:
    embedding = make(embeddings_cache=store)
    found = embedding.get_text_embedding("red")
    right = list(found)
    found[0] = 9.0
    again = embedding.get_text_embedding("red")
    assert again == right
    again[0] = 9.0
    assert embedding.get_text_embedding("red") == right


def test_a_store_survives_on_disk(
    store: SimpleKVStore, tmp_path: Path, encoded: list[list[str]]
) -> None:
    found = make(embeddings_cache=store).get_text_embedding_batch(TEXTS)
    store.persist(str(tmp_path / "store.json"))
    assert json.loads((tmp_path / "store.json").read_text(encoding="utf-8"))
    encoded.clear()
    other = SimpleKVStore.from_persist_path(str(tmp_path / "store.json"))
    assert make(embeddings_cache=other).get_text_embedding_batch(TEXTS) == found
    assert encoded == []


async def test_bad_texts_are_errors_here_too(store: SimpleKVStore) -> None:
    embedding, wrong = make(embeddings_cache=store), 3
    with pytest.raises(TypeError, match="Text 0 is of type int"):
        embedding.get_query_embedding(wrong)  # type: ignore[arg-type]
    with pytest.raises(TextError, match="surrogate"):
        await embedding.aget_text_embedding("\ud800")
    assert embedding.get_text_embedding_batch([]) == []


def test_what_is_no_store_is_refused() -> None:
    with pytest.raises(TypeError, match="BaseKVStore"):
        make(embeddings_cache={})
    with pytest.raises(TypeError, match="BaseKVStore"):
        make().embeddings_cache = 3


async def test_other_collections_are_those_of_the_store(store: SimpleKVStore) -> None:
    cache = SeparateCache(store)
    cache.put("a", {"n": 1})
    await cache.aput("b", {"n": 2}, "mine")
    assert (cache.get("a"), await cache.aget("b", "mine")) == ({"n": 1}, {"n": 2})
    assert (cache.get_all("mine"), await cache.aget_all()) == ({"b": {"n": 2}}, {"a": {"n": 1}})
    assert store.to_dict() == {"data": {"a": {"n": 1}}, "mine": {"b": {"n": 2}}}
    assert cache.delete("a")
    assert await cache.adelete("b", "mine")
    assert not cache.delete("a")


async def test_the_collection_that_knows_texts_alone_is_always_empty(store: SimpleKVStore) -> None:
    store.put("red", {"other": [0.0]}, "embeddings")
    cache = SeparateCache(store)
    cache.put("blue", {"n": 1}, "embeddings")
    await cache.aput("blue", {"n": 1}, "embeddings")
    assert cache.get("red", "embeddings") is await cache.aget("blue", "embeddings") is None
    assert cache.get_all("embeddings") == await cache.aget_all("embeddings") == {}
    assert not cache.delete("red", "embeddings")
    assert not await cache.adelete("red", "embeddings")
    assert store.get_all("embeddings") == {"red": {"other": [0.0]}}
