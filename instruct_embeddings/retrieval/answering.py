"""How judged questions are answered: generic beside adapted, at several blends."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from instruct_embeddings._types import FloatArray, Where
from instruct_embeddings.config import at_least
from instruct_embeddings.errors import ConfigError, EmptyCollectionError, InstructionError
from instruct_embeddings.protocols import VectorCollection
from instruct_embeddings.retrieval.hits import Hit
from instruct_embeddings.retrieval.questions import Question, Questions
from instruct_embeddings.retrieval.ranking import SearchRequest, rank_by_index
from instruct_embeddings.retrieval.sampling import read_pages
from instruct_embeddings.transform.quality import ndcg_at_k, recall_at_k
from instruct_embeddings.transform.report import BlendFigures, QuestionReport
from instruct_embeddings.transform.significance import Difference, mean_of, paired_bootstrap
from instruct_embeddings.transform.transform import InstructionTransform
from instruct_embeddings.transform.vectors import query_row

DEFAULT_BLENDS = (0.25, 0.5, 0.75, 1.0)
_DEPTH = 10

Find: TypeAlias = Callable[[Question, float], Sequence[str]]
"""Ids that answer a question at a blend, best first; 0 is the generic ranking."""


def check_instructed(questions: Questions) -> None:
    """Refuse questions that are asked under no instruction.

    Raises:
        InstructionError: One is.
    """
    if any(one.instruction is None for one in questions.items):
        raise InstructionError(
            "There is no instruction to evaluate, got None. Pass a plain sentence, or one for "
            'each query: instruction="What programming language is it written in?".'
        )


def evaluate(
    search: Callable[..., Sequence[Hit]],
    collection: VectorCollection,
    questions: Questions,
    *,
    k: int,
    blends: Sequence[float],
    where: Where | None,
    where_document: Where | None,
    seed: int,
    **adapted: Any,
) -> QuestionReport:
    """Measure the searches of a retriever on judged questions.

    Args:
        search: `InstructRetriever.search`.
        collection: What it searches.
        questions: Each asked under an instruction.
        k: See `measure`.
        blends: See `measure`.
        where: See `measure`.
        where_document: See `measure`.
        seed: See `measure`.
        adapted: Options of the searches under an instruction only.

    Raises:
        ConfigError: See `measure`.
    """
    vectors = questions.vectors
    filters = {"where": where, "where_document": where_document}

    def find(question: Question, blend: float) -> list[str]:
        under = {"instruction": question.instruction, "query": question.text, "blend": blend}
        under = under | adapted if blend else {}
        return [hit.id for hit in search(vectors[question.place], k=k, **filters, **under)]

    return measure(questions.items, collection, find, k=k, blends=blends, seed=seed, **filters)


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

    Args:
        questions: Judged questions.
        collection: What is searched.
        find: Searches it.
        k: Results looked at.
        blends: Shares of the adapted score, above 0 and at most 1.
        where: Metadata filter of the searches.
        where_document: Filter on the stored text.
        seed: Seed of the bootstrap.

    Raises:
        ConfigError: An argument is out of its range, or no question has a relevant row in the
            collection.
    """
    at_least("k", k, 1, optional=False)
    at_least("seed", seed, 0, optional=False)
    tried = _check_blends(blends)
    kept = _reachable(questions, collection, where, where_document)
    answers = {
        blend: _Answers.of([find(one, blend) for one in kept], kept, k) for blend in (0.0, *tried)
    }
    rankings = [one.figures(blend, answers[0.0], seed) for blend, one in answers.items()]
    return QuestionReport(
        instructions=tuple(dict.fromkeys(map(shown, kept))),
        questions=len(kept),
        left_out=len(questions) - len(kept),
        missing=sum(len(one.grades) for one in questions) - sum(len(one.grades) for one in kept),
        k=k,
        rankings=tuple(rankings),
    )


def ask(
    collection: VectorCollection,
    transform: InstructionTransform,
    questions: Sequence[Question],
    vectors: FloatArray,
) -> QuestionReport:
    """Measure a transform on judged questions through the index, before it serves searches.

    Args:
        collection: Its collection.
        transform: The transform.
        questions: Asked under its instruction.
        vectors: Generic vectors of all questions, shape (n, d), to which their places refer.

    Raises:
        ConfigError: No question has a relevant row in the collection, or its index ranks by length
            and lengths differ too much.
    """
    rows = [query_row(vectors[one.place], collection.info().dimension) for one in questions]
    by_place = {one.place: row for one, row in zip(questions, rows, strict=True)}

    def find(question: Question, blend: float) -> list[str]:
        request = SearchRequest(_DEPTH, blend=blend)
        ranked = rank_by_index(collection, transform, by_place[question.place], request)
        return [row for row, _ in ranked]

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


def shown(question: Question) -> str:
    """The instruction of a question, for a reader."""
    asked = question.instruction
    if isinstance(asked, Mapping):
        return ", ".join(f"{text} ({weight:g})" for text, weight in asked.items())
    return asked or ""


@dataclass(frozen=True)
class _Answers:
    """How one ranking answers each question, shapes (n,)."""

    ndcg: NDArray[np.float64]
    recall: NDArray[np.float64]

    @classmethod
    def of(cls, found: Sequence[Sequence[str]], asked: Sequence[Question], k: int) -> "_Answers":
        pairs = list(zip(found, asked, strict=True))
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
    for blend in values:
        number = isinstance(blend, int | float) and not isinstance(blend, bool)
        if not number or not 0 < blend <= 1:
            raise ConfigError(
                f"blends={blends!r} holds {blend!r}, which is not above 0 and at most 1: 1 is the "
                "adapted ranking, and the generic one is always measured. Pass for example "
                f"{DEFAULT_BLENDS}."
            )
    if not values:
        raise ConfigError(f"blends={blends!r} is empty. Pass for example {DEFAULT_BLENDS}.")
    return sorted({float(blend) for blend in values})


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
        pages = read_pages(collection, where=where, where_document=where_document)
        stored = {row for page in pages for row in page.ids}.intersection(wanted)
    found = [
        replace(one, grades={row: grade for row, grade in one.grades.items() if row in stored})
        for one in questions
    ]
    if kept := [one for one in found if one.grades]:
        return kept
    if not collection.count():
        raise EmptyCollectionError("The collection is empty, so no question can be answered.")
    filtered = "" if where is None and where_document is None else " that pass the filter"
    raise ConfigError(
        f"None of the {len(wanted):,} relevant rows of {len(questions):,} questions is in the "
        f"collection{filtered}: {', '.join(map(repr, wanted[:3]))} for example are not. Relevant "
        "are ids of stored rows, which every result carries as its id; check that they are of this "
        "collection."
    )
