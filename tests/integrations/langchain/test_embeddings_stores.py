"""`InstructEmbeddings` in Chroma and in LangChain's caches."""

import itertools
from collections.abc import Callable
from typing import Any

import chromadb
import numpy as np
import pytest
from langchain_chroma import Chroma
from langchain_core.stores import InMemoryByteStore

from chroma_instruct_embeddings import check_collection
from instruct_embeddings.encoder import EmbeddingRecord, InstructEncoder
from instruct_embeddings.errors import CollectionMismatchError
from langchain_instruct_embeddings import InstructEmbeddings
from tests.models import INSTRUCTION, TEXTS, WORDS, tiny, tiny_checkpoint

SHAPE = "what shape is it"
LIMIT = 5461  # rows that an embedded Chroma takes at once


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return chromadb.PersistentClient(path=str(tmp_path_factory.mktemp("chroma")))


@pytest.fixture
def embeddings() -> InstructEmbeddings:
    return InstructEmbeddings(model=tiny_checkpoint())


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Texts that were embedded, rather than found in a cache."""
    texts: list[str] = []
    encode = InstructEncoder.encode

    def record(self: InstructEncoder, asked: list[str], **options: Any) -> Any:
        texts.extend(asked)
        return encode(self, asked, **options)

    monkeypatch.setattr(InstructEncoder, "encode", record)
    return texts


async def test_a_chroma_round_trip(client: Any, embeddings: InstructEmbeddings) -> None:
    both = embeddings.with_instruction(INSTRUCTION, document_instruction=INSTRUCTION)
    store = Chroma("trip", both, client=client, collection_metadata=both.collection_metadata())
    store.add_texts(TEXTS[:2], ids=["0", "1"])
    await Chroma.afrom_texts(
        TEXTS[3:], both, ids=["3", "4", "5"], client=client, collection_name="trip"
    )
    [(found, distance)] = store.similarity_search_with_score(TEXTS[4], k=1)
    assert found.page_content == TEXTS[4]
    assert distance == pytest.approx(0, abs=1e-5)
    [again] = await store.asimilarity_search(TEXTS[4], k=1)
    assert again.id == found.id == "4"
    again_open = Chroma("trip", both, client=client)
    assert again_open.similarity_search(TEXTS[5], k=1)[0].id == "5"
    stored = store.get(ids=["1"], include=["embeddings"])["embeddings"]
    np.testing.assert_allclose(stored, both.embed_documents(TEXTS[1:2]), atol=1e-6)


def test_more_texts_than_chroma_takes_at_once_are_stored_in_batches(
    client: Any, embeddings: InstructEmbeddings
) -> None:
    assert client.get_max_batch_size() == LIMIT
    words = itertools.product(WORDS, repeat=3)
    texts = [" ".join(three) for three in itertools.islice(words, 6000)]
    ids = [str(number) for number in range(6000)]
    store = Chroma.from_texts(texts, embeddings, ids=ids, client=client, collection_name="many")
    assert len(store.get(include=[])["ids"]) == 6000
    for place in (0, LIMIT, 5999):
        [stored] = store.get(ids=[str(place)], include=["embeddings"])["embeddings"]
        np.testing.assert_allclose(stored, embeddings.embed_query(texts[place]), atol=1e-5)


def test_a_collection_remembers_what_filled_it(client: Any, embeddings: InstructEmbeddings) -> None:
    metadata = embeddings.collection_metadata()
    assert EmbeddingRecord.from_metadata(metadata) == embeddings.record
    assert embeddings.record.dimension == 32
    store = Chroma("record", embeddings, client=client, collection_metadata=metadata)
    check_collection(store, embeddings)
    check_collection(store, embeddings.with_instruction(INSTRUCTION))
    check_collection(client.get_collection("record"), embeddings)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"document_instruction": SHAPE}, f"under '{SHAPE}'"),
        ({"model": str(tiny("roberta"))}, "'tiny-roberta' under no instruction"),
        ({"truncate_dim": 16}, "16 dimensions"),
    ],
)
def test_a_collection_of_other_embeddings_is_refused_with_both_named(
    client: Any, embeddings: InstructEmbeddings, change: dict[str, Any], named: str
) -> None:
    filled = {"collection_metadata": embeddings.collection_metadata()}
    Chroma("mine", embeddings, client=client, **filled)
    others = embeddings.model_copy(update=change)
    # Chroma keeps the record of a collection that exists.
    store = Chroma("mine", others, client=client, collection_metadata=others.collection_metadata())
    with pytest.raises(CollectionMismatchError, match="'tiny-bert' under no instruction") as caught:
        check_collection(store, others)
    assert named in str(caught.value)


def test_a_collection_without_a_record_is_told_by_its_dimension(
    client: Any, embeddings: InstructEmbeddings
) -> None:
    store = Chroma("unknown", embeddings, client=client)
    short = embeddings.model_copy(update={"truncate_dim": 16})
    check_collection(store, short)
    store.add_texts(["red"])
    check_collection(store, embeddings)
    with pytest.raises(CollectionMismatchError, match=r"32 dimensions.*16 dimensions"):
        check_collection(store, short)


def test_fingerprints_tell_model_instruction_side_and_shape_apart(
    embeddings: InstructEmbeddings,
) -> None:
    kinds = [
        embeddings,
        embeddings.with_instruction(SHAPE, document_instruction=SHAPE),
        embeddings.with_instruction(INSTRUCTION, document_instruction=INSTRUCTION),
        embeddings.model_copy(update={"truncate_dim": 16}),
        embeddings.model_copy(update={"model": tiny("roberta")}),
    ]
    found = [kind.fingerprint for kind in kinds] + [kind.query_fingerprint for kind in kinds]
    assert len(set(found)) == 10
    again = InstructEmbeddings(model=tiny_checkpoint(), batch_size=2, show_progress=True)
    assert again.fingerprint == embeddings.fingerprint


@pytest.fixture
def open_cache() -> Callable[..., Any]:
    """Makes caches whose namespace is the fingerprint."""
    # Not installed on Python 3.10; see pyproject.toml.
    module = pytest.importorskip("langchain_classic.embeddings.cache")

    def make(embeddings: InstructEmbeddings, store: InMemoryByteStore, **options: Any) -> Any:
        options = {"namespace": embeddings.fingerprint, "key_encoder": "sha256"} | options
        return module.CacheBackedEmbeddings.from_bytes_store(embeddings, store, **options)

    return make


async def test_a_cache_gives_back_what_was_embedded(
    embeddings: InstructEmbeddings, open_cache: Callable[..., Any], embedded: list[str]
) -> None:
    store = InMemoryByteStore()
    first = open_cache(embeddings, store).embed_documents(TEXTS)
    assert embedded == TEXTS
    again = open_cache(InstructEmbeddings(model=tiny_checkpoint()), store)
    assert again.embed_documents(TEXTS) == first
    assert await again.aembed_documents(TEXTS) == first
    assert embedded == TEXTS


def test_two_instructions_never_share_an_entry_of_a_cache(
    embeddings: InstructEmbeddings, open_cache: Callable[..., Any], embedded: list[str]
) -> None:
    store = InMemoryByteStore()
    rows = []
    for instruction in (None, INSTRUCTION, SHAPE):
        under = embeddings.with_instruction(None, document_instruction=instruction)
        rows.append(open_cache(under, store).embed_documents(TEXTS))
        assert rows[-1] == under.embed_documents(TEXTS)
    assert len(list(store.yield_keys())) == 3 * len(TEXTS)
    assert len({str(each) for each in rows}) == 3


def test_queries_are_cached_apart_under_both_fingerprints(
    embeddings: InstructEmbeddings, open_cache: Callable[..., Any], embedded: list[str]
) -> None:
    documents, queries = InMemoryByteStore(), InMemoryByteStore()
    for instruction, known in ((INSTRUCTION, False), (SHAPE, False), (INSTRUCTION, True)):
        asked = embeddings.with_instruction(instruction)
        cached = open_cache(
            asked,
            documents,
            query_embedding_cache=queries,
            namespace=asked.fingerprint + asked.query_fingerprint,
        )
        embedded.clear()
        vector = cached.embed_query("red")
        assert embedded == ([] if known else ["red"])
        assert vector == asked.embed_query("red")
        assert cached.embed_documents(["red"]) == embeddings.embed_documents(["red"])
    assert len(list(queries.yield_keys())) == 2
