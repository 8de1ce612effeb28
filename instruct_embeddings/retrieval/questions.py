"""Judged questions: what users ask, which rows answer it, and how well a ranking does."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from instruct_embeddings._reading import is_number
from instruct_embeddings._types import FloatArray, Where
from instruct_embeddings.config import (
    Instruction,
    Instructions,
    at_least,
    check_instruction,
    check_instructions,
    normalise_instruction,
)
from instruct_embeddings.errors import ConfigError, EmptyCollectionError, InstructionError
from instruct_embeddings.protocols import VectorCollection
from instruct_embeddings.retrieval.ranking import (
    FoldedQuery,
    SearchRequest,
    WeightedRanker,
    rank_by_index,
)
from instruct_embeddings.transform.quality import (
    Difference,
    mean_of,
    ndcg_at_k,
    paired_bootstrap,
    recall_at_k,
)
from instruct_embeddings.transform.report import BlendFigures, QuestionReport
from instruct_embeddings.transform.transform import InstructionTransform
from instruct_embeddings.transform.vectors import query_row

DEFAULT_BLENDS = (0.25, 0.5, 0.75, 1.0)
_DEPTH = 10

Queries: TypeAlias = Sequence[str] | ArrayLike | Mapping[str, str] | Mapping[str, ArrayLike]
"""Texts or vectors of questions: in a row, or by the id of the question."""
Relevant: TypeAlias = (
    Sequence[Collection[str]] | Mapping[str, Collection[str]] | Mapping[str, Mapping[str, float]]
)
"""Ids of the rows that answer each question, perhaps with grades: in a row, or by question."""
Embed: TypeAlias = Callable[[Sequence[str]], ArrayLike]
"""Generic vectors of the texts of queries, shape (n, d)."""
Find: TypeAlias = "Callable[[Question, float], Sequence[str]]"
"""Ids that answer a question at a blend, best first; 0 is the generic ranking."""


@dataclass(frozen=True, eq=False)
class Question:
    """One judged question: its row among the vectors of all, and grades above 0 of its answers."""

    position: int
    grades: Mapping[str, float]
    instruction: Instructions | None = None
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
    instruction: Instructions | Sequence[Instructions] | None = None
    embed: Embed | None = None
    items: tuple[Question, ...] = field(init=False, repr=False)
    _asked: tuple[object, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        keys, queries = _keyed(self.queries)
        judged = _aligned(keys, self.relevant)
        asked = _aligned_instructions(self.instruction, len(keys))
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

    def under(self, instruction: str) -> list[Question]:
        """Those that are asked under an instruction, or under any."""
        wanted = normalise_instruction(instruction)

        def fits(asked: Instructions | None) -> bool:
            return asked is None or (
                isinstance(asked, str | Instruction) and normalise_instruction(asked) == wanted
            )

        fitting = [one for one in self.items if fits(one.instruction)]
        return [replace(one, instruction=instruction) for one in fitting]

    def instructions(self) -> list[str]:
        """All instructions that they are asked under, each once.

        Raises:
            InstructionError: One is asked under none.
        """
        asked = [one.instruction for one in self.items if one.instruction is not None]
        if len(asked) < len(self.items):
            raise InstructionError(
                "There is no instruction to evaluate, got None. Pass a plain sentence, or one for "
                'each query: instruction="What programming language is it written in?".'
            )
        return list(dict.fromkeys(text for one in asked for text in check_instructions(one)))

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


def measure(
    questions: Sequence[Question],
    collection: VectorCollection,
    find: Find,
    *,
    k: int = 10,
    blends: Sequence[float] = DEFAULT_BLENDS,
    where: Where | None = None,
    where_document: Where | None = None,
    seed: int = 0,
) -> QuestionReport:
    """Answer questions by the generic ranking and at each blend, and compare.

    `find` searches, under the same filters; see `InstructRetriever.evaluate`.
    """
    k = at_least("k", k, 1, optional=False)
    seed = at_least("seed", seed, 0, optional=False)
    tried = _check_blends(blends)
    kept = _reachable(questions, collection, where, where_document)
    answers = {
        blend: _Answers.of([find(one, blend) for one in kept], kept, k) for blend in (0.0, *tried)
    }
    rankings = [one.figures(blend, answers[0.0], seed) for blend, one in answers.items()]
    return QuestionReport(
        instructions=tuple(dict.fromkeys(map(_shown, kept))),
        questions=len(kept),
        left_out=len(questions) - len(kept),
        missing=sum(len(one.grades) for one in questions) - sum(len(one.grades) for one in kept),
        k=k,
        rankings=tuple(rankings),
    )


def measure_transform(
    collection: VectorCollection,
    transform: InstructionTransform,
    questions: Sequence[Question],
    vectors: FloatArray,
) -> QuestionReport:
    """Measure a transform on judged questions through the index, before it serves searches.

    `vectors` are those of all questions, shape (n, d), to which positions refer.
    """
    dimension = collection.info().dimension
    rows = {one.position: query_row(vectors[one.position], dimension) for one in questions}

    request = SearchRequest(_DEPTH)

    def find(question: Question, blend: float) -> Sequence[str]:
        query = FoldedQuery([WeightedRanker(transform, "fitted")], rows[question.position], blend)
        return rank_by_index(collection, query, request).ids

    return measure(questions, collection, find, k=_DEPTH, seed=transform.config.seed)


def gain(one: NDArray[np.float64], other: NDArray[np.float64], seed: int = 0) -> Difference:
    """Mean difference of the same questions, shapes (n,), by paired bootstrap.

    A handful of questions that all gain a little would look certain when they are resampled. So
    the p-value is at least what the signs allow: of m questions that change, all rise or all fall
    by chance in 2 of 2^m cases.
    """
    changed = int((one != other).sum())
    by_signs = min(1.0, 2.0 ** (1 - changed))
    if len(one) < 2:
        value = float((one - other).mean())
        return Difference(value, value, value, p_value=1.0)
    found = paired_bootstrap(mean_of(one), mean_of(other), len(one), seed=seed)
    return replace(found, p_value=max(found.p_value, by_signs))


def _shown(question: Question) -> str:
    """The instruction of a question, for a reader."""
    asked = question.instruction
    if isinstance(asked, Mapping):
        return ", ".join(f"{text} ({weight:g})" for text, weight in asked.items())
    return "" if asked is None else check_instruction(asked)


@dataclass(frozen=True)
class _Answers:
    """How one ranking answers each question, shapes (n,)."""

    ndcg: NDArray[np.float64]
    recall: NDArray[np.float64]

    @classmethod
    def of(
        cls, found: Sequence[Sequence[str]], questions: Sequence[Question], k: int
    ) -> "_Answers":
        pairs = list(zip(found, questions, strict=True))
        ndcg = np.array([ndcg_at_k(ids, one.grades, k) for ids, one in pairs])
        return cls(ndcg, np.array([recall_at_k(ids, one.grades, k) for ids, one in pairs]))

    def figures(self, blend: float, generic: "_Answers", seed: int) -> BlendFigures:
        ndcg, recall = float(self.ndcg.mean()), float(self.recall.mean())
        if self is generic:
            return BlendFigures(blend, ndcg, recall)
        return BlendFigures(
            blend,
            ndcg,
            recall,
            ndcg_gain=gain(self.ndcg, generic.ndcg, seed),
            recall_gain=gain(self.recall, generic.recall, seed),
            better=int((self.ndcg > generic.ndcg).sum()),
            worse=int((self.ndcg < generic.ndcg).sum()),
        )


def _check_blends(blends: Sequence[float]) -> list[float]:
    values = list(blends) if isinstance(blends, Iterable) else [blends]
    numbers = [one for one in values if is_number(one)]
    if not values or len(numbers) < len(values) or not all(0 < one <= 1 for one in numbers):
        raise ConfigError(
            f"blends must be numbers above 0 and at most 1, got {blends!r}: 1 is the adapted "
            f"ranking, and the generic one is always measured. Pass for example {DEFAULT_BLENDS}."
        )
    return sorted({float(one) for one in numbers})


def _reachable(
    questions: Sequence[Question],
    collection: VectorCollection,
    where: Where | None,
    where_document: Where | None,
) -> list[Question]:
    """The questions with those of their relevant rows that a search can find."""
    wanted = sorted({row for one in questions for row in one.grades})
    if where is None and where_document is None:
        stored = set(collection.fetch(wanted).ids)
    else:
        pages = collection.scan(where=where, where_document=where_document)
        stored = {row for page in pages for row in page.ids}.intersection(wanted)
    found = [
        replace(one, grades={row: grade for row, grade in one.grades.items() if row in stored})
        for one in questions
    ]
    if kept := [one for one in found if one.grades]:
        return kept
    if collection.capabilities.listing and not collection.count():
        raise EmptyCollectionError("The collection is empty, so no question can be answered.")
    filtered = "" if where is None and where_document is None else " that pass the filter"
    raise ConfigError(
        f"None of the {len(wanted):,} relevant rows of {len(questions):,} questions is in the "
        f"collection{filtered}: {', '.join(map(repr, wanted[:3]))} for example are not. Relevant "
        "are ids of stored rows, which every result carries as its id; check that they are of this "
        "collection."
    )


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
            if not is_number(grade):
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


def _aligned_instructions(
    given: Instructions | Sequence[Instructions] | None, count: int
) -> list[Instructions | None]:
    if given is None or isinstance(given, str | Instruction | Mapping):
        if given is not None:
            check_instructions(given)
        return [given] * count
    if len(given) != count:
        raise ConfigError(
            f"instruction has {len(given)} entries for {count} queries. Pass one for all, or one "
            "for each query."
        )
    for asked in given:
        check_instructions(asked)
    return list(given)
