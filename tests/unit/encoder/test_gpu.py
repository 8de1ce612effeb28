"""On a CUDA device: `make test-gpu`."""

import numpy as np
import pytest
import torch

from instruct_embeddings import InstructEncoder
from tests.models import INSTRUCTION, TEXTS, tiny_checkpoint

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]


@pytest.mark.parametrize("kind", ["bert", "llama"])
@pytest.mark.parametrize("refine_steps", [0, 2])
def test_embeddings_are_those_of_the_cpu(kind: str, refine_steps: int) -> None:
    found = [
        InstructEncoder.from_pretrained(
            tiny_checkpoint(kind), device=device, dtype="float32"
        ).encode_grid(TEXTS, [INSTRUCTION, "what shape"], refine_steps=refine_steps)
        for device in ("cpu", "cuda")
    ]
    np.testing.assert_allclose(found[1], found[0], atol=2e-3)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_close(dtype: str) -> None:
    full = InstructEncoder.from_pretrained(tiny_checkpoint(), device="cuda", dtype="float32")
    half = full.with_options(dtype=dtype)
    cosines = (full.encode(TEXTS) * half.encode(TEXTS)).sum(1)
    assert cosines.min() > 0.99


def test_closing_gives_the_memory_of_the_device_back() -> None:
    before = torch.cuda.memory_allocated()
    with InstructEncoder.from_pretrained(tiny_checkpoint(), device="cuda") as encoder:
        encoder.encode(TEXTS, instruction=INSTRUCTION)
        assert torch.cuda.memory_allocated() > before
    assert torch.cuda.memory_allocated() == before


def test_batches_shrink_when_the_memory_of_the_device_runs_out() -> None:
    """A limit that two hundred rows exceed and twenty do not."""
    encoder = InstructEncoder.from_pretrained(tiny_checkpoint(), device="cuda")
    texts = ["red green blue round ball cube ring " * 14] * 2000
    expected = encoder.encode(texts[:1], instruction=INSTRUCTION)
    torch.cuda.empty_cache()
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 40e6) / total)
    try:
        found = encoder.with_options(batch_tokens=10**9).encode(texts, instruction=INSTRUCTION)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert encoder._load().batch_tokens is not None
    np.testing.assert_allclose(found, np.repeat(expected, 2000, axis=0), atol=2e-3)


def test_a_worker_process_has_a_device_of_its_own() -> None:
    here = InstructEncoder.from_pretrained(tiny_checkpoint(), device="cuda")
    with InstructEncoder.from_pretrained(tiny_checkpoint(), devices=("cuda:0",)) as apart:
        found = apart.encode(TEXTS, instruction=INSTRUCTION)
    np.testing.assert_allclose(found, here.encode(TEXTS, instruction=INSTRUCTION), atol=1e-4)
