"""Sample, results and query of one explanation, as the transform sees them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.explain.explanation import Category, Cloud
from instruct_embeddings.explain.grouping import Grouping, adapted_view, find_grouping
from instruct_embeddings.explain.typical import telling_words, typical_rows
from instruct_embeddings.protocols import Rows
from instruct_embeddings.transform.transform import InstructionTransform
from instruct_embeddings.transform.vectors import unit_rows

_TYPICAL_TEXTS = 3
_WORDS_IN_NAME = 3


@dataclass(frozen=True)
class Sight:
    """Sample, results and query, in that order, as the transform sees them.

    Attributes:
        grouping: The categories.
        names: Their names.
        categories: Those of the sample, largest first.
        places: Position of each of the grouping's categories in `categories`, -1 without rows.
        generic: Unit generic vectors, shape (n, d).
        adapted: As a search under the instruction compares them, shape (n, p).
        assigned: Category in the grouping's own order, shape (n,).
        likely: Probability of that category, shape (n,), or None.
    """

    grouping: Grouping
    names: Sequence[str]
    categories: tuple[Category, ...]
    places: IntArray
    generic: FloatArray
    adapted: FloatArray
    assigned: IntArray
    likely: FloatArray | None

    @classmethod
    def of(
        cls,
        transform: InstructionTransform,
        rows: Rows,
        results: Rows,
        query: FloatArray,
        seed: int,
    ) -> "Sight":
        """Look at everything once.

        Args:
            transform: The transform.
            rows: The sample, with vectors and texts.
            results: The results, with vectors; may be empty.
            query: Unit generic vector of the query, shape (1, d).
            seed: Seed of clusters.
        """
        parts = [rows.vectors, *([results.vectors] if len(results) else []), query]
        generic = unit_rows(np.concatenate(parts))
        adapted = adapted_view(transform, generic)
        grouping = find_grouping(transform, generic[: len(rows)], seed)
        assigned, likely = grouping.assign(generic)
        own = assigned[: len(rows)]
        words = telling_words(rows.texts, own, grouping.count)
        names = grouping.names or _named_by(words)
        order = np.argsort(-np.bincount(own, minlength=grouping.count), kind="stable")
        filled = [int(group) for group in order if (own == group).any()]
        places = np.full(grouping.count, -1, dtype=np.int64)
        places[filled] = np.arange(len(filled))
        categories = tuple(
            _describe(names[group], words[group], np.flatnonzero(own == group), adapted, rows)
            for group in filled
        )
        return cls(grouping, names, categories, places, generic, adapted, assigned, likely)

    def category(self, row: int) -> str:
        """Name of a row's category."""
        return self.names[int(self.assigned[row])]

    def probability(self, row: int) -> float | None:
        """Probability of that category, if known."""
        return None if self.likely is None else float(self.likely[row])

    def cloud(
        self, rows: Rows, results: Rows, before: Mapping[str, int], after: Mapping[str, int], k: int
    ) -> Cloud:
        """The vectors without repeated rows."""
        place = {row: position for position, row in enumerate(rows.ids)}
        kept = list(range(len(rows)))
        for offset, row in enumerate(results.ids):
            if row not in place:
                place[row] = len(kept)
                kept.append(len(rows) + offset)

        def best(ranks: Mapping[str, int]) -> IntArray:
            found = [place[row] for row in results.ids if ranks.get(row, k + 1) <= k]
            return np.array(found, dtype=np.int64)

        return Cloud(
            generic=self.generic[kept],
            adapted=self.adapted[kept],
            categories=self.places[self.assigned[kept]],
            query_generic=self.generic[-1:],
            query_adapted=self.adapted[-1:],
            generic_results=best(before),
            adapted_results=best(after),
        )


def _named_by(words: Sequence[Sequence[str]]) -> list[str]:
    """Names made of words, different for each."""
    names: list[str] = []
    for number, own in enumerate(words, start=1):
        name = ", ".join(own[:_WORDS_IN_NAME]) or f"group {number}"
        names.append(f"{name} ({number})" if name in names else name)
    return names


def _describe(
    name: str, words: tuple[str, ...], members: IntArray, adapted: FloatArray, rows: Rows
) -> Category:
    typical = typical_rows(adapted, members, rows.texts)[:_TYPICAL_TEXTS]
    return Category(
        name=name,
        count=len(members),
        share=len(members) / len(rows),
        words=words,
        texts=tuple(text for row in typical if (text := rows.texts[row])),
    )
