"""`InstructEmbedding` inside indexes, pipelines and the host's settings."""

from collections.abc import Callable, Iterator
from typing import Any

import chromadb
import numpy as np
import pytest
from llama_index.core import Settings, StorageContext, VectorStoreIndex
from llama_index.core.callbacks import CallbackManager
from llama_index.core.embeddings import resolve_embed_model
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.schema import Document, MetadataMode, TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.vector_stores.chroma import ChromaVectorStore

from instruct_embeddings.encoder import EmbeddingRecord, InstructEncoder
from instruct_embeddings.errors import CollectionMismatchError
from llama_index_instruct_embeddings import InstructEmbedding
from tests.models import INSTRUCTION, TEXTS, tiny_checkpoint

OTHER = "what shape is it"
NODES = [text for text in TEXTS if text]


def make(**arguments: Any) -> InstructEmbedding:
    return InstructEmbedding(model_name=str(tiny_checkpoint()), **arguments)


@pytest.fixture(scope="module")
def embedding() -> Iterator[InstructEmbedding]:
    """The same instruction for queries and documents: a text finds itself."""
    with make(query_instruction=INSTRUCTION, document_instruction=INSTRUCTION) as made:
        made.get_query_embedding("red")
        yield made


def nodes() -> list[TextNode]:
    return [TextNode(id_=str(place), text=text) for place, text in enumerate(NODES)]


@pytest.fixture(params=["simple", "chroma"])
def vector_store(request: pytest.FixtureRequest, collection: Callable[[], Any]) -> Any:
    if request.param == "simple":
        return SimpleVectorStore()
    return ChromaVectorStore(chroma_collection=collection())


async def test_an_index_finds_what_it_was_given(
    vector_store: Any, embedding: InstructEmbedding
) -> None:
    context = StorageContext.from_defaults(vector_store=vector_store)
    index = VectorStoreIndex(nodes(), storage_context=context, embed_model=embedding)
    retriever = index.as_retriever(similarity_top_k=1)
    for place, text in enumerate(NODES):
        assert retriever.retrieve(text)[0].node.node_id == str(place)
        assert (await retriever.aretrieve(text))[0].node.node_id == str(place)


def test_documents_may_be_generic_and_queries_instructed(embedding: InstructEmbedding) -> None:
    mixed = embedding.with_instruction(INSTRUCTION, document_instruction=None)
    index = VectorStoreIndex(nodes(), embed_model=mixed)
    scores = {item.node.node_id: item.score for item in index.as_retriever().retrieve("red")}
    vectors = make().get_text_embedding_batch(NODES)
    products = np.array(vectors) @ mixed.get_query_embedding("red")
    for row, score in scores.items():
        assert score == pytest.approx(products[int(row)], abs=1e-5)


def test_an_ephemeral_collection_remembers_what_filled_it(embedding: InstructEmbedding) -> None:
    client = chromadb.EphemeralClient()
    filled = client.create_collection(
        "embedding-record",
        metadata=embedding.record.to_metadata(),
        configuration={"hnsw": {"space": "cosine"}},
    )
    try:
        context = StorageContext.from_defaults(
            vector_store=ChromaVectorStore(chroma_collection=filled)
        )
        VectorStoreIndex(nodes(), storage_context=context, embed_model=embedding)
        recorded = EmbeddingRecord.from_metadata(client.get_collection(filled.name).metadata)
        assert recorded is not None
        recorded.check(embedding.record, filled.name)
        stored = filled.get(include=["embeddings"])
        right = embedding.get_text_embedding_batch([NODES[int(row)] for row in stored["ids"]])
        np.testing.assert_allclose(stored["embeddings"], right, atol=1e-5)
        other = make(document_instruction=OTHER)
        with pytest.raises(CollectionMismatchError, match=f"{INSTRUCTION}.*{OTHER}"):
            recorded.check(other.record, filled.name)
    finally:
        client.delete_collection(filled.name)


def test_more_nodes_than_chroma_takes_at_once(collection: Callable[[], Any]) -> None:
    filled = collection()
    context = StorageContext.from_defaults(vector_store=ChromaVectorStore(chroma_collection=filled))
    many = [TextNode(text=NODES[place % len(NODES)]) for place in range(5462)]
    with make(batch_tokens=65536, truncate_dim=4) as embedding:
        VectorStoreIndex(many, storage_context=context, embed_model=embedding)
    assert filled.count() == 5462


def test_the_settings_of_the_host_take_it(
    embedding: InstructEmbedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "_embed_model", None)
    monkeypatch.setattr(Settings, "_callback_manager", CallbackManager([]))
    mine = embedding.with_instruction(INSTRUCTION)
    Settings.embed_model = mine
    assert Settings.embed_model is mine
    assert mine.callback_manager is Settings.callback_manager
    index = VectorStoreIndex(nodes())
    assert index.as_retriever(similarity_top_k=1).retrieve(NODES[2])[0].node.node_id == "2"


def test_the_host_resolves_it_to_itself(
    embedding: InstructEmbedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "_callback_manager", CallbackManager([]))
    mine, manager = embedding.with_instruction(None), CallbackManager([])
    assert resolve_embed_model(mine, callback_manager=manager) is mine
    assert mine.callback_manager is manager


async def test_nodes_are_embedded_with_their_metadata(embedding: InstructEmbedding) -> None:
    node = TextNode(text="red ball", metadata={"shape": "round"})
    content = node.get_content(metadata_mode=MetadataMode.EMBED)
    assert content == "shape: round\n\nred ball"
    right = embedding.get_text_embedding(content)
    assert embedding([node])[0].embedding == pytest.approx(right)
    assert (await embedding.acall([node]))[0].embedding == pytest.approx(right)


def test_a_pipeline_caches_by_instruction(
    embedding: InstructEmbedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str | None] = []
    plain = InstructEncoder.encode

    def spy(self: InstructEncoder, texts: list[str], **call: Any) -> Any:
        encoded.append(call["instruction"])
        return plain(self, texts, **call)

    monkeypatch.setattr(InstructEncoder, "encode", spy)
    cache = IngestionCache()
    documents = [Document(id_=str(place), text=text) for place, text in enumerate(NODES)]
    found = {}
    for instruction in (INSTRUCTION, OTHER, None, INSTRUCTION, OTHER, None):
        model = embedding.with_instruction(None, document_instruction=instruction)
        done = IngestionPipeline(transformations=[model], cache=cache).run(documents=documents)
        vectors = [node.embedding for node in done]
        assert vectors == found.setdefault(instruction, vectors)
    assert encoded == [INSTRUCTION, OTHER, None]
    assert len({str(vectors) for vectors in found.values()}) == 3


def test_the_hash_of_a_pipeline_depends_on_every_argument() -> None:
    some: list[dict[str, Any]] = [
        {},
        {"document_instruction": INSTRUCTION},
        {"document_instruction": OTHER},
        {"query_instruction": OTHER},
        {"truncate_dim": 8},
        {"adapter": "mine"},
    ]
    hashes = {get_transformation_hash(nodes(), make(**arguments)) for arguments in some}
    assert len(hashes) == len(some)
    assert get_transformation_hash(nodes(), make()) in hashes


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore:Specified num_workers exceed")
def test_spawned_workers_embed_as_this_process_does(embedding: InstructEmbedding) -> None:
    pipeline = IngestionPipeline(transformations=[embedding])
    done = pipeline.run(nodes=nodes(), num_workers=2)
    right = embedding.get_text_embedding_batch(NODES)
    assert [node.text for node in done] == NODES
    np.testing.assert_allclose([node.embedding for node in done], right, atol=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore:Specified num_workers exceed")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
async def test_workers_of_async_pipelines_embed_so_too() -> None:
    with InstructEmbedding(model_name=str(tiny_checkpoint(soft_prompts=4))) as embedding:
        pipeline = IngestionPipeline(transformations=[embedding])
        done = await pipeline.arun(nodes=nodes(), num_workers=2)
        right = embedding.get_text_embedding_batch(NODES)
        np.testing.assert_allclose([node.embedding for node in done], right, atol=1e-5)
