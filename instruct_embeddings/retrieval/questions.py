"""Judged questions: what users ask, and which rows answer it."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isfinite
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from instruct_embeddings._types import FloatArray
from instruct_embeddings.config import normalise_instruction
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.retrieval.composition import Asked, check_asked

Queries: TypeAlias = Sequence[str] | ArrayLike | Mapping[str, str] | Mapping[str, ArrayLike]
"""Texts or vectors of questions: in a row, or by the id of the question."""
Relevant: TypeAlias = (
    Sequence[Collection[str]] | Mapping[str, Collection[str]] | Mapping[str, Mapping[str, float]]
)
"""Ids of the rows that answer each question, perhaps with grades: in a row, or by question."""
Embed: TypeAlias = Callable[[Sequence[str]], ArrayLike]
"""Generic vectors of the texts of queries, shape (n, d)."""


@dataclass(frozen=True, eq=False)
class Question:
    """One judged question.

    Attributes:
        place: Its place among the vectors of the questions.
        grades: How relevant each row is that answers it, above zero.
        instruction: Under what it is asked; None where that is left open.
        text: What is asked, where it is known.
    """

    place: int
    grades: Mapping[str, float]
    instruction: Asked | None = None
    text: str | None = None


@dataclass(frozen=True, eq=False)
class Questions:
    """Questions of users with the rows that answer them.

    Attributes:
        queries: Texts, or vectors of shape (n, d), in a row or by an id of each.
        relevant: Ids of the rows that answer each of them, aligned with `queries`; or by text or
            id of the query; or with grades, `{query_id: {row_id: grade}}`, where 0 is irrelevant.
            Queries that it does not name are no questions.
        instruction: Under what they are asked: one, or one a question; None leaves it open.
        embed: Makes vectors of texts; the retrievers of a host take its own embedder.
    """

    queries: Queries
    relevant: Relevant
    instruction: Asked | Sequence[Asked] | None = None
    embed: Embed | None = None
    items: tuple[Question, ...] = field(init=False, repr=False)
    _asked: tuple[object, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        keys, queries = _keyed(self.queries)
        judged = _aligned(keys, self.relevant)
        asked = _instructions(self.instruction, len(keys))
        items: list[Question] = []
        kept: list[object] = []
        for query, entry, instruction in zip(queries, judged, asked, strict=True):
            if entry is not None:
                text = query if isinstance(query, str) else None
                items.append(Question(len(items), _grades(entry), instruction, text))
                kept.append(query)
        if not items:
            raise ConfigError(
                "There is no judged question: relevant names no query. Pass the ids of the rows "
                'that answer each query, such as evaluate(["How do I pay?"], [["row-17"]]).'
            )
        object.__setattr__(self, "items", tuple(items))
        object.__setattr__(self, "_asked", tuple(kept))

    def embedded_by(self, embed: Embed) -> "Questions":
        """The same with something to embed texts, unless there is."""
        return self if self.embed is not None else replace(self, embed=embed)

    def same_as(self, other: "Questions | None") -> bool:
        """Whether the other was made from the same objects."""
        return other is not None and all(
            getattr(self, name) is getattr(other, name)
            for name in ("queries", "relevant", "instruction")
        )

    def under(self, instruction: str) -> list[Question]:
        """Those that are asked under an instruction, or under any."""
        wanted = normalise_instruction(instruction)

        def fits(asked: Asked | None) -> bool:
            return asked is None or (
                isinstance(asked, str) and normalise_instruction(asked) == wanted
            )

        fitting = [one for one in self.items if fits(one.instruction)]
        return [replace(one, instruction=instruction) for one in fitting]

    @cached_property
    def vectors(self) -> FloatArray:
        """Generic vectors of the questions, shape (n, d); texts are embedded once.

        Raises:
            ConfigError: They are texts, and there is nothing to embed them; or not one vector each.
        """
        texts = [query for query in self._asked if isinstance(query, str)]
        if not texts:
            found = _array(list(self._asked))
        elif self.embed is None or len(texts) < len(self._asked):
            raise ConfigError(
                f"The query {texts[0]!r:.60} is a text, and vectors are needed. Pass vectors of "
                "shape (n, d) from the model that filled the collection, or "
                "embed=model.embed_documents with the texts."
            )
        else:
            found = _array(self.embed(texts))
        if found.ndim != 2 or len(found) != len(self.items):
            raise ConfigError(
                f"Got query vectors of shape {found.shape} for {len(self.items)} questions; one "
                "vector each is needed, shape (n, d). Pass a list of vectors, also for one query."
            )
        return found


def _array(vectors: Any) -> FloatArray:
    try:
        return np.asarray(vectors, dtype=np.float32)
    except (TypeError, ValueError) as exc:
        raise ConfigError(
            f"The queries are no vectors of one length ({exc}). Pass an array of shape (n, d)."
        ) from exc


def _keyed(queries: Queries) -> tuple[list[object], list[object]]:
    """Keys and queries; the key of a text in a row is the text, of a vector nothing."""
    if isinstance(queries, str):
        raise TypeError(f"queries takes a list of texts, got one str; wrap it: [{queries!r:.60}].")
    if isinstance(queries, Mapping):
        return [str(key) for key in queries], list(queries.values())
    listed = list(queries) if isinstance(queries, Sequence) else list(np.asarray(queries))
    return [str(one) if isinstance(one, str) else None for one in listed], listed


def _aligned(keys: Sequence[object], relevant: Relevant) -> list[object]:
    """What is relevant to each query; None where nothing was judged."""
    if not isinstance(relevant, Mapping):
        entries: list[object] = list(relevant)
        if isinstance(relevant, str) or len(entries) != len(keys):
            raise ConfigError(
                f"relevant has {len(entries)} entries for {len(keys)} queries. Pass one collection "
                "of ids for each query, or a mapping from the query to its ids."
            )
        return entries
    judged = {str(key): entry for key, entry in relevant.items()}
    if unknown := [key for key in judged if key not in set(keys)]:
        raise ConfigError(
            f"relevant names the query {unknown[0]!r:.60}, which is none of the {len(keys)} "
            "queries. Its keys are the texts of the queries, or their ids where queries is a "
            "mapping."
        )
    return [judged.get(str(key)) if key is not None else None for key in keys]


def _grades(entry: object) -> dict[str, float]:
    if isinstance(entry, Mapping):
        for row, grade in entry.items():
            number = isinstance(grade, int | float) and not isinstance(grade, bool)
            if not number or not isfinite(grade):
                raise ConfigError(
                    f"The grade of {row!r:.60} is {grade!r:.60}, not a number. Grades are 0 for "
                    "irrelevant rows, 1 or more for relevant ones."
                )
        return {str(row): float(grade) for row, grade in entry.items() if grade > 0}
    if isinstance(entry, str) or not isinstance(entry, Iterable):
        raise ConfigError(
            f"The relevant rows of a query are {entry!r:.60}, not a collection of ids. Wrap a "
            f"single one: [{entry!r:.60}]."
        )
    return {str(row): 1.0 for row in entry}


def _instructions(given: Asked | Sequence[Asked] | None, count: int) -> list[Asked | None]:
    if given is None or isinstance(given, str | Mapping):
        if given is not None:
            check_asked(given)
        return [given] * count
    if len(given) != count:
        raise ConfigError(
            f"instruction has {len(given)} entries for {count} queries. Pass one for all, or one "
            "for each query."
        )
    for asked in given:
        check_asked(asked)
    return list(given)
