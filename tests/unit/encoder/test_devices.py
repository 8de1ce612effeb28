import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np
import pytest

from instruct_embeddings.encoder import InstructEncoder, devices
from instruct_embeddings.encoder.devices import DevicePool
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.texts import Request
from instruct_embeddings.errors import ClosedEncoderError, TruncationWarning, WorkerError
from tests.models import INSTRUCTION, TEXTS, tiny_checkpoint

LONG = "the red ball " * 60
MANY = [*TEXTS, LONG, *TEXTS[::-1], LONG, "a ring"]


class FakePool(ThreadPoolExecutor):
    """A thread in place of a process; it can be made to die."""

    broken = False

    def __init__(self, count: int, *, initializer: Any, initargs: Any, **_: Any) -> None:
        super().__init__(count, initializer=initializer, initargs=initargs)

    def submit(self, *arguments: Any, **more: Any) -> Any:
        if type(self).broken:
            raise BrokenProcessPool("a process died")
        return super().submit(*arguments, **more)


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> type[FakePool]:
    kind = type("Pool", (FakePool,), {})
    monkeypatch.setattr(devices, "ProcessPoolExecutor", kind)
    monkeypatch.setattr(devices, "_encoder", InstructEncoder())
    return kind


def one_device(**changes: Any) -> InstructEncoder:
    return InstructEncoder.from_pretrained(tiny_checkpoint(), device="cpu", **changes)


def two_devices(**changes: Any) -> InstructEncoder:
    return InstructEncoder.from_pretrained(tiny_checkpoint(), devices=("cpu", "cpu"), **changes)


def fill(texts: list[str], chunk: int) -> tuple[Any, list[int]]:
    own = DevicePool(EncoderOptions(model=str(tiny_checkpoint()), devices=("cpu", "cpu")))
    out = np.full((1, len(texts), 32), np.nan, dtype=np.float32)
    sizes = list(own.embed(Request(texts, INSTRUCTION), out, chunk=chunk))
    own.close()
    return out[0], sizes


@pytest.mark.usefixtures("pools")
@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_pieces_come_back_to_their_places(chunk: int) -> None:
    found, sizes = fill(TEXTS, chunk)
    with one_device() as encoder:
        expected = encoder.encode(TEXTS, instruction=INSTRUCTION)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # Six texts for two devices: never more than three in a piece.
    assert sorted(sizes) == ([1] * 6 if chunk == 1 else [3, 3])


@pytest.mark.usefixtures("pools")
def test_texts_that_were_cut_are_warned_about_once_by_all_workers_together() -> None:
    with one_device() as alone, pytest.warns(TruncationWarning) as caught:
        alone.encode(MANY, instruction=INSTRUCTION)
    assert len(caught) == 1
    assert str(caught[0].message).startswith("2 of 15 texts are longer than the ")
    with two_devices() as encoder:
        with pytest.warns(TruncationWarning) as shared:
            encoder.encode(MANY, instruction=INSTRUCTION)
        assert [str(one.message) for one in shared] == [str(caught[0].message)]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            encoder.encode(TEXTS, instruction=INSTRUCTION)


@pytest.mark.usefixtures("pools")
def test_errors_of_texts_pass_unchanged() -> None:
    with two_devices(truncate_layers=9) as encoder:
        with pytest.raises(ValueError, match="the backbone has 2 layers"):
            encoder.encode(TEXTS)
        assert not encoder._device_pool().broken


def test_after_a_worker_died_the_next_call_has_new_ones(pools: type[FakePool]) -> None:
    with two_devices() as encoder:
        expected = encoder.encode(TEXTS)
        pools.broken = True
        for _ in range(2):
            with pytest.raises(WorkerError, match=r"A worker process stopped, .* starts new"):
                encoder.encode(TEXTS)
        pools.broken = False
        np.testing.assert_array_equal(encoder.encode(TEXTS), expected)


@pytest.mark.usefixtures("pools")
def test_to_close_an_encoder_at_work_is_an_error_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    working, go_on = threading.Event(), threading.Event()

    def slow(request: Request) -> Any:
        working.set()
        assert go_on.wait(10)
        return np.zeros((len(request.texts), 32), np.float32), []

    monkeypatch.setattr(devices, "_encode", slow)
    monkeypatch.setattr(DevicePool.embed, "__kwdefaults__", {"chunk": 1})
    encoder = two_devices()
    with ThreadPoolExecutor(2) as threads:
        call = threads.submit(encoder.encode, TEXTS)
        assert working.wait(10)
        pool: Any = encoder._device_pool()._pool
        closing = threads.submit(encoder.close)
        while not pool._shutdown:
            time.sleep(0.001)
        go_on.set()
        closing.result()
        with pytest.raises(WorkerError, match="were stopped while they embedded texts"):
            call.result()
    with pytest.raises(ClosedEncoderError):
        encoder.encode(TEXTS)


@pytest.mark.usefixtures("pools")
def test_no_process_is_started_for_no_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "DevicePool", None)
    with two_devices() as encoder:
        assert encoder.encode([], instruction=INSTRUCTION).shape == (0, 32)


@pytest.fixture(scope="module")
def encoder() -> Iterator[InstructEncoder]:
    """With two real processes."""
    with two_devices() as found:
        yield found


def processes(encoder: InstructEncoder) -> list[Any]:
    return list((encoder._device_pool()._pool._processes or {}).values())


async def test_processes_give_the_same_vectors_and_one_warning(encoder: InstructEncoder) -> None:
    """One test, as every process takes seconds to start."""
    with one_device() as alone:
        expected = [alone.encode(TEXTS * 3, instruction=one) for one in (None, INSTRUCTION)]
    found = [encoder.encode(TEXTS * 3)]
    found.append(await encoder.aencode(TEXTS * 3, instruction=INSTRUCTION))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    with pytest.warns(TruncationWarning, match="2 of 15 texts") as caught:
        encoder.encode(MANY, instruction=INSTRUCTION)
    assert len(caught) == 1
    pids = {process.pid for process in processes(encoder)}
    assert len(pids - {os.getpid()}) == 2


def test_processes_end_with_close(encoder: InstructEncoder) -> None:
    encoder.encode(TEXTS)
    started = processes(encoder)
    encoder.close()
    for process in started:
        process.join(30)
        assert not process.is_alive()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_process_that_is_killed_is_an_error_and_is_replaced() -> None:
    with two_devices() as encoder:
        expected = encoder.encode(TEXTS)
        killed, other = processes(encoder)
        os.kill(killed.pid, signal.SIGKILL)
        killed.join(30)
        with pytest.raises(WorkerError, match="A worker process stopped"):
            encoder.encode(TEXTS)
        np.testing.assert_array_equal(encoder.encode(TEXTS), expected)
        other.join(30)
        assert not other.is_alive()
