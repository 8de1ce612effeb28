"""Copies, pickles, threads and event loops around one model."""

import asyncio
import copy
import gc
import logging
import pickle
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler
from llama_index.core.storage.kvstore import SimpleKVStore
from pydantic import ValidationError

from instruct_embeddings.encoder import model_cache
from instruct_embeddings.errors import ClosedEncoderError
from llama_index_instruct_embeddings import InstructEmbedding
from tests.models import INSTRUCTION, TEXTS, WORDS, tiny_checkpoint

OTHER = "what shape is it"
BOTH = {"query_instruction": INSTRUCTION, "document_instruction": OTHER}
ALL = {
    "device": "cpu",
    "dtype": "float32",
    "attn_implementation": "eager",
    "batch_size": 4,
    "batch_tokens": 99,
    "padding_side": "left",
    "max_tokens": 40,
    "normalize": False,
    "truncate_dim": 8,
    "truncate_layers": 1,
    "precision": "int8",
    "refine_steps": 1,
    "local_files_only": True,
    "show_progress": True,
    "embed_batch_size": 7,
    "num_workers": 2,
} | BOTH


def make(**arguments: Any) -> InstructEmbedding:
    # A model of its own, so that nobody else holds the weights.
    return InstructEmbedding(model_name=str(tiny_checkpoint(soft_prompts=2)), **arguments)


def slot(embedding: InstructEmbedding) -> model_cache.CachedModel:
    """The place of its weights in the process."""
    return embedding.encoder._cached()


@pytest.fixture
def embedding() -> Iterator[InstructEmbedding]:
    with make(**BOTH) as made:
        yield made


def test_a_copy_under_another_instruction_shares_the_weights(embedding: InstructEmbedding) -> None:
    before = len(model_cache.models)
    adapted = embedding.with_instruction(OTHER)
    assert (adapted.query_instruction, adapted.document_instruction) == (OTHER, OTHER)
    both = embedding.with_instruction(None, document_instruction=None)
    assert (both.query_instruction, both.document_instruction) == (None, None)
    assert embedding.query_instruction == INSTRUCTION
    assert adapted.get_query_embedding("red") == pytest.approx(adapted.get_text_embedding("red"))
    both.get_query_embedding("red")
    embedding.get_query_embedding("red")
    assert (len(model_cache.models), slot(embedding).loads) == (before + 1, 1)
    with pytest.raises(ValidationError, match="The instruction is empty"):
        embedding.with_instruction("")


def test_copies_for_one_request_leave_the_weights_behind(embedding: InstructEmbedding) -> None:
    """The original is never used itself."""
    for instruction in (INSTRUCTION, OTHER, None):
        with embedding.with_instruction(instruction) as adapted:
            adapted.get_query_embedding("red")
        embedding.with_instruction(instruction).get_query_embedding("red")
    assert slot(embedding).loads == 1


def test_each_copy_is_closed_by_itself_and_the_last_one_frees_the_memory() -> None:
    gc.collect()  # what other tests left
    before = len(model_cache.models)
    first = make()
    second, third, dropped = (first.with_instruction(OTHER) for _ in range(3))
    right = first.get_query_embedding("red")
    first.close()
    with pytest.raises(ClosedEncoderError, match="were closed"):
        first.get_query_embedding("red")
    assert first.with_instruction(None).get_query_embedding("red") == pytest.approx(right)
    second.close()
    second.close()
    assert third.with_instruction(None).get_query_embedding("red") == pytest.approx(right)
    loaded = weakref.ref(third.encoder._load().model)
    del dropped
    third.close()
    gc.collect()
    assert (loaded(), len(model_cache.models)) == (None, before)


def test_a_copy_with_another_option_is_another_encoder(embedding: InstructEmbedding) -> None:
    short = embedding.model_copy(update={"truncate_dim": 8})
    assert len(short.get_query_embedding("red")) == 8
    assert len(embedding.get_query_embedding("red")) == 32
    assert slot(short) is slot(embedding)
    with pytest.raises(ValidationError, match=r"truncate_dim must be an integer .*got 0"):
        embedding.model_copy(update={"truncate_dim": 0})


def test_the_copy_module_makes_copies_that_close_alone(embedding: InstructEmbedding) -> None:
    manager = CallbackManager([LlamaDebugHandler(print_trace_on_end=False)])
    embedding.callback_manager = manager
    shallow, deep = copy.copy(embedding), copy.deepcopy(embedding)
    assert shallow.callback_manager is manager
    assert deep.callback_manager is not manager
    right = embedding.get_query_embedding("red")
    for other in (shallow, deep):
        assert other.to_dict() == embedding.to_dict()
        assert other.get_query_embedding("red") == pytest.approx(right)
        other.close()
    assert embedding.get_query_embedding("red") == pytest.approx(right)


def test_a_pickle_holds_the_arguments_before_and_after_loading() -> None:
    embedding = make(**ALL)
    before = pickle.dumps(embedding)
    right = embedding.get_text_embedding("red")
    after = pickle.dumps(embedding)
    assert max(len(before), len(after)) < 2000
    embedding.close()
    for data in (before, after, pickle.dumps(embedding)):
        with pickle.loads(data) as other:
            assert other.to_dict() == embedding.to_dict()
            assert other.encoder.options == embedding.options()
            assert other.get_text_embedding("red") == right


def test_pickling_leaves_the_live_object_whole(
    embedding: InstructEmbedding, caplog: pytest.LogCaptureFixture
) -> None:
    class Handler(LlamaDebugHandler):
        """Local classes cannot be pickled."""

    embedding.callback_manager = CallbackManager([Handler(print_trace_on_end=False)])
    embedding.embeddings_cache = SimpleKVStore()
    right = embedding.get_text_embedding("red")
    with caplog.at_level(logging.WARNING):
        other = pickle.loads(pickle.dumps(embedding))
    assert "callback_manager cannot be pickled" in caplog.text
    assert len(embedding.callback_manager.handlers) == 1
    assert other.callback_manager.handlers == []
    assert other.embeddings_cache.store.to_dict() == embedding.embeddings_cache.store.to_dict()
    assert other.get_text_embedding("red") == right


def test_a_dictionary_and_json_hold_every_argument() -> None:
    embedding = make(**ALL)
    data = embedding.to_dict()
    assert data["class_name"] == "InstructEmbedding"
    for other in (
        InstructEmbedding.from_dict(data),
        InstructEmbedding.from_json(embedding.to_json()),
    ):
        assert other.to_dict() == data
        assert other.encoder.options == embedding.encoder.options
    for name, value in ALL.items():
        assert data[name] == value


def some_texts(count: int) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, rng.integers(1, 12))) for _ in range(count)]


async def test_64_async_callers_get_the_right_vectors(embedding: InstructEmbedding) -> None:
    texts = some_texts(64)
    right = embedding.with_instruction(INSTRUCTION, document_instruction=INSTRUCTION)
    queries = np.array(right.get_text_embedding_batch(texts))
    documents = np.array(embedding.get_text_embedding_batch(texts))
    calls = [
        embedding.aget_query_embedding(text) if place % 2 else embedding.aget_text_embedding(text)
        for place, text in enumerate(texts)
    ]
    found = np.array(await asyncio.gather(*calls))
    np.testing.assert_allclose(found[1::2], queries[1::2], atol=1e-5)
    np.testing.assert_allclose(found[::2], documents[::2], atol=1e-5)
    assert slot(embedding).loads == 1


def test_16_threads_get_the_right_vectors(embedding: InstructEmbedding) -> None:
    texts = some_texts(64)
    with ThreadPoolExecutor(16) as pool:  # loading is a race, too
        found = list(pool.map(embedding.get_text_embedding, texts))
    np.testing.assert_allclose(found, embedding.get_text_embedding_batch(texts), atol=1e-5)
    assert slot(embedding).loads == 1


async def test_a_loop_goes_on_while_the_model_is_busy(embedding: InstructEmbedding) -> None:
    embedding.get_text_embedding("red")
    cached = embedding.model_copy(update={"embeddings_cache": SimpleKVStore()})
    with slot(embedding).lock:
        tasks = [
            asyncio.create_task(call)
            for call in (
                embedding.aget_query_embedding("red"),
                embedding.aget_text_embedding("red"),
                embedding.aget_text_embedding_batch(["red", "blue"]),
                embedding.aget_agg_embedding_from_queries(["red", "blue"]),
                cached.aget_text_embedding_batch(["red", "blue"]),
            )
        ]
        for _ in range(20):
            await asyncio.sleep(0.002)
        assert not any(task.done() for task in tasks)
    assert len(await asyncio.gather(*tasks)) == 5


@pytest.mark.parametrize("num_workers", [None, 4])
async def test_batches_of_one_call_take_turns_on_one_thread(
    embedding: InstructEmbedding, num_workers: int | None
) -> None:
    threads: set[str] = set()
    model = embedding.encoder._load().model
    hook = model.register_forward_pre_hook(lambda *_: threads.add(threading.current_thread().name))
    embedding.embed_batch_size, embedding.num_workers = 1, num_workers
    texts = some_texts(20)
    found = await embedding.aget_text_embedding_batch(texts)
    hook.remove()
    assert len(threads) == 1
    assert threads != {threading.current_thread().name}
    np.testing.assert_allclose(found, embedding.get_text_embedding_batch(texts), atol=1e-5)


def test_one_instance_serves_one_loop_after_another(embedding: InstructEmbedding) -> None:
    right = embedding.get_text_embedding_batch(TEXTS)
    for _ in range(2):
        found = asyncio.run(embedding.aget_text_embedding_batch(TEXTS))
        np.testing.assert_allclose(found, right, atol=1e-5)
