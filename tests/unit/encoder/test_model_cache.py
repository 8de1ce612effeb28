import copy
import gc
import pickle
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from instruct_embeddings.encoder import InstructEncoder, loading, model_cache
from instruct_embeddings.encoder.model_cache import (
    CachedModel,
    LoadedModel,
    ModelCache,
    model_key,
)
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.source import find_source
from instruct_embeddings.errors import CheckpointError, ClosedEncoderError
from tests.models import INSTRUCTION, TEXTS, tiny, tiny_checkpoint


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelCache]:
    """A cache of this test's own; nobody may hold a model at its end."""
    fresh = ModelCache()
    monkeypatch.setattr(model_cache, "models", fresh)
    yield fresh
    assert len(fresh) == 0


def make(model: Path | None = None, **options: Any) -> InstructEncoder:
    return InstructEncoder.from_pretrained(model or tiny(), device="cpu", **options)


def fake() -> LoadedModel:
    template: Any = None
    model: Any = torch.nn.Linear(1, 1)
    return LoadedModel(model, template, "cpu")


def test_an_entry_is_one_for_each_key_and_goes_with_its_last_user() -> None:
    cache = ModelCache()
    users = [cache.acquire((key,)) for key in "aab"]
    assert users[0] is users[1]
    assert users[0] is not users[2]
    assert len(cache) == 2
    users[0].get(fake)
    users.pop(0)
    assert len(cache) == 2
    users.pop(0)
    assert len(cache) == 1
    assert cache.acquire(("a",)).loads == 0


def test_threads_that_come_first_together_load_once() -> None:
    entry, started = CachedModel(), threading.Barrier(8)

    def load() -> LoadedModel:
        time.sleep(0.05)
        return fake()

    def get(_: int) -> LoadedModel:
        started.wait()
        return entry.get(load)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(get, range(8)))
    assert all(one is found[0] for one in found)
    assert entry.loads == 1


def test_the_worker_is_at_hand_while_the_model_is_loaded() -> None:
    """An event loop asks for it."""
    entry, loading_now, go_on = CachedModel(), threading.Event(), threading.Event()

    def load() -> LoadedModel:
        loading_now.set()
        assert go_on.wait(10)
        return fake()

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(entry.get, load)
        assert loading_now.wait(10)
        assert entry.worker.submit(lambda: 3).result() == 3
        assert entry.worker is entry.worker
        go_on.set()
        future.result()


def test_an_entry_that_nobody_holds_lets_its_model_and_its_thread_go() -> None:
    entry = CachedModel()
    watched = weakref.ref(entry.get(fake).model)
    thread = entry.worker.submit(threading.current_thread).result()
    assert thread.name.startswith("instruct-embeddings")
    del entry
    assert watched() is None
    thread.join(10)
    assert not thread.is_alive()


def test_a_model_that_refers_to_itself_goes_at_once_too() -> None:
    """As a compiled one does."""
    entry = CachedModel()
    model: Any = entry.get(fake).model
    model.itself = [model]
    watched = weakref.ref(model)
    del model, entry
    assert watched() is None


def test_a_model_that_is_on_its_way_out_has_no_new_users(monkeypatch: pytest.MonkeyPatch) -> None:
    cache, found = ModelCache(), []
    entry = cache.acquire(("a",))
    model: Any = entry.get(fake).model
    model.itself = [model]
    monkeypatch.setattr(gc, "collect", lambda: found.append(cache.acquire(("a",))))
    del model, entry
    assert [(one.loads, one._loaded) for one in found] == [(0, None)]


@pytest.mark.usefixtures("shared")
def test_the_cache_of_a_gpu_is_emptied_behind_the_model_and_nothing_is_collected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []
    encoder = make()
    encoder.encode(TEXTS)
    encoder._load().device = "cuda"
    watched = weakref.ref(encoder._load().model)
    monkeypatch.setattr(gc, "collect", lambda: seen.append("collected"))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: seen.append(watched()))
    encoder.close()
    assert seen == [None]


@pytest.mark.usefixtures("shared")
def test_encoders_of_one_model_share_its_weights(loads: list[Any]) -> None:
    with make() as one, make() as two, one.with_options(normalize=False, batch_size=2) as three:
        copies = [one, two, three, copy.copy(one), copy.deepcopy(two)]
        copies.append(pickle.loads(pickle.dumps(three)))
        for encoder in copies:
            encoder.encode(TEXTS)
            encoder.encode(TEXTS, instruction=INSTRUCTION)
        models = {id(encoder._load().model) for encoder in copies}
        assert (len(models), len(loads)) == (1, 1)
        for encoder in copies:
            encoder.close()


def test_no_device_means_the_same_as_its_name(loads: list[Any], shared: ModelCache) -> None:
    best = loading.choose_device(None)
    with (
        InstructEncoder.from_pretrained(tiny()) as one,
        InstructEncoder.from_pretrained(tiny(), device=best) as two,
    ):
        one.encode(TEXTS)
        two.encode(TEXTS)
        assert (len(loads), len(shared)) == (1, 1)


@pytest.mark.parametrize(
    "options",
    [{"dtype": "bfloat16"}, {"attn_implementation": "eager"}, {"trust_remote_code": True}],
    ids=str,
)
def test_what_makes_other_weights_is_kept_apart(
    options: dict[str, Any], loads: list[Any], shared: ModelCache
) -> None:
    with make() as one, make(**options) as two:
        one.encode(TEXTS)
        two.encode(TEXTS)
        assert (len(loads), len(shared)) == (2, 2)


def test_devices_and_types_of_numbers_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """By their keys, as the devices need not be here."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    options = [EncoderOptions(model=str(tiny()), device=d) for d in ("cpu", "cuda:0", "cuda:1")]
    options.append(replace(options[0], dtype="float16"))
    keys = [model_key(find_source(one), one) for one in options]
    assert len(set(keys)) == 4
    same = replace(options[0], batch_size=3, truncate_dim=8, max_tokens=9, normalize=False)
    assert model_key(find_source(same), same) == keys[0]


@pytest.mark.usefixtures("shared")
def test_a_checkpoint_and_its_backbone_are_kept_apart(loads: list[Any]) -> None:
    with make(tiny("bert")) as one, make(tiny_checkpoint("bert")) as two:
        np.testing.assert_array_equal(one.encode(TEXTS), two.encode(TEXTS))
        assert len(loads) == 2


def test_the_model_goes_when_the_last_encoder_is_closed(
    loads: list[Any], shared: ModelCache
) -> None:
    one, two = make(), make()
    expected = one.encode(TEXTS)
    two.encode(TEXTS)
    one.close()
    one.close()
    assert len(shared) == 1
    np.testing.assert_array_equal(two.encode(TEXTS), expected)
    assert len(loads) == 1
    two.close()
    assert len(shared) == 0
    with make() as three:
        np.testing.assert_array_equal(three.encode(TEXTS), expected)
    assert len(loads) == 2


def test_the_model_goes_with_encoders_that_nobody_closed(shared: ModelCache) -> None:
    one, two = make(), make()
    one.encode(TEXTS)
    two.encode(TEXTS)
    part = one._load().model.backbone
    watched = weakref.ref(part)
    del part, one
    gc.collect()
    assert len(shared) == 1
    del two
    gc.collect()
    assert len(shared) == 0
    assert watched() is None


def test_an_encoder_that_was_never_used_holds_nothing(loads: list[Any], shared: ModelCache) -> None:
    with make() as encoder:
        assert encoder.dimension == 32
        assert encoder.encode([]).shape == (0, 32)
        encoder.fingerprint()
        assert (len(shared), loads) == (0, [])


@pytest.mark.parametrize(
    "use",
    [
        lambda encoder: encoder.encode(TEXTS),
        lambda encoder: encoder.encode([]),
        lambda encoder: encoder.encode_grid(TEXTS, [INSTRUCTION]),
        lambda encoder: encoder.encode_grid([], []),
        lambda encoder: encoder.encode_steps(TEXTS, instruction=INSTRUCTION, refine_steps=1),
        lambda encoder: encoder.save_pretrained("nowhere"),
    ],
)
@pytest.mark.parametrize("used", [True, False])
def test_a_closed_encoder_refuses(
    use: Callable[[InstructEncoder], Any], used: bool, shared: ModelCache
) -> None:
    encoder = make()
    if used:
        encoder.encode(TEXTS)
    encoder.close()
    with pytest.raises(ClosedEncoderError, match=r"was closed and gave its memory back\. Make"):
        use(encoder)
    assert len(shared) == 0


async def test_a_closed_encoder_refuses_in_an_event_loop_too() -> None:
    encoder = make()
    encoder.close()
    with pytest.raises(ClosedEncoderError):
        await encoder.aencode(TEXTS)


def test_threads_that_use_a_model_first_together_load_it_once(
    loads: list[Any], shared: ModelCache
) -> None:
    with make() as expected_from:
        expected = expected_from.encode(TEXTS)
    encoders = [make() for _ in range(6)]
    started = threading.Barrier(len(encoders))

    def encode(encoder: InstructEncoder) -> Any:
        started.wait()
        return encoder.encode(TEXTS)

    with ThreadPoolExecutor(len(encoders)) as pool:
        for found in pool.map(encode, encoders):
            np.testing.assert_array_equal(found, expected)
    assert (len(loads), len(shared)) == (2, 1)
    for encoder in encoders:
        encoder.close()


def test_a_load_that_fails_leaves_nothing_and_can_be_tried_again(
    tmp_path: Path, loads: list[Any], shared: ModelCache
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny(), folder)
    weights = folder / "model.safetensors"
    weights.rename(tmp_path / "aside")
    with make(folder) as encoder, make() as other:
        for _ in range(2):
            with pytest.raises(CheckpointError, match="no safetensors"):
                encoder.encode(TEXTS)
        entry = encoder._cached()
        assert (entry.loads, entry._loaded) == (0, None)
        (tmp_path / "aside").rename(weights)
        np.testing.assert_array_equal(encoder.encode(TEXTS), other.encode(TEXTS))
        assert entry.loads == 1
        del entry
    assert len(shared) == 0
