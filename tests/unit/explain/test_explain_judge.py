"""What the judge changed is part of an explanation."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from instruct_embeddings import InstructRetriever, RelevanceFeedback
from instruct_embeddings.explain import explain
from instruct_embeddings.explain.explanation import Explanation
from instruct_embeddings.testing import InMemoryCollection

WHICH = "Which is red?"


class Still:
    """An instant query that moves nothing."""

    name = "still"

    def for_collection(self, sample: Any) -> "Still":
        return self

    def moves(self, queries: Any, instruction: str, vectors: Any, **options: Any) -> Any:
        return np.zeros_like(vectors)

    def is_like_its_texts(self, query: str) -> bool:
        return False


def explained(reader: Any, **options: Any) -> Explanation:
    colours = ["red" if i % 3 == 2 else "blue" for i in range(30)]
    vectors = [[1.0, 0.5 if c == "red" else -0.4, 0.03 * i] for i, c in enumerate(colours)]
    texts = [f"{colour} toy {i}" for i, colour in enumerate(colours)]
    collection = InMemoryCollection(vectors, texts=texts)
    feedback = RelevanceFeedback(reader)
    retriever = InstructRetriever(collection, instant=Still(), feedback=feedback)
    return explain(retriever, [1.0, 0.0, 0.0], "toy", WHICH, k=5, sample=10, **options)


def red(query: str, instruction: str | None, texts: Sequence[str]) -> list[float]:
    return [float(text.startswith("red")) for text in texts]


def test_who_came_in_who_went_out_and_what_the_judge_said() -> None:
    asked = []

    def judge(query: str, instruction: str | None, texts: Sequence[str]) -> list[float]:
        asked.append(instruction)
        return red(query, instruction, texts)

    found = explained(judge)
    assert asked == [WHICH]
    reading = found.judged
    assert reading is not None
    kept = [hit for hit in reading.hits if hit.after is not None]
    assert [hit.after for hit in kept] == [1, 2, 3, 4, 5]
    assert all((hit.text or "").startswith("red") for hit in kept)
    gone = [hit for hit in reading.hits if hit.after is None]
    assert gone
    assert all((hit.text or "").startswith("blue") for hit in gone)
    assert {hit.before for hit in reading.hits} >= {1, 2, 3, 4, 5}
    shown = str(found)
    assert "came in" in shown
    assert "1.00" in shown
    assert found.to_dict()["judged"]["hits"][0]["after"] == 1


def test_a_judge_that_fails_is_told() -> None:
    def fails(query: str, instruction: str | None, texts: Sequence[str]) -> list[float]:
        raise ConnectionError("no route to the reranker")

    found = explained(fails)
    assert found.judged is not None
    assert "no route to the reranker" in (found.judged.problem or "")
    assert "changed nothing: ConnectionError" in " ".join(str(found).split())


def test_without_asking_nothing_is_said() -> None:
    assert explained(red, judge=False).judged is None
