"""The categories that a fitted transform sees: its labels, or clusters named by their words."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instruct_embeddings._extras import require
from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.errors import MissingExtraError
from instruct_embeddings.explain.explanation import Category
from instruct_embeddings.transform.problems import MIN_ROWS_PER_LABEL
from instruct_embeddings.transform.transform import InstructionTransform
from instruct_embeddings.transform.vectors import nearest_centre, spherical_k_means, unit_rows

MAX_CLUSTERS = 9
_ROWS_PER_CLUSTER = 10
_MIN_ROWS = 4
_TOLERANCE = 0.065
_TYPICAL_TEXTS = 3
_WORDS_IN_NAME = 3
_WORD = re.compile(r"[^\W\d_]{3,}")
_COMMON = 0.1  # share of other texts that makes a word common, whatever the language
_NAMED = 0.25  # share of a cluster's texts that the words of its name are in; else it is mixed
_SUFFIX = 3  # letters by which a word and its plural differ, at most


@dataclass(frozen=True)
class Categorised:
    """Rows, the first of which are a sample, in the categories of a transform."""

    categories: tuple[Category, ...]  # those of the sample, largest first
    labelled: bool  # their names are labels; else they are the words of clusters
    names: Sequence[str]  # of each row's category
    probabilities: Sequence[float | None]  # of that category; None for clusters
    positions: IntArray  # shape (n,): index into `categories`, -1 if the sample has none of it


def categorise(
    transform: InstructionTransform,
    generic: FloatArray,
    adapted: FloatArray,
    texts: Sequence[str | None],
    seed: int,
) -> Categorised:
    """Assign rows to categories, and describe those of the sample, which are the first.

    `generic` are unit vectors of shape (n, d), `adapted` the same rows from `adapted_view`, shape
    (n, p), `texts` those of the sample.
    """
    labels, count, assigned, likely = assign(transform, generic, len(texts), seed)
    own = assigned[: len(texts)]
    words = distinctive_words(texts, own, count)
    names = labels or _names_of_words(words, _covered(texts, own, words))
    sizes = np.bincount(own, minlength=count)
    order = [int(group) for group in np.argsort(-sizes, kind="stable") if sizes[group]]
    ranks = np.full(count, -1, dtype=np.int64)
    ranks[order] = np.arange(len(order))
    categories = []
    for group in order:
        count = int(sizes[group])
        typical = typical_rows(adapted, np.flatnonzero(own == group), texts)[:_TYPICAL_TEXTS]
        shown = tuple(text for row in typical if (text := texts[row]))
        categories.append(Category(names[group], count, count / len(texts), words[group], shown))
    return Categorised(
        categories=tuple(categories),
        labelled=labels is not None,
        names=[names[group] for group in assigned],
        probabilities=[None] * len(assigned) if likely is None else likely.tolist(),
        positions=ranks[assigned],
    )


def assign(
    transform: InstructionTransform, vectors: FloatArray, sample: int, seed: int
) -> tuple[Sequence[str] | None, int, IntArray, FloatArray | None]:
    """The category of each row: its most likely label, or the nearest cluster of the `sample`.

    Unit generic vectors of shape (n, d) to labels if they are known, the number of categories,
    categories of shape (n,) and their probabilities, which clusters do not have.
    """
    if transform.space.classifier is not None:
        found = transform.space.classifier.probabilities(vectors)
        return label_names(transform), found.shape[1], found.argmax(axis=1), found.max(axis=1)
    encoded = transform.space.encoder.encode(vectors)
    centres = choose_centres(encoded[:sample], seed)
    return None, len(centres), nearest_centre(encoded, centres), None


def label_names(transform: InstructionTransform) -> tuple[str, ...] | None:
    """Labels in the order of the classifier's rows; None where the report does not hold them.

    A fit from labels keeps those with at least two rows, sorted.
    """
    counts = transform.report.label_counts
    names = tuple(sorted(name for name, rows in counts.items() if rows >= MIN_ROWS_PER_LABEL))
    classifier = transform.space.classifier
    return names if classifier is not None and len(names) == len(classifier.bias) else None


def adapted_view(transform: InstructionTransform, vectors: FloatArray) -> FloatArray:
    """Unit generic vectors as a search under the instruction compares them, (n, d) to (n, p).

    Inner products are the scores of a search in which stored vectors are folded like queries, so
    that the two sides are alike: with folded vectors `q'`, the encoder `f` and label probabilities
    `p` of the space, and the weights `m` and `w`, a row is

        [sqrt(1 - m) q'(x), sqrt(m (1 - w)) f(x), sqrt(m w) p(x)].

    What judgements corrected is in `q'`, and left out of the part of the space.
    """
    space, mix = transform.space, transform.mix
    weight = 0.0 if space.classifier is None else space.weight
    parts = [(1 - mix, transform.query.fold(vectors))]
    parts.append((mix * (1 - weight), space.encoder.encode(vectors)))
    if space.classifier is not None and weight:
        parts.append((mix * weight, space.classifier.probabilities(vectors)))
    return np.hstack([np.float32(np.sqrt(share)) * part for share, part in parts])


def choose_centres(rows: FloatArray, seed: int) -> FloatArray:
    """Centres of spherical k-means, 2 to 9; of fewer than four rows a single one.

    Numbers of clusters are compared by the simplified silhouette (Vendramin et al., 2010): how
    much nearer a row is to its own centre than to the next one. Two clusters often separate rows
    best and say least, so the largest number is taken that separates them better than its
    neighbours and nearly as well as any.
    """
    if len(rows) < _MIN_ROWS:
        return spherical_k_means(rows, 1, seed)
    most = max(2, min(MAX_CLUSTERS, len(rows) // _ROWS_PER_CLUSTER))
    tried = [spherical_k_means(rows, count, seed) for count in range(2, most + 1)]
    return tried[_largest_peak([_silhouette(rows, centres) for centres in tried])]


def _largest_peak(figures: Sequence[float]) -> int:
    """The last figure that exceeds its neighbours and is nearly as high as the highest."""
    best = max(figures)
    framed = [-np.inf, *figures, -np.inf]
    trios = enumerate(zip(framed, figures, framed[2:], strict=False))
    peaks = [
        index
        for index, (before, figure, after) in trios
        if before < figure >= after and figure >= best - _TOLERANCE
    ]
    return peaks[-1] if peaks else figures.index(best)


def _silhouette(rows: FloatArray, centres: FloatArray) -> float:
    distances = np.sort(1.0 - rows @ centres.T, axis=1)
    own, other = np.maximum(distances[:, 0], 0.0), distances[:, 1]
    return float(np.divide(other - own, other, out=np.zeros_like(own), where=other > 0).mean())


def distinctive_words(
    texts: Sequence[str | None], groups: IntArray, count: int, *, most: int = 5
) -> list[tuple[str, ...]]:
    """Words that distinguish each group from all other texts, the most distinctive first.

    A word counts once a text. The shares of texts that hold it, inside and outside the group, are
    compared in standard errors of their difference (a two-proportion z-test). Each word is beyond
    chance by more than a standard error and in at least two of the group's texts, unless the group
    has a single one. Stop words are left out: those of scikit-learn where it is installed, and in
    any language what more than a tenth of the other texts hold, unless nothing else is left. Of a
    word and its plural only the more distinctive one appears. `groups` has shape (n,), from 0.
    """
    bags = [set(_WORD.findall(text.casefold())) if text else set() for text in texts]
    everywhere = Counter(word for bag in bags for word in bag)
    total, stop = sum(map(bool, bags)), _stop_words()
    found = []
    for group in range(count):
        own = [bags[row] for row in np.flatnonzero(groups == group) if bags[row]]
        within = Counter(word for bag in own for word in bag)
        scores = {
            word: score
            for word, inside in within.items()
            if inside >= min(2, len(own))
            and (score := _z_score(inside, len(own), everywhere[word], total)) > 1.0
        }
        ranked = sorted(scores, key=lambda word: (-scores[word], word))
        most_outside = _COMMON * (total - len(own))
        rare = [
            word
            for word in ranked
            if word not in stop and everywhere[word] - within[word] <= most_outside
        ]
        kept: list[str] = []
        for word in rare or ranked:
            if len(kept) < most and not any(_is_form(word, other) for other in kept):
                kept.append(word)
        found.append(tuple(kept))
    return found


def _stop_words() -> frozenset[str]:
    """English ones of scikit-learn; none where it is not installed."""
    try:
        text = require("sklearn.feature_extraction.text", extra="eval")
    except MissingExtraError:
        return frozenset()
    return frozenset(text.ENGLISH_STOP_WORDS)


def _is_form(word: str, other: str) -> bool:
    """Whether one is the other with a few letters more, such as its plural."""
    short, long = sorted((word, other), key=len)
    return long.startswith(short) and len(long) - len(short) <= _SUFFIX


def _z_score(inside: int, texts: int, everywhere: int, total: int) -> float:
    """By how many standard errors a word is more frequent in some texts than in the others."""
    others, share = total - texts, everywhere / total
    if not others or share == 1:
        return 0.0
    error = np.sqrt(share * (1 - share) * (1 / texts + 1 / others))
    return float((inside / texts - (everywhere - inside) / others) / error)


def typical_rows(vectors: FloatArray, rows: IntArray, texts: Sequence[str | None]) -> list[int]:
    """The rows of a group from the nearest to its mean direction on, without repeated texts.

    Unit vectors of shape (n, p), rows of shape (m,).
    """
    middle = unit_rows(vectors[rows].mean(0, keepdims=True))[0]
    order = rows[np.argsort(-(vectors[rows] @ middle), kind="stable")].tolist()
    first: dict[str, int] = {}
    for row in order:
        if text := texts[row]:
            first.setdefault(text, row)
    return list(first.values())


def _covered(
    texts: Sequence[str | None], groups: IntArray, words: Sequence[Sequence[str]]
) -> list[float]:
    """Share of the texts of each group that hold a word of its name; 1 where there are no texts."""
    found: list[list[bool]] = [[] for _ in words]
    for text, group in zip(texts, groups.tolist(), strict=True):
        if text:
            bag = _WORD.findall(text.casefold())
            found[group].append(not set(bag).isdisjoint(words[group][:_WORDS_IN_NAME]))
    return [sum(own) / len(own) if own else 1.0 for own in found]


def _names_of_words(words: Sequence[Sequence[str]], covered: Sequence[float]) -> list[str]:
    """Names made of words, different for each; a group that they say little of is mixed."""
    names: list[str] = []
    for number, (own, share) in enumerate(zip(words, covered, strict=True), start=1):
        name = ", ".join(own[:_WORDS_IN_NAME])
        if share < _NAMED:
            name = f"mixed: {name}" if name else "mixed"
        name = name or f"group {number}"
        names.append(f"{name} ({number})" if name in names else name)
    return names
