"""A judge moves the query vector; one that fails leaves the first ranking standing."""

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from instruct_embeddings import Hit, InstructRetriever, RelevanceFeedback
from instruct_embeddings.errors import ConfigError, GuideError
from instruct_embeddings.guides import MetadataGuide
from instruct_embeddings.testing import InMemoryCollection
from tests.unit.conftest import COLOUR, Toys
from tests.unit.retrieval.conftest import CountingCollection

AXES = np.eye(3, dtype=np.float32)  # topic, colour, noise
QUERY = [1.0, 0.0, 0.0]


def toys(rows: int = 60, red: int = 3, space: Any = "cosine") -> InMemoryCollection:
    """Toys of one topic; every `red`-th is red, and the red ones are a little further away."""
    vectors, texts = [], []
    for i in range(rows):
        is_red = i % red == red - 1
        vector = AXES[0] + (0.6 if is_red else -0.55) * AXES[1] + 0.02 * i * AXES[2]
        vectors.append(vector / np.linalg.norm(vector))
        texts.append(f"{'red' if is_red else 'blue'} toy {i}")
    return InMemoryCollection(vectors, texts=texts, space=space)


def wants_red(query: str, instruction: str | None, texts: Sequence[str]) -> list[float]:
    return [float(text.startswith("red")) for text in texts]


def search(judge: Any, *, rows: int = 60, k: int = 10, **options: Any) -> list[Hit]:
    feedback = RelevanceFeedback(judge, **options)
    return InstructRetriever(toys(rows), feedback=feedback).search(QUERY, query="toy", k=k)


def reds(hits: Sequence[Hit]) -> int:
    return sum((hit.text or "").startswith("red") for hit in hits)


def test_what_was_not_read_is_found_by_the_moved_query() -> None:
    plain = InstructRetriever(toys()).search(QUERY, k=20)
    assert 0 < reds(plain) < 10
    hits = search(wants_red, k=20)
    assert reds(hits) == 20  # there are 20 among 60, and the judge has read few of them
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_hits_say_what_the_judge_said() -> None:
    hits = search(wants_red, k=20)
    judged = [hit for hit in hits if hit.judge_score is not None]
    assert judged
    assert all(hit.judge_score == 1.0 for hit in judged)
    assert any(hit.judge_score is None for hit in hits)
    assert all(hit.judge_problem is None for hit in hits)


@pytest.mark.parametrize("space", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("exact", [False, True])
def test_it_works_in_each_space_with_and_without_the_index(space: Any, exact: bool) -> None:
    retriever = InstructRetriever(toys(space=space), feedback=RelevanceFeedback(wants_red))
    assert reds(retriever.search(QUERY, query="toy", k=10, exact=exact)) == 10


def test_a_call_without_the_judge_is_the_plain_search() -> None:
    feedback = RelevanceFeedback(wants_red)
    retriever = InstructRetriever(toys(), feedback=feedback)
    plain = InstructRetriever(toys()).search(QUERY, k=10)
    assert retriever.search(QUERY, query="toy", k=10, judge=False) == plain
    assert retriever.search(QUERY, k=10) == plain  # a vector alone cannot be judged
    assert feedback.counts.asked == 0


def test_an_instruction_needs_no_guide_where_a_judge_reads_it() -> None:
    retriever = InstructRetriever(toys(), feedback=RelevanceFeedback(wants_red))
    hits = retriever.search(QUERY, query="toy", instruction="Which is red?", k=10)
    assert reds(hits) == 10
    assert {hit.ranked_by for hit in hits} == {"generic"}
    asked = {"query": "toy", "instruction": "Which is red?"}
    assert asyncio.run(retriever.asearch(QUERY, **asked, k=10)) == hits
    with pytest.raises(GuideError, match="no guide"):
        retriever.search(QUERY, **asked, judge=False)
    with pytest.raises(GuideError, match="no guide"):
        asyncio.run(retriever.asearch(QUERY, **asked, judge=False))


def test_what_a_search_has_read_is_not_read_again(toys: Toys) -> None:
    collection = CountingCollection(
        toys.vectors,
        texts=[f"toy {i}" for i in range(len(toys.vectors))],
        metadatas=[{"colour": colour} for colour in toys.colours],
    )

    def judge(query: str, instruction: str | None, texts: Sequence[str]) -> list[float]:
        return [float(int(text.split()[1]) % 2) for text in texts]

    retriever = InstructRetriever(
        collection, MetadataGuide("colour"), force=True, feedback=RelevanceFeedback(judge)
    )
    known = retriever.transform(COLOUR)
    assert known.mix  # its candidates are rescored, so their vectors and records are read
    collection.calls.clear()
    hits = retriever.search(toys.vectors[0], query="toy", instruction=COLOUR)
    assert all(hit.text for hit in hits)
    assert (collection.calls["search"], collection.calls["fetch"]) == (2, 0)


def test_two_rounds_read_what_the_first_has_found() -> None:
    read: list[list[str]] = []

    def judge(query: str, instruction: str | None, texts: Sequence[str]) -> list[float]:
        read.append(list(texts))
        return wants_red(query, instruction, texts)

    search(judge, rounds=2, candidates=8)
    assert len(read) == 2
    assert not set(read[0]) & set(read[1])
    assert sum(t.startswith("red") for t in read[1]) > sum(t.startswith("red") for t in read[0])


def test_the_judge_reads_query_instruction_and_no_more_than_it_may() -> None:
    read: list[tuple[str, str | None, int]] = []

    def judge(query: str, instruction: str | None, texts: Sequence[str]) -> list[float]:
        read.append((query, instruction, len(texts)))
        return wants_red(query, instruction, texts)

    search(judge, max_characters=45)
    assert read == [("toy", None, 4)]  # ten characters a text, or nine


def nan(query: str, instruction: str | None, texts: Sequence[str]) -> list[float]:
    return [float("nan")] * len(texts)


def few(query: str, instruction: str | None, texts: Sequence[str]) -> list[float]:
    return [1.0] * (len(texts) - 1)


def words(query: str, instruction: str | None, texts: Sequence[str]) -> Any:
    return ["high"] * len(texts)


def raising(query: str, instruction: str | None, texts: Sequence[str]) -> Any:
    raise RuntimeError("the reranker is on fire")


def nothing(query: str, instruction: str | None, texts: Sequence[str]) -> Any:
    return None


def one_text(query: str, instruction: str | None, texts: Sequence[str]) -> Any:
    return "0.5"


def unjudged(query: str, instruction: str | None, texts: Sequence[str]) -> Any:
    return [1.0, 0.0] + [None] * (len(texts) - 2)


@pytest.mark.parametrize(
    ("judge", "told"),
    [
        (nan, "not a finite number"),
        (few, "19 scores for 20 texts"),
        (words, "'high' is not a finite number"),
        (raising, "RuntimeError: the reranker is on fire"),
        (nothing, "NoneType"),
        (one_text, "type str"),
        (unjudged, "only 2 candidates"),
    ],
)
def test_a_judge_that_fails_leaves_the_first_ranking_and_says_so(judge: Any, told: str) -> None:
    hits = search(judge)
    plain = InstructRetriever(toys()).search(QUERY, k=10)
    assert [hit.id for hit in hits] == [hit.id for hit in plain]
    assert all(told in (hit.judge_problem or "") for hit in hits)


def test_a_slow_judge_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    released = threading.Event()

    def slow(query: str, instruction: str | None, texts: Sequence[str]) -> list[float]:
        released.wait(20)
        return wants_red(query, instruction, texts)

    feedback = RelevanceFeedback(slow, timeout=0.05)
    retriever = InstructRetriever(toys(), feedback=feedback)
    with caplog.at_level(logging.WARNING):
        began = time.perf_counter()
        hits = retriever.search(QUERY, query="toy", k=10)
        retriever.search(QUERY, query="toy", k=10)
    assert time.perf_counter() - began < 10
    released.set()
    assert feedback.counts.timed_out == 2
    assert feedback.counts.refined == 0
    assert "no answer within 0.05 seconds" in (hits[0].judge_problem or "")
    assert len([r for r in caplog.records if "did not answer" in r.message]) == 1


def test_no_thread_of_the_event_loop_waits_for_a_judge() -> None:
    released = threading.Event()

    def waits(query: str, instruction: str | None, texts: Sequence[str]) -> list[float]:
        if query == "slow":
            released.wait(20)
        return wants_red(query, instruction, texts)

    retriever = InstructRetriever(toys(), feedback=RelevanceFeedback(waits, timeout=20))

    async def many() -> list[list[Hit]]:
        slow = [asyncio.ensure_future(retriever.asearch(QUERY, query="slow")) for _ in range(40)]
        await asyncio.sleep(0.05)
        plain = await asyncio.wait_for(retriever.asearch(QUERY, query="toy", judge=False), 10)
        released.set()
        return [plain, *await asyncio.gather(*slow)]

    plain, *judged = asyncio.run(many())
    assert len(plain) == 4
    assert all(reds(hits) == 4 for hits in judged)


def test_asearch_is_search() -> None:
    retriever = InstructRetriever(toys(), feedback=RelevanceFeedback(wants_red))
    found = asyncio.run(retriever.asearch(QUERY, query="toy", k=7))
    assert found == retriever.search(QUERY, query="toy", k=7)


def test_a_cap_on_calls_holds_for_all_retrievers_that_share_the_judge() -> None:
    feedback = RelevanceFeedback(wants_red, max_calls=2)
    one, other = (InstructRetriever(toys(), feedback=feedback) for _ in range(2))
    one.search(QUERY, query="toy")
    other.search(QUERY, query="toy")
    hits = one.search(QUERY, query="toy")
    assert hits[0].judge_problem == "max_calls=2 is reached"
    assert (feedback.counts.asked, feedback.counts.refused) == (2, 1)


def test_a_judge_who_guesses_loses_its_influence(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)

    def guesses(query: str, instruction: str | None, texts: Sequence[str]) -> list[float]:
        return rng.random(len(texts)).tolist()

    feedback = RelevanceFeedback(guesses)
    retriever = InstructRetriever(toys(), feedback=feedback)
    with caplog.at_level(logging.WARNING):
        for _ in range(60):
            hits = retriever.search(QUERY, query="toy", k=10)
    assert feedback.trust == 0.0
    plain = InstructRetriever(toys()).search(QUERY, k=10)
    assert [hit.id for hit in hits] == [hit.id for hit in plain]
    assert "nothing to do with where candidates lie" in caplog.text


def test_a_good_judge_keeps_its_influence() -> None:
    feedback = RelevanceFeedback(wants_red)
    retriever = InstructRetriever(toys(), feedback=feedback)
    for _ in range(30):
        retriever.search(QUERY, query="toy", k=10)
    assert feedback.trust == 1.0


def test_candidates_that_are_all_alike_change_nothing() -> None:
    hits = search(lambda query, instruction, texts: [1.0] * len(texts))
    plain = InstructRetriever(toys()).search(QUERY, k=10)
    assert [hit.id for hit in hits] == [hit.id for hit in plain]


def test_a_collection_of_two_rows_is_not_judged() -> None:
    feedback = RelevanceFeedback(wants_red)
    hits = InstructRetriever(toys(2), feedback=feedback).search(QUERY, query="toy")
    assert len(hits) == 2
    assert feedback.counts.asked == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"candidates": 2}, "candidates"),
        ({"rounds": 0}, "rounds"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "soon"}, "timeout"),
        ({"max_calls": -1}, "max_calls"),
        ({"max_characters": 0}, "max_characters"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        RelevanceFeedback(wants_red, **options)


def test_a_bare_judge_is_refused_with_what_to_write() -> None:
    with pytest.raises(ConfigError, match=r"feedback=RelevanceFeedback\(judge\)"):
        InstructRetriever(toys(), feedback=wants_red)  # type: ignore[arg-type]
