import threading
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from instruct_embeddings.encoder import InstructEncoder, runner
from instruct_embeddings.encoder.model import InstEmb
from instruct_embeddings.encoder.model_cache import CachedModel, LoadedModel
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.runner import Runner
from instruct_embeddings.encoder.template import TokenBatch
from instruct_embeddings.errors import EncoderMemoryError, TruncationWarning
from tests.models import INSTRUCTION, TEXTS, tiny, tiny_checkpoint

ROWS = [[1] * length for length in (5, 1, 3, 3, 2, 5, 4, 1)]
FULL: list[Exception] = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError(),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory"
    ),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
]


class Memory:
    """A forward pass that sums ids, and fails above a number of tokens."""

    def __init__(self, tokens: int = 10**9, error: Exception | None = None) -> None:
        self.tokens = tokens
        self.error = error or FULL[0]
        self.seen: list[tuple[int, int]] = []

    def __call__(self, batch: TokenBatch) -> Tensor:
        self.seen.append((batch.ids.shape[0], batch.ids.shape[1]))
        if batch.ids.numel() > self.tokens:
            raise self.error
        return (batch.ids * batch.mask).sum(1, keepdim=True).float()[None]


def tiny_runner(loaded: LoadedModel | None = None, **options: Any) -> Runner:
    """A runner without a model."""
    body = SimpleNamespace(dtype=torch.float32)
    backbone = SimpleNamespace(
        causal=False, needs_right_padding=True, body=body, truncated=lambda _: nullcontext()
    )
    model: Any = SimpleNamespace(backbone=backbone, modules=list)
    template: Any = SimpleNamespace(pad_id=0)
    return Runner(
        loaded or LoadedModel(model, template, "cpu"), CachedModel(), EncoderOptions(**options)
    )


def sums(found: Runner, forward: Memory, rows: list[list[int]] = ROWS) -> list[float]:
    """In the order of the rows."""
    out = np.full(len(rows), np.nan)
    for indices, result in found.run(rows, forward):
        out[indices] = result[0, :, 0]
    return [float(number) for number in out]


LENGTHS = [float(len(row)) for row in ROWS]


def test_results_come_back_to_their_places() -> None:
    forward = Memory()
    assert sums(tiny_runner(batch_tokens=10), forward) == LENGTHS
    # Longest first, at most ten tokens with padding: 5+5, 4+3, 3+2+1, 1.
    assert forward.seen == [(2, 5), (2, 4), (3, 3), (1, 1)]


def test_no_batch_has_more_rows_than_batch_size() -> None:
    forward = Memory()
    assert sums(tiny_runner(batch_tokens=100, batch_size=3), forward) == LENGTHS
    assert forward.seen == [(3, 5), (3, 3), (2, 1)]


def test_a_text_beyond_the_budget_has_a_batch_of_its_own() -> None:
    forward = Memory()
    assert sums(tiny_runner(batch_tokens=3), forward) == LENGTHS
    assert forward.seen[:3] == [(1, 5), (1, 5), (1, 4)]


@pytest.mark.parametrize("error", FULL, ids=lambda error: f"{type(error).__name__} {error}"[:40])
def test_batches_are_halved_when_memory_runs_out_and_that_is_remembered(error: Exception) -> None:
    forward = Memory(12, error)
    found = tiny_runner(batch_tokens=40)
    assert sums(found, forward) == LENGTHS
    # 8 rows of 5 do not fit, 4 of 5 neither, 2 of 5 do.
    assert forward.seen[:3] == [(8, 5), (4, 5), (2, 5)]
    assert found.loaded.batch_tokens == 10
    again = Memory(12, error)
    assert sums(found, again) == LENGTHS
    assert all(rows * steps <= 10 for rows, steps in again.seen)


def test_a_batch_made_before_memory_ran_out_is_not_tried_whole() -> None:
    forward = Memory(12)
    rows = [[1] * 5] * 24
    assert sums(tiny_runner(batch_tokens=40), forward, rows) == [5.0] * 24
    assert [shape for shape in forward.seen if shape[0] * shape[1] > 12] == [(8, 5), (4, 5)]


def test_what_was_remembered_holds_for_all_who_share_the_model_and_asks_for_less_stay() -> None:
    first = tiny_runner(batch_tokens=40)
    sums(first, Memory(12))
    second = Memory(12)
    sums(tiny_runner(first.loaded, batch_tokens=4), second)
    assert max(rows * steps for rows, steps in second.seen if rows > 1) <= 4


def test_a_single_text_that_does_not_fit_is_an_error_of_its_own() -> None:
    with pytest.raises(EncoderMemoryError, match=r"text of 5 tokens\. Use a smaller max_tok"):
        sums(tiny_runner(batch_tokens=40), Memory(4))


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes cannot be multiplied"), ValueError("no"), KeyError("x")]
)
def test_other_errors_pass(error: Exception) -> None:
    found = tiny_runner(batch_tokens=40)
    with pytest.raises(type(error)) as caught:
        sums(found, Memory(12, error))
    assert caught.value is error
    assert found.loaded.batch_tokens is None


def test_the_lock_is_held_during_a_pass_and_free_between() -> None:
    found = tiny_runner(batch_tokens=5)
    held: list[bool] = []

    def is_held() -> bool:
        """Whether another thread would have to wait."""
        got: list[bool] = []

        def ask() -> None:
            got.append(found.entry.lock.acquire(blocking=False))
            if got[0]:
                found.entry.lock.release()

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        return not got[0]

    def forward(batch: TokenBatch) -> Tensor:
        held.append(is_held())
        return batch.ids.float()[None, :, :1]

    for _ in found.run(ROWS, forward):
        assert not is_held()
    assert held
    assert all(held)


def watch(monkeypatch: pytest.MonkeyPatch, limit: int) -> list[int]:
    """Tokens of each forward pass of an encoder; more than the limit do not fit."""
    seen: list[int] = []
    for name in ("generic", "forward"):
        run: Callable[..., Tensor] = getattr(InstEmb, name)

        def limited(self: InstEmb, batch: TokenBatch, run: Any = run, **more: Any) -> Tensor:
            seen.append(batch.ids.numel())
            if batch.ids.numel() > limit:
                raise FULL[2]
            result: Tensor = run(self, batch, **more)
            return result

        monkeypatch.setattr(InstEmb, name, limited)
    return seen


@pytest.mark.usefixtures("nothing_loaded")
@pytest.mark.parametrize("instruction", [None, INSTRUCTION])
def test_an_encoder_gives_the_same_vectors_with_little_memory(
    monkeypatch: pytest.MonkeyPatch, instruction: str | None
) -> None:
    with InstructEncoder.from_pretrained(tiny_checkpoint(), device="cpu") as encoder:
        expected = encoder.encode(TEXTS * 5, instruction=instruction)
        seen = watch(monkeypatch, 60)
        found = encoder.encode(TEXTS * 5, instruction=instruction)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert max(seen) > 60
        seen.clear()
        encoder.with_options(batch_tokens=500).encode(TEXTS * 5, instruction=instruction)
        assert 0 < max(seen) <= 60
        with pytest.raises(EncoderMemoryError, match="on cpu for a single text"):
            encoder.encode(["the red ball " * 30], instruction=instruction)


@pytest.mark.parametrize("causal", [False, True])
def test_windows_of_texts_give_the_same_vectors(
    monkeypatch: pytest.MonkeyPatch, causal: bool
) -> None:
    texts = [*TEXTS, "the red ball " * 60, *TEXTS[::-1], "a ring"]
    model = tiny_checkpoint("qwen2" if causal else "bert")
    sizes: list[int] = []

    def both(encoder: InstructEncoder) -> list[Any]:
        with pytest.warns(TruncationWarning, match="1 of 14 texts are longer") as first:
            found = encoder.encode(texts, instruction=INSTRUCTION, on_batch=sizes.append)
        with pytest.warns(TruncationWarning, match="1 of 14 texts are longer") as second:
            grid = encoder.encode_grid(texts, [INSTRUCTION, "how many"])
        assert (len(first), len(second)) == (1, 1)
        return [found, *grid]

    with InstructEncoder.from_pretrained(model, device="cpu", normalize=False) as encoder:
        expected = both(encoder)
        sizes.clear()
        monkeypatch.setattr(runner, "WINDOW", 4)
        np.testing.assert_allclose(both(encoder), expected, atol=1e-4)
    assert sum(sizes) == 14
    assert len(sizes) >= 4


def test_batches_of_an_encoder_stay_within_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watch(monkeypatch, 10**9)
    with InstructEncoder.from_pretrained(tiny(), device="cpu", batch_tokens=26) as encoder:
        sizes: list[int] = []
        encoder.encode(TEXTS * 3, on_batch=sizes.append)
        assert max(seen) <= 26
        assert sum(sizes) == 18
        sizes.clear()
        encoder.with_options(batch_size=5, batch_tokens=None).encode(
            TEXTS * 3, on_batch=sizes.append
        )
        assert sizes == [5, 5, 5, 3]
