"""Long texts are truncated before tokenisation: a megabyte is not read for a few hundred tokens.

A text may be cut only where that cannot change a token in front of the cut. That is so between a
letter or digit and the space or line break behind it, where no token of the vocabulary holds both,
or where the tokenizer splits there before it looks for tokens. Where a tokenizer promises neither,
texts are tokenised as a whole.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# More than a token has in any language that is written with spaces, so one look is enough.
CHARACTERS = 8
_GROWTH = 4
_WINDOW = 512
_CUT = re.compile(r"[^\W_](?=[ \n])")
_ACROSS = re.compile(r"[^\W_][ \n]")
# As vocabularies write a space and a line break: plain, of SentencePiece, of byte-level ones.
_SPACES = " \n▁ĠĊ"
_LATER_SPACE = re.compile(f"(?<=.)[{_SPACES}]", re.DOTALL)
_BY_CHARACTER = {
    "BertNormalizer",
    "ByteLevel",
    "Lowercase",
    "NFC",
    "NFD",
    "NFKC",
    "NFKD",
    "Nmt",
    "Precompiled",
    "Prepend",
    "Strip",
    "StripAccents",
}
_SPACES_ALONE = (" {2,}", r"\s+", r"\n", " +")


class Truncator:
    """Tokenises only as much of a text as is kept."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        """Hold a tokenizer; it is looked at when the first long text comes."""
        self._tokenizer: Any = tokenizer

    def ids(
        self,
        texts: Sequence[str],
        room: int,
        tokenise: Callable[[Sequence[str]], list[list[int]]],
    ) -> list[list[int]]:
        """Token ids of each text: all of them, or more than `room`, the first ones right."""
        if not self.can_cut:
            return tokenise(texts)
        size = CHARACTERS * (room + 1)
        found: dict[int, list[int]] = {}
        while remaining := [i for i in range(len(texts)) if i not in found]:
            starts = {i: beginning(texts[i], size) for i in remaining}
            # An empty start is the whole of an empty text; of any other, more has to be read.
            chosen = [i for i in remaining if starts[i] or not texts[i]]
            ids_of = tokenise([starts[i] for i in chosen]) if chosen else []
            found |= {
                i: ids
                for i, ids in zip(chosen, ids_of, strict=True)
                if len(ids) > room or len(starts[i]) == len(texts[i])
            }
            size *= _GROWTH
        return [found[i] for i in range(len(texts))]

    @cached_property
    def can_cut(self) -> bool:
        """Whether a cut cannot change what stands in front of it."""
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is None or not all(map(_is_local, _flattened(backend.normalizer))):
            return False
        added = self._tokenizer.added_tokens_decoder.values()
        if any(_ACROSS.search(token.content) for token in added):
            return False
        kind = type(backend.model).__name__
        if kind in ("WordPiece", "WordLevel"):
            return _splits(backend.pre_tokenizer)
        return kind in ("BPE", "Unigram") and _keeps_apart(backend)


def beginning(text: str, size: int) -> str:
    """At most `size` characters up to where a text may be cut; all of one that is little longer.

    Empty where it may be cut nowhere.
    """
    if len(text) <= 2 * size:
        return text
    for end in range(size, 0, -_WINDOW):
        cuts = [hit.end() for hit in _CUT.finditer(text, max(0, end - _WINDOW), end)]
        if cuts:
            return text[: cuts[-1]]
    return ""


def _flattened(normalizer: Any) -> Iterable[dict[str, Any]]:
    """The normalisers of a sequence, as plain data."""
    if normalizer is None:
        return []
    try:
        remaining, found = [json.loads(normalizer.__getstate__())], []
    except (TypeError, ValueError):
        return [{"type": "unknown"}]
    while remaining:
        one = remaining.pop()
        remaining.extend(one.get("normalizers", []))
        if one.get("type") != "Sequence":
            found.append(one)
    return found


def _is_local(normalizer: dict[str, Any]) -> bool:
    """Whether it changes nothing in front of a space by what stands behind it."""
    kind = normalizer.get("type")
    if kind != "Replace":
        return kind in _BY_CHARACTER
    pattern = normalizer.get("pattern", {})
    if "Regex" in pattern:
        return pattern["Regex"] in _SPACES_ALONE
    return not _ACROSS.search(pattern.get("String", "a "))


def _splits(pre_tokenizer: Any) -> bool:
    """Whether words are split before any token is looked for."""
    if pre_tokenizer is None:
        return False
    for space in " \n":
        pieces = pre_tokenizer.pre_tokenize_str(f"aa{space}bb")
        if any(start < 2 < end for _, (start, end) in pieces):
            return False
    return True


def _keeps_apart(backend: Any) -> bool:
    """Whether no token holds a letter or digit and a space behind it."""
    vocabulary = backend.get_vocab(with_added_tokens=False)
    in_bytes = "Ġ" in vocabulary
    if not in_bytes and "▁" not in vocabulary:
        return False
    # Outside ASCII, a byte may be the end of a letter.
    for token in vocabulary:
        for hit in _LATER_SPACE.finditer(token):
            before = token[hit.start() - 1]
            letter = before.isalnum() or (in_bytes and ord(before) > 127)
            if letter and before not in _SPACES:
                return False
    return True
