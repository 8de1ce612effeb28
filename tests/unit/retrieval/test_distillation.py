"""What a judge taught under an instruction, later questions have without it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instruct_embeddings import InstructRetriever, RelevanceFeedback
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.retrieval import distillation
from instruct_embeddings.testing import InMemoryCollection

COLOUR = "What colour is it?"
ROWS, QUESTIONS = 240, 24


def toys() -> InMemoryCollection:
    """Toys around twelve topics, which are most of a vector; each second one is red."""
    rng = np.random.default_rng(0)
    topics = rng.normal(size=(12, 8))
    vectors = topics[np.arange(ROWS) % 12] + 0.3 * rng.normal(size=(ROWS, 8))
    colour = np.where(np.arange(ROWS) // 12 % 2, 0.5, -0.5)[:, None]
    vectors = np.concatenate([vectors, colour], axis=1)
    texts = [f"{'red' if i // 12 % 2 else 'blue'} toy {i}" for i in range(ROWS)]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return InMemoryCollection(vectors, texts=texts)


def queries(count: int = QUESTIONS, seed: int = 1) -> np.ndarray:
    """Vectors of toys of many topics, red and blue in turn."""
    rng = np.random.default_rng(seed)
    colour = np.where(np.arange(count) % 2, 0.5, -0.5)[:, None]
    drawn = np.concatenate([1.2 * rng.normal(size=(count, 8)), colour], axis=1)
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def name(number: int) -> str:
    return "red" if number % 2 else "blue"


class Same:
    """Wants what has the colour of the query, and counts how often it is asked."""

    key = "same colour"

    def __init__(self) -> None:
        self.asked = 0

    def relevance(
        self, query: str, instruction: str | None, texts: Sequence[str]
    ) -> list[float | None]:
        self.asked += 1
        return [float(text.split()[0] == query.split()[0]) for text in texts]


class Coin(Same):
    """Tosses a coin for each text."""

    key = "coin"

    def relevance(
        self, query: str, instruction: str | None, texts: Sequence[str]
    ) -> list[float | None]:
        self.asked += 1
        return list(np.random.default_rng(self.asked).integers(0, 2, len(texts)).astype(float))


def ask(
    retriever: InstructRetriever,
    vectors: np.ndarray,
    instruction: str | None = COLOUR,
    **options: Any,
) -> float:
    """Share of toys of the right colour among ten."""
    right = []
    for n, vector in enumerate(vectors):
        hits = retriever.search(
            vector, query=f"{name(n)} toy {n}", instruction=instruction, k=10, **options
        )
        right += [(hit.text or "").startswith(name(n)) for hit in hits]
    return float(np.mean(right))


# Without a guide, an instant query or anything learned, an instruction is searched generically.
@pytest.fixture
def generic_instant() -> Any:
    class Still:
        name = "still"

        def for_collection(self, sample: Any) -> "Still":
            return self

        def moves(self, queries: Any, instruction: str, vectors: Any, **_: Any) -> Any:
            return np.zeros_like(vectors)

        def is_like_its_texts(self, query: str) -> bool:
            return False

    return Still()


@pytest.fixture
def teach(generic_instant: Any, tmp_path: Path) -> Any:
    def taught(judge: Same, **options: Any) -> InstructRetriever:
        feedback = RelevanceFeedback(judge, memory=tmp_path, **options)
        retriever = InstructRetriever(toys(), instant=generic_instant, feedback=feedback)
        ask(retriever, queries())
        return retriever

    return taught


def test_later_questions_have_what_the_judge_taught_without_it(teach: Any) -> None:
    judge = Same()
    retriever = teach(judge)
    report = retriever.distilled(COLOUR, wait=True)
    assert report is not None
    assert report.used
    assert report.distilled > report.first + 0.05
    assert report.questions >= 20
    new = queries(seed=2)
    plain = InstructRetriever(toys(), instant=retriever.instant)
    assert ask(retriever, new, judge=False) > ask(plain, new) + 0.05
    assert report.skips == (report.share >= 0.9)


def test_the_judge_is_skipped_where_that_is_as_good(teach: Any) -> None:
    judge = Same()
    retriever = teach(judge, skip_at=0.3)
    report = retriever.distilled(COLOUR, wait=True)
    assert report.skips
    before = judge.asked
    hits = retriever.search(queries(seed=2)[0], query="blue toy", instruction=COLOUR, k=10)
    assert judge.asked == before
    assert all(hit.ranked_by == "learned" for hit in hits)
    assert "the judge is skipped" in str(report)


def test_other_instructions_and_plain_searches_still_ask_it(teach: Any) -> None:
    judge = Same()
    retriever = teach(judge, skip_at=0.3)
    retriever.distilled(COLOUR, wait=True)
    before = judge.asked
    retriever.search(queries()[0], query="toy", instruction="Which is new?")
    retriever.search(queries()[0], query="toy")
    assert judge.asked == before + 2


def test_it_moves_generic_queries_where_nothing_else_ranks(tmp_path: Path) -> None:
    feedback = RelevanceFeedback(Same(), memory=tmp_path, skip_at=0.3)
    retriever = InstructRetriever(toys(), feedback=feedback)
    ask(retriever, queries())
    assert retriever.distilled(COLOUR, wait=True)
    new = queries(seed=2)
    hits = retriever.search(new[0], query="blue toy", instruction=COLOUR, judge=False)
    assert {hit.ranked_by for hit in hits} == {"learned"}
    assert ask(retriever, new, judge=False) > ask(InstructRetriever(toys()), new, None)


def test_a_coin_teaches_nothing(teach: Any) -> None:
    retriever = teach(Coin())
    assert retriever.distilled(COLOUR, wait=True) is None


def test_too_few_questions_teach_nothing(teach: Any) -> None:
    retriever = teach(Same(), learn_at=100)
    assert retriever.distilled(COLOUR, wait=True) is None


def test_the_next_process_learns_from_the_memory(
    teach: Any, generic_instant: Any, tmp_path: Path
) -> None:
    teach(Same()).distilled(COLOUR, wait=True)
    judge = Same()
    feedback = RelevanceFeedback(judge, memory=tmp_path)
    later = InstructRetriever(toys(), instant=generic_instant, feedback=feedback)
    report = later.distilled(COLOUR, wait=True)
    assert report is not None
    assert report.questions == QUESTIONS
    assert judge.asked <= QUESTIONS // 3  # only about rows that are new to held-out questions


def test_a_memory_that_cannot_be_written_costs_no_search(
    generic_instant: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(distillation._log, "warning", lambda text, *_: said.append(text))
    (tmp_path / "judgements.sqlite3").write_bytes(b"something else entirely" * 50)
    feedback = RelevanceFeedback(Same(), memory=tmp_path)
    retriever = InstructRetriever(toys(), instant=generic_instant, feedback=feedback)
    assert ask(retriever, queries(3)) > 0.9
    assert ["not remembered" in text for text in said] == [True]


@pytest.mark.parametrize(
    ("options", "told"),
    [({"memory": 3}, "memory"), ({"skip_at": 0}, "skip_at"), ({"learn_at": 1}, "learn_at")],
)
def test_settings_out_of_range_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        RelevanceFeedback(Same(), **options)
