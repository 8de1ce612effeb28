"""Seconds: of a query with and without an instruction, and of encoding everything again."""

import time
from collections.abc import Callable, Sequence
from random import Random
from statistics import median
from typing import TYPE_CHECKING

from instruct_embeddings.cli.encoders import TextEncoder

if TYPE_CHECKING:
    from instruct_embeddings.retrieval.retriever import InstructRetriever

_REPEATS = 15
_SMALLEST_SLICE, _LARGEST_SLICE = 64, 512


def query_seconds(
    engine: "InstructRetriever", encoder: TextEncoder, text: str, instruction: str, k: int
) -> dict[str, float]:
    """Medians of several runs: encoding the query, the generic and the adapted search."""
    vector = encoder.encode([text])[0]
    return {
        "encode": _median(lambda: encoder.encode([text])),
        "generic": _median(lambda: engine.search(vector, k=k)),
        "adapted": _median(lambda: engine.search(vector, k=k, instruction=instruction)),
    }


def reencoding(encoder: TextEncoder, texts: Sequence[str]) -> dict[str, float]:
    """What encoding all texts again would take: measured on a slice, scaled to all."""
    size = min(max(len(texts) // 40, _SMALLEST_SLICE), _LARGEST_SLICE, len(texts))
    part = Random(0).sample(texts, size)
    started = time.perf_counter()
    encoder.encode(part)
    seconds = time.perf_counter() - started
    return {
        "texts": len(texts),
        "measured_texts": len(part),
        "measured_seconds": seconds,
        "scaled_seconds": seconds * len(texts) / len(part),
    }


def _median(call: Callable[[], object]) -> float:
    times = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return median(times)
