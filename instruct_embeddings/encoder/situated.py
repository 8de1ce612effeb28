"""Chunks embedded with the text around them: late chunking (Günther et al., 2024, 2409.04701).

The text that a chunk was cut from is read as a whole, and the states of the chunk's own tokens are
averaged. What a chunk only hints at ("he", "the second one") is in its vector then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import normalize

from instruct_embeddings._reading import shown
from instruct_embeddings._types import BoolArray, FloatArray, IntArray
from instruct_embeddings.encoder.template import Ids
from instruct_embeddings.errors import ConfigError, TextError

if TYPE_CHECKING:
    from instruct_embeddings.encoder.runner import Runner

# Windows of a long text begin at multiples of a quarter of what the model reads, so that chunks
# share them.
_PARTS = 4


@dataclass(frozen=True)
class Span:
    """Characters of a chunk in its context: the first, and the one after the last."""

    start: int
    stop: int


@dataclass(frozen=True)
class _Window:
    """Tokens of one context that are read together, from `first` on."""

    context: int
    first: int


def find_spans(
    chunks: Sequence[str], contexts: Sequence[str], starts: Sequence[int] | None = None
) -> list[Span]:
    """Where each chunk stands in the context of the same position.

    Without `starts`, chunks of one context are looked for in their order, each behind the beginning
    of the one before.

    Raises:
        ConfigError: The lengths differ.
        TextError: A chunk does not stand in its context, or not at its start.
    """
    counts = {"contexts": len(contexts)} | ({} if starts is None else {"starts": len(starts)})
    for name, count in counts.items():
        if count != len(chunks):
            raise ConfigError(
                f"{len(chunks)} chunks came with {count} {name}. Pass one for each chunk."
            )
    found: list[Span] = []
    ahead: dict[str, int] = {}
    for i, (chunk, context) in enumerate(zip(chunks, contexts, strict=True)):
        if starts is None:
            start = context.find(chunk, ahead.get(context, 0))
            start = context.find(chunk) if start < 0 else start
        else:
            start = starts[i] if context.startswith(chunk, starts[i]) and starts[i] >= 0 else -1
        if start < 0:
            at = "" if starts is None else f" at character {starts[i]}"
            raise TextError(
                f"Chunk {i}, {shown(chunk)}, does not stand in its context{at}, a text of "
                f"{len(context):,} characters that begins with {shown(context[:60])}. Pass the "
                "text that it was cut from, unchanged."
            )
        ahead[context] = start + 1
        found.append(Span(start, start + len(chunk)))
    return found


def late_chunks(
    runner: "Runner", contexts: Sequence[str], spans: Sequence[Span]
) -> tuple[FloatArray, BoolArray]:
    """Unit vectors of spans in their contexts, shape (n, d), and which of them have a token.

    A context that is longer than the model reads is read in windows that overlap; the tokens of a
    span come from one window, around its middle.

    Raises:
        ConfigError: Generic vectors of the model are no means of token states, or its tokenizer
            does not say where tokens come from.
        TextError: A span alone is longer than the model reads.
    """
    model, template = runner.loaded.model, runner.loaded.template
    if model.settings.generic_pooling != "mean":
        raise ConfigError(
            f"Generic embeddings of this model are made by {model.settings.generic_pooling!r}, and "
            "states of the tokens of a chunk can only be averaged. Use a model whose pooling is "
            "'mean'."
        )
    frame = runner.frame(None)
    front = template.tokenise([frame.front])[0] if frame.front else []
    room = frame.room - len(front)
    numbers = {context: i for i, context in enumerate(dict.fromkeys(contexts))}
    tokens = [template.tokens_of(context) for context in numbers]
    windows: dict[_Window, list[tuple[int, int, int]]] = {}
    for i, (context, span) in enumerate(zip(contexts, spans, strict=True)):
        ids, characters = tokens[numbers[context]]
        own = _inside(characters, span)
        if not len(own):
            continue
        begin, end = int(own[0]), int(own[-1]) + 1
        if end - begin > room:
            raise TextError(
                f"Chunk {i} has {end - begin:,} tokens, and the model reads {room:,} of a text. "
                "Split it further, or raise max_tokens where the model allows it."
            )
        first = _first(begin, end, len(ids), room)
        asked = windows.setdefault(_Window(numbers[context], first), [])
        asked.append((i, begin - first, end - first))
    rows: list[Ids] = []
    for window in windows:
        ids = tokens[window.context][0][window.first : window.first + room]
        rows.append([*frame.head, *front, *ids, *frame.tail])
    lead = len(frame.head) + len(front)
    vectors = np.zeros((len(spans), model.backbone.hidden_size), dtype=np.float32)
    there = np.zeros(len(spans), dtype=np.bool_)
    held = list(windows.values())
    for batch, states in runner.run(rows, model.states):
        for row, number in enumerate(batch):
            for i, begin, end in held[number]:
                vectors[i] = states[row, lead + begin : lead + end].mean(axis=0)
                there[i] = True
    return _behind(runner, vectors), there


def mixed(own: FloatArray, late: FloatArray, there: BoolArray, share: float) -> FloatArray:
    """Unit vectors between a chunk's own and those in its context, all of shape (n, d).

    Those that are not `there`, shape (n,), stay their own.
    """
    weights = np.where(there, np.float32(share), np.float32(0))[:, None]
    sums = torch.from_numpy((1 - weights) * own + weights * late)
    return np.asarray(normalize(sums, dim=-1).numpy())


def _inside(characters: IntArray, span: Span) -> IntArray:
    """Positions of the tokens that have a character in the span, shape (t, 2) to (n,)."""
    begins, ends = characters[:, 0], characters[:, 1]
    return np.flatnonzero((begins < ends) & (ends > span.start) & (begins < span.stop))


def _first(begin: int, end: int, length: int, room: int) -> int:
    """First token of the window of a span, at a shared place where that holds all of it."""
    last = max(0, length - room)
    wanted = min(max(0, (begin + end - room) // 2), last)
    step = max(1, room // _PARTS)
    shared = min(round(wanted / step) * step, last)
    return shared if shared <= begin and end <= shared + room else wanted


def _behind(runner: "Runner", pooled: FloatArray) -> FloatArray:
    """What the layers behind the pooling make of it, of unit length."""
    with torch.inference_mode():
        given = torch.from_numpy(pooled).to(runner.loaded.device)
        found = normalize(runner.loaded.model.layers(given).float(), dim=-1)
    return np.asarray(found.cpu().numpy())
