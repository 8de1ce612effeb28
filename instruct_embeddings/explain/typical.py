"""What is typical of a group of texts: its most telling words, and texts near its middle."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.transform.vectors import unit_rows

_WORD = re.compile(r"[^\W\d_]{3,}")
_FEWEST_TEXTS = 2
_CHANCE = 1.0
_ENDING = 3


def telling_words(
    texts: Sequence[str | None], groups: IntArray, count: int, *, most: int = 5
) -> list[tuple[str, ...]]:
    """Words that tell each group from all other texts, the most telling first.

    A word counts once a text. The shares of texts that hold it, inside and outside the group, are
    compared in standard errors of their difference. So neither rare words nor those of every text
    come out on top, and no list of stop words in any language is needed.

    Args:
        texts: Texts; None where a row has none.
        groups: Group of each text, shape (n,), from 0.
        count: Number of groups.
        most: Words wanted.

    Returns:
        At most `most` words for each group, each beyond chance by more than a standard error and
        in at least two of the group's texts, unless the group has a single one. Of a word and its
        plural only the more telling one appears.
    """
    bags = [set(_WORD.findall(text.casefold())) if text else set() for text in texts]
    everywhere = Counter(word for bag in bags for word in bag)
    total = sum(bool(bag) for bag in bags)
    found = []
    for group in range(count):
        own = [bags[row] for row in np.flatnonzero(groups == group) if bags[row]]
        counts = Counter(word for bag in own for word in bag)
        scores = {
            word: _surplus(inside, len(own), everywhere[word] - inside, total - len(own))
            for word, inside in counts.items()
            if inside >= min(_FEWEST_TEXTS, len(own))
        }
        best = sorted(scores, key=lambda word: (-scores[word], word))
        found.append(_different([word for word in best if scores[word] > _CHANCE], most))
    return found


def _different(words: Sequence[str], most: int) -> tuple[str, ...]:
    """The first words of which none is another with a few letters more, such as its plural."""
    kept: list[str] = []
    for word in words:
        if len(kept) == most:
            break
        if not any(_is_form(*sorted((word, other), key=len)) for other in kept):
            kept.append(word)
    return tuple(kept)


def _is_form(short: str, long: str) -> bool:
    return long.startswith(short) and len(long) - len(short) <= _ENDING


def _surplus(inside: int, texts: int, outside: int, others: int) -> float:
    """By how many standard errors a word is more frequent inside than outside."""
    if not texts or not others:
        return 0.0
    overall = (inside + outside) / (texts + others)
    error = np.sqrt(overall * (1 - overall) * (1 / texts + 1 / others))
    return float((inside / texts - outside / others) / error) if error > 0 else 0.0


def typical_rows(vectors: FloatArray, rows: IntArray, texts: Sequence[str | None]) -> list[int]:
    """The rows of a group from the nearest to its mean direction on, without repeated texts.

    Args:
        vectors: Unit vectors of all rows, shape (n, p).
        rows: Positions of the group's rows, shape (m,).
        texts: Texts of all rows; rows without one are left out.
    """
    middle = unit_rows(vectors[rows].mean(0, keepdims=True))[0]
    order = rows[np.argsort(-(vectors[rows] @ middle), kind="stable")]
    first = {text: int(row) for row in reversed(order) if (text := texts[row])}
    return sorted(first.values(), key=order.tolist().index)
