"""Ids for a sample of a collection that is too large to list them."""

from collections.abc import Callable, Sequence
from math import ceil, isqrt
from typing import TypeAlias

import numpy as np

BLOCKS = 64
_MOST = 16_384
_SPARE = 1.25
# Ids that pass an expression, in their order and so many at most.
Keys: TypeAlias = Callable[[str, int], list[str]]


def by_rests(keys: Keys, key: str, size: int, total: int, rng: np.random.Generator) -> list[str]:
    """Numbers that leave a random rest when divided by a prime: at least `size`, if there are."""
    prime = _prime(max(2, int(total / (_SPARE * size))))
    ids: dict[str, None] = {}
    for rest in rng.permutation(prime):
        # The rest of a negative number is negative.
        asked = f"{key} % {prime} == {rest} or {key} % {prime} == {rest - prime}"
        ids |= dict.fromkeys(keys(asked, _MOST))
        if len(ids) >= size:
            break
    return sorted(ids, key=int)


def by_blocks(keys: Keys, starts: Sequence[str], size: int, rng: np.random.Generator) -> list[str]:
    """Texts in blocks, each from a random one of some starts on: at least `size`, if there are."""
    ids: set[str] = set()
    for start in rng.permutation(len(starts)):
        ids.update(keys(starts[start], ceil(size / min(BLOCKS, size, len(starts)))))
        if len(ids) >= size:
            break
    return sorted(ids)


def _prime(most: int) -> int:
    """The largest prime that is not larger."""
    while any(most % one == 0 for one in range(2, isqrt(most) + 1)):
        most -= 1
    return most
