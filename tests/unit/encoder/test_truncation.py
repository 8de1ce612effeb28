"""Long texts are cut in characters first, and their tokens stay the same."""

import time
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from instruct_embeddings import InstructEncoder
from instruct_embeddings.encoder.settings import TemplateSettings
from instruct_embeddings.encoder.template import Template
from instruct_embeddings.errors import TruncationWarning
from tests.models import TEXTS, tiny

CORPUS = [
    *TEXTS,
    "Füße 東京 tower, 12.5 % of it!\n\nand\tmore   spaces",
    "naïve don't do-it (x)",
] * 9
# As GPT-2, and as models of today that let line breaks follow punctuation.
PATTERN = Regex(
    r"'s|'t|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIALS = ["[UNK]", "[PAD]"]


def wordpiece() -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=12))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return trained(made, trainers.WordPieceTrainer(vocab_size=120, special_tokens=SPECIALS))


def byte_level(pattern: bool = False) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if pattern:
        made.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(PATTERN, "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    how = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, special_tokens=SPECIALS)
    return trained(made, how)


def unigram() -> Tokenizer:
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    how = trainers.UnigramTrainer(vocab_size=120, special_tokens=SPECIALS, unk_token="[UNK]")
    return trained(made, how)


def unigram_of_runs() -> Tokenizer:
    """What is left of a run that four does not divide stands at its beginning."""
    scores = [("[UNK]", 0.0), ("▁", -2.0), ("=", -3.0), ("==", -4.0), ("====", -5.0)]
    made = Tokenizer(models.Unigram(scores, unk_id=0))
    made.normalizer = normalizers.Replace("\n", " ")
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    return made


def whole_text_bpe(*, across: bool = False) -> Tokenizer:
    """As Llama 2 and Gemma: nothing is split, and merges run over the whole text."""
    letters = sorted({letter for text in CORPUS for letter in text} - {" "} | {"▁"})
    merges = [("r", "e"), ("re", "d"), ("▁", "re"), ("▁", "▁"), ("t", "h"), ("th", "e")]
    if across:
        merges.append(("d", "▁"))
    vocabulary = {token: place for place, token in enumerate([*SPECIALS, *letters])}
    for first, second in merges:
        vocabulary.setdefault(first + second, len(vocabulary))
    made = Tokenizer(models.BPE(vocabulary, merges, unk_token="[UNK]", fuse_unk=True))
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    return made


def trained(made: Tokenizer, how: Any) -> Tokenizer:
    made.train_from_iterator(CORPUS, how)
    return made


KINDS = {
    "wordpiece": wordpiece,
    "byte level": byte_level,
    "pattern": lambda: byte_level(pattern=True),
    "unigram": unigram,
    "unigram of runs": unigram_of_runs,
    "whole text": whole_text_bpe,
    "across": lambda: whole_text_bpe(across=True),
}


@cache
def tokenizer(kind: str) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=KINDS[kind](), unk_token="[UNK]", pad_token="[PAD]"
    )


class Reader:
    """A template that counts the characters that are tokenised."""

    def __init__(self, kind: str | PreTrainedTokenizerFast) -> None:
        self.template = Template(
            tokenizer(kind) if isinstance(kind, str) else kind, TemplateSettings(), pairs=False
        )
        self.read, self._ids = 0, self.template._ids
        self.template._ids = self._counted  # type: ignore[method-assign]

    def __call__(self, texts: Sequence[str], room: int | None = None) -> list[list[int]]:
        return self.template.tokenise(texts, room=room)

    def _counted(self, texts: Sequence[str]) -> list[list[int]]:
        self.read += sum(map(len, texts))
        return self._ids(texts)


PIECES = (
    *(" ", "\n", "\t", "  ", "\n\n", "!\n", ".", ",", "!", "(", ")", "-"),
    *("red", "the", "don't", "a", "12", "½", "Füße", "東京", "e\u0301", "\u0301", "\u00a0"),
    *("xyzzy" * 5, "[PAD]", "▁"),
)


def check(reader: Reader, texts: Sequence[str], room: int) -> None:
    whole, found = reader(texts), reader(texts, room)
    assert [ids[:room] for ids in found] == [ids[:room] for ids in whole]
    assert [len(ids) > room for ids in found] == [len(ids) > room for ids in whole]


@pytest.mark.parametrize("kind", KINDS)
@given(
    pieces=st.lists(st.sampled_from(PIECES), max_size=50),
    repeated=st.integers(1, 60),
    room=st.integers(1, 9),
)
def test_the_tokens_that_are_kept_are_those_of_the_whole(
    kind: str, pieces: list[str], repeated: int, room: int
) -> None:
    check(Reader(kind), ["".join(pieces) * repeated, " ".join(pieces * repeated), "red", ""], room)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text", ["a", "東", "!\n", " ", "red ball", "Füße", "ab", "the", "12", "=", "\t="]
)
def test_texts_without_a_place_to_cut_too(kind: str, text: str) -> None:
    check(Reader(kind), [text * number for number in range(700, 5_000, 237)], 20)


@pytest.mark.parametrize("kind", KINDS)
def test_no_more_is_read_than_is_kept(kind: str) -> None:
    reader = Reader(kind)
    texts = ["the red ball sits on the table. " * 30_000, "red " * 250_000, "blue\n" * 200_000]
    reader.read = 0
    found = reader(texts, 100)
    assert min(map(len, found)) > 100
    assert reader.read <= 3 * 8 * 230


def test_a_text_of_much_space_is_read_until_it_yields_enough() -> None:
    reader = Reader("wordpiece")
    text = ("red" + " " * 500) * 8_000
    reader.read = 0
    (found,) = reader([text], 20)
    assert found[:21] == (reader(["red"])[0] * 21)[:21]
    assert reader.read < 400_000


@pytest.mark.filterwarnings("ignore::instruct_embeddings.errors.TruncationWarning")
def test_a_megabyte_is_read_as_fast_as_what_is_kept_of_it() -> None:
    """Twenty of them took 76 seconds."""
    texts = [f"{word} " + "the red ball sits on the table " * 33_000 for word in ("a", "red")] * 10
    with InstructEncoder.from_pretrained(tiny(), device="cpu", max_tokens=20) as encoder:
        encoder.encode(["a"])
        started = time.process_time()
        with pytest.warns(TruncationWarning, match="20 of 20 texts"):
            found = encoder.encode(texts)
        grid = encoder.encode_grid(texts[:2], ["which colour", "what shape"])
        assert time.process_time() - started < 5
        short = encoder.encode([text[:200] for text in texts])
    assert found == pytest.approx(short, abs=1e-6)
    assert grid.shape == (2, 2, 32)
