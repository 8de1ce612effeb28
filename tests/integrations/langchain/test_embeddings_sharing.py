"""One model, many users: copies, pickles, processes, threads, event loops."""

import asyncio
import copy
import gc
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from instruct_embeddings.encoder import EncoderOptions, loading, model_cache
from instruct_embeddings.encoder.model import InstEmb
from instruct_embeddings.encoder.source import ModelSource
from langchain_instruct_embeddings import InstructEmbeddings
from tests.models import INSTRUCTION, TEXTS, tiny_checkpoint

CALLERS, THREADS = 64, 16


@pytest.fixture(scope="module")
def embeddings() -> InstructEmbeddings:
    return InstructEmbeddings(model=tiny_checkpoint(), query_instruction=INSTRUCTION)


def through_pickle(embeddings: InstructEmbeddings) -> InstructEmbeddings:
    """There and back."""
    found: InstructEmbeddings = pickle.loads(pickle.dumps(embeddings))
    return found


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, through_pickle])
def test_a_copy_is_equal_and_works(
    make: Callable[[InstructEmbeddings], InstructEmbeddings], loaded: bool
) -> None:
    original = InstructEmbeddings(
        model=tiny_checkpoint(), query_instruction=INSTRUCTION, truncate_dim=16
    )
    if loaded:
        original.embed_query("red")
    other = make(original)
    assert other == original
    assert hash(other) == hash(original)
    assert other.fingerprint == original.fingerprint
    vector = other.embed_query("red")
    assert vector == original.embed_query("red")
    original.close()
    assert other.embed_query("red") == vector


def test_other_fields_are_not_equal(embeddings: InstructEmbeddings) -> None:
    assert embeddings != embeddings.with_instruction(None)
    assert embeddings != embeddings.model_copy(update={"truncate_dim": 16})
    assert embeddings != "embeddings"


def test_a_pickle_holds_no_weights(embeddings: InstructEmbeddings) -> None:
    embeddings.embed_query("red")
    assert len(pickle.dumps(embeddings)) < 5_000


def test_a_spawned_process_embeds_with_it(embeddings: InstructEmbeddings) -> None:
    expected = embeddings.embed_query(TEXTS[0])
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found = pool.submit(embeddings.embed_query, TEXTS[0]).result()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_copies_share_one_model_which_the_last_one_frees() -> None:
    before = len(model_cache.models)
    # Attention of a kind that no other test asks for: a model of its own.
    original = InstructEmbeddings(model=tiny_checkpoint(), attn_implementation="eager")
    asked = original.with_instruction(INSTRUCTION)
    short = original.model_copy(update={"truncate_dim": 8})
    for each in (original, asked, short):
        each.embed_query("red")
    assert len(model_cache.models) == before + 1
    assert asked.encoder is original.encoder is not short.encoder
    slot = original.encoder._cached()
    assert short.encoder._cached() is slot
    assert slot.loads == 1
    del slot
    for each in (original, asked, short):
        assert len(model_cache.models) == before + 1
        each.close()
        each.close()
    assert len(model_cache.models) == before


def test_copies_for_one_request_load_the_model_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[ModelSource] = []
    load = loading.load_model

    def record(source: ModelSource, options: EncoderOptions) -> InstEmb:
        loads.append(source)
        return load(source, options)

    monkeypatch.setattr(loading, "load_model", record)
    gc.collect()  # what other tests left
    before = len(model_cache.models)
    original = InstructEmbeddings(model=tiny_checkpoint(), attn_implementation="eager")
    with original.with_instruction(INSTRUCTION) as asked:
        asked.embed_query("red")
    copy = original.with_instruction(None)
    copy.embed_query("red")
    assert len(loads) == 1
    original.close()
    assert len(model_cache.models) == before + 1
    del copy
    gc.collect()
    assert len(model_cache.models) == before
    assert len(original.with_instruction(INSTRUCTION).embed_query("red")) == 32


async def test_many_callers_and_threads_share_one_model_and_get_the_right_vectors() -> None:
    # Another length of soft prompts than elsewhere: a model that these callers load together.
    embeddings = InstructEmbeddings(model=tiny_checkpoint(soft_prompts=2))
    asked = embeddings.with_instruction(INSTRUCTION)
    texts = [TEXTS[number % len(TEXTS)] for number in range(CALLERS)]
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(THREADS) as pool:
        found, listed = await asyncio.gather(
            asyncio.gather(*[asked.aembed_query(text) for text in texts]),
            asyncio.gather(
                *[loop.run_in_executor(pool, asked.embed_documents, TEXTS) for _ in range(THREADS)]
            ),
        )
    alone = [asked.embed_query(text) for text in texts]
    np.testing.assert_allclose(found, alone, atol=1e-6)
    generic = embeddings.embed_documents(TEXTS)
    for rows in listed:
        np.testing.assert_allclose(rows, generic, atol=1e-6)
    slot = asked.encoder._cached()
    assert slot.loads == 1
    assert embeddings.encoder._cached() is slot


async def test_the_event_loop_goes_on_while_texts_are_embedded(
    embeddings: InstructEmbeddings,
) -> None:
    expected = embeddings.embed_documents(TEXTS)
    # The model cannot start before this thread, the loop's, lets go of the lock.
    with embeddings.encoder._cached().lock:
        documents = asyncio.create_task(embeddings.aembed_documents(TEXTS))
        query = asyncio.create_task(embeddings.aembed_query(TEXTS[0]))
        for _ in range(10):
            await asyncio.sleep(0.01)
        assert not documents.done()
        assert not query.done()
    np.testing.assert_allclose(await documents, expected, atol=1e-6)
    assert await query == embeddings.embed_query(TEXTS[0])
