"""Filters that would answer a constraint exactly, found in the metadata of sampled rows."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from instruct_embeddings._types import FloatArray, Metadata
from instruct_embeddings.retrieval.constraints import Constraint

Embed: TypeAlias = Callable[[Sequence[str]], FloatArray]
"""Generic unit vectors of texts, shape (n, d)."""
_Keys: TypeAlias = Mapping[str, Counter[str]]

_WORD = re.compile(r"\w+")
_MOST_VALUES = 40
_LONGEST_VALUE = 60  # characters
_LEAST_REPEATS = 2  # rows a value has on average; ids and titles have one
# "yes" answers a constraint only together with the meaning of its key.
_ANSWERS = frozenset({"yes", "no", "true", "false", "none", "other", "unknown", "n", "y", ""})
# fmt: off
_FILLER = frozenset((
    "a", "an", "the", "of", "in", "on", "at", "to", "for", "from", "with", "without", "by", "and",
    "or", "not", "no", "any", "all", "that", "which", "who", "is", "are", "be", "it", "its",
    "this", "these", "those", "has", "have", "uses", "use", "using",
))
# fmt: on
# With all-MiniLM-L6-v2 "GUI" and "graphical" have 0.69, "billing problems" and "billing" 0.78;
# "entertainment" and "games" 0.55, with "education" at 0.51.
CLOSE = 0.6
_LEAD = 0.1


@dataclass(frozen=True)
class FilterProposal:
    """A filter on metadata that would answer a constraint exactly."""

    constraint: Constraint
    where: Mapping[str, Any]  # such as {"interface": "graphical"}
    key: str
    values: tuple[str, ...]  # those of the key that the constraint names
    found_by: Literal["words", "meaning"]  # its own words, or generic vectors that are close
    rows: int  # sampled rows that have the key with a text
    passing: int  # sampled rows that pass the filter


def propose_filter(
    constraint: Constraint,
    metadatas: Sequence[Metadata],
    *,
    embed: Embed | None = None,
    close: float = CLOSE,
) -> FilterProposal | None:
    """The filter that answers a constraint exactly, if the metadata of some rows can.

    Keys with few distinct texts are looked at. A value answers where all its words stand in the
    phrase: "graphical" in "tools with a graphical interface", "command-line" in "command line
    tools". Where none does, the value whose generic vector is close to that of the phrase does, if
    its cosine is at least `close` and leads over all others. A wish ("prefer") gets no filter: that
    would drop everything else. Without `embed` words alone are compared.
    """
    if constraint.kind == "prefer":
        return None
    keys = _text_keys(metadatas)
    found_by: Literal["words", "meaning"] = "words"
    found = _by_words(constraint.phrase, keys)
    if found is None and embed is not None:
        found_by, found = "meaning", _by_meaning(constraint.phrase, keys, embed, close)
    if found is None:
        return None
    key, values = found
    unwanted = constraint.kind == "no"
    condition: Any
    if len(values) > 1:
        condition = {"$nin" if unwanted else "$in": list(values)}
    else:
        condition = {"$ne": values[0]} if unwanted else values[0]
    having = sum(keys[key][value] for value in values)
    return FilterProposal(
        constraint,
        where={key: condition},
        key=key,
        values=values,
        found_by=found_by,
        rows=keys[key].total(),
        passing=len(metadatas) - having if unwanted else having,
    )


def _text_keys(metadatas: Sequence[Metadata]) -> _Keys:
    """Metadata keys with few distinct texts, and how many rows have each."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for metadata in metadatas:
        for key, value in metadata.items():
            if isinstance(value, str):
                found[key][value] += 1
    return {
        key: counts
        for key, counts in sorted(found.items())
        if len(counts) <= _MOST_VALUES
        and counts.total() >= _LEAST_REPEATS * len(counts)
        and max(map(len, counts)) <= _LONGEST_VALUE
    }


def _by_words(phrase: str, keys: _Keys) -> tuple[str, tuple[str, ...]] | None:
    """The key that has values in the words of the phrase: the one that most of them are in."""
    words = _words(phrase)
    best: tuple[str, tuple[str, ...]] | None = None
    most = (0, 0, 0)
    for key, counts in keys.items():
        own = _words(key)
        named = {value: _words(value) - own or _words(value) for value in counts}
        named = {value: its for value, its in named.items() if its and its <= words}
        # "line" is no value of its own where "command line" is one.
        kept = [value for value, its in named.items() if not any(its < x for x in named.values())]
        covered = frozenset[str]().union(*(named[value] for value in kept))
        rank = (len(covered), len(own & words), counts.total())
        if kept and rank > most:
            best, most = (key, tuple(sorted(kept))), rank
    return best


def _by_meaning(
    phrase: str, keys: _Keys, embed: Embed, close: float
) -> tuple[str, tuple[str, ...]] | None:
    """The one value that is close to the phrase, and closer than all others."""
    pairs = [(key, value) for key, counts in keys.items() for value in counts if _words(value)]
    if not pairs:
        return None
    vectors = embed([phrase, *(_readable(value) for _, value in pairs)])
    cosines = vectors[1:] @ vectors[0]
    order = np.argsort(-cosines, kind="stable")
    best = float(cosines[order[0]])
    second = float(cosines[order[1]]) if len(order) > 1 else -1.0
    if best < close or best - second < _LEAD:
        return None
    key, value = pairs[int(order[0])]
    return key, (value,)


def _words(text: str) -> frozenset[str]:
    """The words that say something, in the singular; hyphens and colons part words."""
    found = _WORD.findall(text.casefold().replace("_", " "))
    words = frozenset(_singular(word) for word in found if word not in _FILLER)
    return words - _ANSWERS


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return f"{word[:-3]}y"
    plural = len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is"))
    return word[:-1] if plural else word


def _readable(value: str) -> str:
    return " ".join(_WORD.findall(value.replace("_", " "))) or value
