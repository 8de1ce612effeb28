"""Chunks with the text around them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder import InstructEncoder
from instruct_embeddings.encoder.situated import Span, _first, find_spans
from instruct_embeddings.errors import ConfigError, TextError
from tests.models import WORDS
from tests.unit.encoder.conftest import Shelf

STORY = " ".join(WORDS[:12])
CHUNKS = [" ".join(WORDS[:4]), " ".join(WORDS[4:9]), " ".join(WORDS[9:12])]
BOTH = pytest.mark.parametrize("kind", ["bert", "llama"])


def by_hand(shelf: Shelf, kind: str, text: str, words: slice) -> FloatArray:
    """The mean of the states of some words, each one token, as transformers computes them."""
    tokenizer = AutoTokenizer.from_pretrained(shelf.model(kind))
    given = tokenizer(text, return_tensors="pt", return_offsets_mapping=True)
    offsets = given.pop("offset_mapping")[0]
    real = torch.nonzero(offsets[:, 1] > offsets[:, 0])[:, 0]
    with torch.inference_mode():
        states = shelf.raw(kind).base_model(**given).last_hidden_state[0]
    mean = states[real[words]].mean(0)
    return np.asarray(mean / mean.norm())


@BOTH
def test_states_of_a_chunk_are_read_in_its_context(shelf: Shelf, kind: str) -> None:
    found = shelf.encoder(kind).encode_situated(CHUNKS, [STORY] * 3, share=1)
    for row, words in zip(found, (slice(0, 4), slice(4, 9), slice(9, 12)), strict=True):
        np.testing.assert_allclose(row, by_hand(shelf, kind, STORY, words), atol=1e-5)


def test_without_a_share_a_chunk_has_its_own_vector(shelf: Shelf) -> None:
    encoder = shelf.encoder("bert")
    found = encoder.encode_situated(CHUNKS, [STORY] * 3, share=0)
    np.testing.assert_allclose(found, encoder.encode(CHUNKS), atol=1e-6)


def test_between_both_lies_their_sum(shelf: Shelf) -> None:
    encoder = shelf.encoder("bert")
    own, late, between = (
        encoder.encode_situated(CHUNKS, [STORY] * 3, share=share) for share in (0, 1, 0.25)
    )
    sums = 0.75 * own + 0.25 * late
    np.testing.assert_allclose(
        between, sums / np.linalg.norm(sums, axis=1, keepdims=True), atol=1e-5
    )


@BOTH
@pytest.mark.parametrize("side", ["left", "right"])
def test_neither_order_nor_company_nor_padding_counts(shelf: Shelf, kind: str, side: str) -> None:
    encoder = shelf.encoder(kind).with_options(padding_side=side)
    if side == "left" and kind == "bert":
        encoder = shelf.encoder(kind)
    other = " ".join(WORDS[20:23])
    found = encoder.encode_situated([other, *CHUNKS[::-1]], [other, *[STORY] * 3], share=1)
    alone = [encoder.encode_situated([chunk], [STORY], share=1)[0] for chunk in CHUNKS]
    np.testing.assert_allclose(found[1:][::-1], alone, atol=1e-5)


def test_a_long_context_is_read_in_windows(shelf: Shelf) -> None:
    text = " ".join(WORDS[:20])
    encoder = shelf.encoder("llama").with_options(max_tokens=8)
    overhead = 8 - encoder._running().frame(None).room
    room = 8 - overhead
    chunk = " ".join(WORDS[10:13])
    found = encoder.encode_situated([chunk], [text], share=1)[0]
    first = _first(10, 13, 20, room)
    window = " ".join(WORDS[first : first + room])
    expected = by_hand(shelf, "llama", window, slice(10 - first, 13 - first))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@given(st.data())
def test_a_window_holds_its_span(data: st.DataObject) -> None:
    room = data.draw(st.integers(1, 40))
    length = data.draw(st.integers(1, 200))
    begin = data.draw(st.integers(0, length - 1))
    end = data.draw(st.integers(begin + 1, min(length, begin + room)))
    first = _first(begin, end, length, room)
    assert 0 <= first <= begin
    assert end <= first + room
    assert first <= max(0, length - room)


@given(st.lists(st.text("ab ", max_size=4), max_size=6))
def test_pieces_of_a_text_are_found_where_they_stand(pieces: list[str]) -> None:
    text = "".join(pieces)
    starts = [len("".join(pieces[:i])) for i in range(len(pieces))]
    given_starts = find_spans(pieces, [text] * len(pieces), starts)
    assert [text[span.start : span.stop] for span in given_starts] == pieces
    looked_for = find_spans(pieces, [text] * len(pieces))
    assert [text[span.start : span.stop] for span in looked_for] == pieces


def test_chunks_of_the_same_words_are_told_apart_by_their_order() -> None:
    assert find_spans(["ha", "ha", "ha"], ["ha ha"] * 3) == [Span(0, 2), Span(3, 5), Span(0, 2)]


def test_a_chunk_without_a_token_keeps_its_own_vector(shelf: Shelf) -> None:
    encoder = shelf.encoder("bert")
    found = encoder.encode_situated([" ", CHUNKS[1]], [STORY, STORY])
    np.testing.assert_allclose(found[0], encoder.encode([" "])[0], atol=1e-6)


def test_precision_and_dimension_are_those_of_the_encoder(shelf: Shelf) -> None:
    encoder = shelf.encoder("bert")
    full = encoder.encode_situated(CHUNKS, [STORY] * 3)
    short = encoder.with_options(truncate_dim=8).encode_situated(CHUNKS, [STORY] * 3)
    cut = full[:, :8] / np.linalg.norm(full[:, :8], axis=1, keepdims=True)
    np.testing.assert_allclose(short, cut, atol=1e-5)
    bits = encoder.with_options(precision="binary").encode_situated(CHUNKS, [STORY] * 3)
    np.testing.assert_array_equal(np.unpackbits(bits, axis=1), full > 0)
    assert encoder.encode_situated([], []).shape == (0, full.shape[1])


def test_no_other_process_is_started(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = shelf.encoder("bert")
    monkeypatch.setattr(InstructEncoder, "_device_pool", lambda self: pytest.fail("a process"))
    several = encoder.with_options(device=None, devices=["cpu", "cpu"])
    found = several.encode_situated(CHUNKS, [STORY] * 3)
    np.testing.assert_allclose(found, encoder.encode_situated(CHUNKS, [STORY] * 3), atol=1e-6)


def test_what_cannot_be_placed_is_refused(shelf: Shelf) -> None:
    encoder = shelf.encoder("bert")
    with pytest.raises(TextError, match=r"Chunk 1, 'nowhere', does not stand in its context, a "):
        encoder.encode_situated([CHUNKS[0], "nowhere"], [STORY, STORY])
    with pytest.raises(TextError, match="at character 1, a text"):
        encoder.encode_situated([CHUNKS[0]], [STORY], starts=[1])
    with pytest.raises(TextError, match="at character -1"):
        encoder.encode_situated([STORY[-1]], [STORY], starts=[-1])
    with pytest.raises(ConfigError, match="2 chunks came with 1 contexts"):
        encoder.encode_situated(CHUNKS[:2], [STORY])
    with pytest.raises(ConfigError, match="1 chunks came with 2 starts"):
        encoder.encode_situated(CHUNKS[:1], [STORY], starts=[0, 1])
    with pytest.raises(ConfigError, match=r"share=2 is outside \[0, 1\]"):
        encoder.encode_situated(CHUNKS, [STORY] * 3, share=2)
    with pytest.raises(TypeError, match="bare str"):
        encoder.encode_situated(CHUNKS, STORY)  # type: ignore[arg-type]
    short = encoder.with_options(max_tokens=6)
    with pytest.raises(TextError, match=r"Chunk 0 has 12 tokens, and the model reads \d of a text"):
        short.encode_situated([STORY], [STORY])
