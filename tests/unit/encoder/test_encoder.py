import asyncio
import copy
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from instruct_embeddings.encoder import InstructEncoder, loading, source
from instruct_embeddings.encoder.backbone import Backbone
from instruct_embeddings.encoder.model import InstEmb
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.errors import (
    ClosedEncoderError,
    ConfigError,
    InstructionError,
    TruncationWarning,
)
from tests.models import INSTRUCTION, TEXTS, tiny, tiny_checkpoint

LONG = ["the red ball sits on the table"] * 60


def slow_down(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Every generic forward pass takes this long at least."""
    run: Callable[..., Tensor] = InstEmb.generic

    def slowly(self: InstEmb, batch: Any, **options: Any) -> Tensor:
        time.sleep(seconds)
        return run(self, batch, **options)

    monkeypatch.setattr(InstEmb, "generic", slowly)


# Threads and event loops


def jobs(count: int) -> list[dict[str, Any]]:
    """Calls of different sizes, with and without an instruction."""
    return [
        {
            "texts": TEXTS[number % 6 :] + LONG[: number % 4],
            "instruction": [None, INSTRUCTION, "how many"][number % 3],
        }
        for number in range(count)
    ]


async def test_64_callers_of_an_event_loop_get_what_one_gets(loads: list[Any]) -> None:
    with InstructEncoder.from_pretrained(tiny_checkpoint(), device="cpu", batch_size=3) as encoder:
        found = await asyncio.gather(*(encoder.aencode(**job) for job in jobs(64)))
        for job, vectors in zip(jobs(64), found, strict=True):
            np.testing.assert_array_equal(vectors, encoder.encode(**job))
    assert len(loads) == 1


def test_16_threads_get_what_one_gets(loads: list[Any]) -> None:
    started = threading.Barrier(16)
    with InstructEncoder.from_pretrained(tiny_checkpoint(), device="cpu", batch_size=3) as encoder:

        def encode(job: dict[str, Any]) -> Any:
            started.wait()
            return [encoder.encode(**job) for _ in range(5)]

        with ThreadPoolExecutor(16) as pool:
            found = list(pool.map(encode, jobs(16)))
        for job, several in zip(jobs(16), found, strict=True):
            expected = encoder.encode(**job)
            for vectors in several:
                np.testing.assert_array_equal(vectors, expected)
    assert len(loads) == 1


def test_threads_with_event_loops_of_their_own_share_one_encoder(encoder: InstructEncoder) -> None:
    async def several() -> Any:
        return await asyncio.gather(*(encoder.aencode(TEXTS) for _ in range(4)))

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: asyncio.run(several()), range(4)))
    for vectors in np.concatenate(found):
        np.testing.assert_array_equal(vectors, encoder.encode(TEXTS))


async def test_the_loop_turns_while_a_model_is_found_loaded_and_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each step waits until the loop has turned three times more; on the loop it never would."""
    turns, stuck, waited = 0, [], []

    def after_turns(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **keywords: Any) -> Any:
            wanted, deadline = turns + 3, time.monotonic() + 20
            while turns < wanted and time.monotonic() < deadline:
                time.sleep(0.001)
            (waited if turns >= wanted else stuck).append(call)
            return call(*arguments, **keywords)

        return run

    monkeypatch.setattr(
        "instruct_embeddings.encoder.encoder.find_source", after_turns(source.find_source)
    )
    monkeypatch.setattr(loading, "load_model", after_turns(loading.load_model))
    monkeypatch.setattr(Backbone, "forward", after_turns(Backbone.forward))

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    turning = asyncio.create_task(turn())
    with InstructEncoder.from_pretrained(tiny(), device="cpu", batch_size=20) as encoder:
        await asyncio.gather(encoder.aencode(LONG), encoder.aencode(TEXTS))
    turning.cancel()
    assert not stuck
    assert len(waited) == 1 + 1 + 2 + 3 + 1  # found, loaded, tried twice, three batches and one


async def test_a_short_query_is_served_between_the_batches_of_a_long_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow_down(monkeypatch, 0.002)
    done: list[int] = []
    with InstructEncoder.from_pretrained(tiny(), device="cpu", batch_size=1) as encoder:
        expected = encoder.encode(TEXTS[:1])
        long = asyncio.create_task(encoder.aencode(LONG, on_batch=done.append))
        while len(done) < 3:
            await asyncio.sleep(0.001)
        before = len(done)
        np.testing.assert_array_equal(await encoder.aencode(TEXTS[:1]), expected)
        assert len(done) - before < 20
        assert not long.done()
        assert (await long).shape == (60, 32)
        assert sum(done) == 60


def test_a_short_query_of_another_thread_is_served_between_batches_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow_down(monkeypatch, 0.002)
    begun, order = threading.Event(), []
    with InstructEncoder.from_pretrained(tiny(), device="cpu", batch_size=1) as encoder:
        encoder.encode(TEXTS[:1])

        def long() -> None:
            encoder.encode(LONG * 2, on_batch=lambda _: begun.set())
            order.append("long")

        thread = threading.Thread(target=long)
        thread.start()
        assert begun.wait(10)
        encoder.encode(TEXTS[:1])
        order.append("short")
        thread.join()
    assert order == ["short", "long"]


async def test_a_call_that_is_cancelled_leaves_the_others_right(
    encoder: InstructEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [encoder.encode(**job) for job in jobs(9)]
    slow_down(monkeypatch, 0.002)
    small = encoder.with_options(batch_size=1)
    begun = asyncio.Event()
    cancelled = [
        asyncio.create_task(small.aencode(LONG, on_batch=lambda _: begun.set())) for _ in range(3)
    ]
    others = [asyncio.create_task(small.aencode(**job)) for job in jobs(9)]
    await begun.wait()
    for task in cancelled:
        task.cancel()
    found = await asyncio.gather(*others)
    for task in cancelled:
        with pytest.raises(asyncio.CancelledError):
            await task
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    np.testing.assert_array_equal(await encoder.aencode(TEXTS), encoder.encode(TEXTS))


async def test_to_close_an_encoder_ends_the_calls_that_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow_down(monkeypatch, 0.005)
    begun = asyncio.Event()
    encoder = InstructEncoder.from_pretrained(tiny(), device="cpu", batch_size=1)
    call = asyncio.create_task(encoder.aencode(LONG, on_batch=lambda _: begun.set()))
    await begun.wait()
    encoder.close()
    with pytest.raises(ClosedEncoderError, match="was closed"):
        await call


async def test_warnings_and_errors_of_a_call_reach_its_awaiter(encoder: InstructEncoder) -> None:
    with pytest.warns(TruncationWarning, match="1 of 2 texts"):
        await encoder.aencode(["the red ball " * 90, "a cube"])
    with pytest.raises(TypeError, match="wrap it"):
        await encoder.aencode("red")
    with pytest.raises(IndexError):
        await encoder.aencode(TEXTS, on_batch=[].pop)
    assert (await encoder.aencode(TEXTS)).shape == (6, 32)


# What the object is


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize(
    "duplicate", [lambda one: pickle.loads(pickle.dumps(one)), copy.copy, copy.deepcopy]
)
def test_a_copy_gives_the_same_vectors_and_outlives_the_original(
    duplicate: Callable[[InstructEncoder], InstructEncoder], used: bool
) -> None:
    encoder = InstructEncoder.from_pretrained(tiny_checkpoint(), device="cpu", truncate_dim=8)
    if used:
        expected = encoder.encode(TEXTS)
    other = duplicate(encoder)
    if not used:
        expected = encoder.encode(TEXTS)
    assert other.options == encoder.options
    encoder.close()
    with other:
        np.testing.assert_array_equal(other.encode(TEXTS), expected)


def test_a_pickle_holds_options_and_no_weights(encoder: InstructEncoder) -> None:
    before = pickle.dumps(encoder)
    encoder.encode(TEXTS)
    assert pickle.dumps(encoder) == before
    assert len(before) < 2000


def test_the_representation_names_what_was_set() -> None:
    encoder = InstructEncoder.from_pretrained("toys/tiny", dtype="float16", devices=("cpu", "cpu"))
    assert (
        repr(encoder)
        == "InstructEncoder(model='toys/tiny', devices=('cpu', 'cpu'), dtype='float16')"
    )
    assert repr(InstructEncoder()) == "InstructEncoder()"


def test_options_can_be_changed_in_a_copy_alone(encoder: InstructEncoder) -> None:
    changed = encoder.with_options(truncate_dim=8, normalize=False)
    assert (changed.dimension, encoder.dimension) == (8, 32)
    assert changed.options == EncoderOptions(
        model=str(tiny_checkpoint()), device="cpu", truncate_dim=8, normalize=False
    )
    with pytest.raises(ConfigError, match=r"\['pooling'\]; known are .* Correct the names"):
        encoder.with_options(pooling="mean")
    with pytest.raises(ConfigError, match="precision='int4'"):
        encoder.with_options(precision="int4")


def test_name_dimension_and_length_come_from_the_files(
    encoder: InstructEncoder, loads: list[Any]
) -> None:
    assert (encoder.name, encoder.dimension, encoder.max_tokens) == (
        tiny_checkpoint().name,
        32,
        124,
    )
    assert encoder.with_options(max_tokens=50).max_tokens == 50
    assert encoder.with_options(max_tokens=500).max_tokens == 124
    assert loads == []


def test_saving_waits_for_the_pass_of_another_thread(
    encoder: InstructEncoder, tmp_path: Path
) -> None:
    """Which may have cut layers off for as long as it lasts."""
    encoder.encode(TEXTS)
    runner = encoder._running()
    saved = threading.Event()

    def save() -> None:
        encoder.save_pretrained(tmp_path / "saved", backbone=True)
        saved.set()

    thread = threading.Thread(target=save)
    with runner.entry.lock, runner.loaded.model.backbone.truncated(1):
        thread.start()
        assert not saved.wait(0.1)
    thread.join()
    with InstructEncoder.from_pretrained(tmp_path / "saved", device="cpu") as again:
        np.testing.assert_array_equal(again.encode(TEXTS), encoder.encode(TEXTS))


def test_an_encoder_is_described_without_anything_heavy() -> None:
    code = (
        "import sys, pickle, copy\n"
        "from instruct_embeddings.encoder import InstructEncoder\n"
        "encoder = InstructEncoder.from_pretrained()\n"
        "repr(encoder), copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))\n"
        "with encoder.with_options(dtype='float32'): pass\n"
        "heavy = {'torch', 'transformers', 'huggingface_hub', 'scipy', 'rich'} & set(sys.modules)\n"
        "sys.exit(str(sorted(heavy)) if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("steps", [True, 1.0, [1]])
def test_a_call_that_was_checked_before_lets_nothing_else_pass(steps: Any) -> None:
    with InstructEncoder.from_pretrained(tiny_checkpoint()) as encoder:
        encoder.encode(["red"], instruction=INSTRUCTION, refine_steps=1)
        with pytest.raises(ConfigError, match="refine_steps must be an integer"):
            encoder.encode(["red"], instruction=INSTRUCTION, refine_steps=steps)
        with pytest.raises(InstructionError, match="got list"):
            encoder.encode(["red"], instruction=[INSTRUCTION])  # type: ignore[arg-type]
