"""What one search may want, and what it gets."""

from collections.abc import Callable
from typing import Any

import pytest

from instruct_embeddings import Hit
from instruct_embeddings.errors import ConfigError, GuideError, InstructionError
from tests.integrations.hosts.conftest import Host, Rows

QUERY = "printer toner jam refund"
KIND = "What kind of request is it?"
COPIED = "paper jam tray"

Make = Callable[..., Any]
Find = Callable[..., list[Hit]]


def values(hits: list[Hit], key: str) -> list[str]:
    return [hit.metadata[key] for hit in hits]


def ids(hits: list[Hit]) -> list[str]:
    return [hit.id for hit in hits]


def test_the_instruction_decides_in_what_respect_rows_are_similar(make: Make, find: Find) -> None:
    generic = find(make(), QUERY, k=20)
    adapted = find(make(), QUERY, k=20, instruction=KIND)
    assert set(values(generic, "area")) == {"printer"}
    assert values(generic, "kind").count("refund") == 8
    assert len(set(values(adapted, "area"))) >= 3
    assert values(adapted, "kind").count("refund") >= 19


def test_scores_descend_within_their_scale(make: Make, find: Find) -> None:
    for instruction in (None, KIND):
        scores = [hit.score for hit in find(make(k=30), QUERY, instruction=instruction)]
        assert {type(score) for score in scores} == {float}
        assert scores == sorted(scores, reverse=True)
        assert -1.0 <= scores[-1] < scores[0] <= 1.0


def test_filters_hold_under_an_instruction(make: Make, find: Find) -> None:
    found = find(make(), QUERY, k=8, instruction=KIND, filter={"area": "login"})
    assert values(found, "area") == ["login"] * 8
    assert values(found, "kind") == ["refund"] * 8
    broken = {"$contains": "broken"}
    found = find(make(), QUERY, k=40, instruction=KIND, where_document=broken)
    assert values(found, "kind") == ["failure"] * 32
    assert find(make(), QUERY, instruction=KIND, filter={"area": "nowhere"}) == []


def test_options_of_a_call_win_and_none_lifts(make: Make, find: Find) -> None:
    refunds = {"$contains": "refund"}
    retriever = make(k=3, instruction=KIND, filter={"area": "login"}, where_document=refunds)
    assert values(find(retriever, QUERY), "area") == ["login"] * 3
    assert len(find(retriever, QUERY, k=96, filter=None, where_document=None)) == 96
    assert len(find(retriever, QUERY, k=96, filter=None)) == 32
    assert len(find(retriever, QUERY, k=96, where_document=None)) == 24
    adapted = make(instruction=KIND, k=20)
    assert values(find(adapted, QUERY), "kind").count("refund") >= 19
    assert ids(find(adapted, QUERY, instruction=None)) == ids(find(make(k=20), QUERY))


def test_blend_prefetch_and_exact_reach_the_engine(make: Make, find: Find) -> None:
    wanted: dict[str, Any] = {"k": 20, "instruction": KIND, "prefetch": 96}
    assert values(find(make(), QUERY, **wanted), "kind") == ["refund"] * 20
    generic = find(make(), QUERY, **wanted, blend=0.0)
    assert ids(generic) == ids(find(make(k=20), QUERY))
    exact = make(exact=True, instruction=KIND)
    assert values(find(exact, QUERY, k=32), "kind") == ["refund"] * 32


def test_only_what_is_near_enough(make: Make, find: Find) -> None:
    every = find(make(), QUERY, instruction=KIND, k=40)
    least = every[20].score
    kept = find(make(score_threshold=least), QUERY, instruction=KIND, k=40)
    assert kept == [hit for hit in every if hit.score >= least]
    assert find(make(score_threshold=least), QUERY, k=40, score_threshold=None) == find(
        make(), QUERY, k=40
    )
    spread = find(make(), QUERY, instruction=KIND, k=5, lambda_mult=0.3, prefetch=9)
    assert len(spread) == 5
    assert set(ids(spread)) <= set(ids(every[:9]))


def test_copies_do_not_fill_the_results(host_of: Callable[[Rows], Host]) -> None:
    texts = [COPIED] * 6 + ["paper jam toner", "paper card", "tray account", "jam session", "bill"]
    host = host_of([(f"{i}", text, {"n": i}) for i, text in enumerate(texts)])

    def found(retriever: Any, **call: Any) -> list[str | None]:
        return [hit.text for hit in host.find(retriever, COPIED, **call)]

    plain, always = host.make(k=5), host.make(k=5, lambda_mult=0.5)
    assert found(plain) == found(always, lambda_mult=None) == [COPIED] * 5
    spread = found(plain, lambda_mult=0.5)
    assert (spread[0], len(set(spread))) == (COPIED, 5)
    assert found(always) == spread
    assert found(always, k=2) == spread[:2]
    assert found(host.make(k=5, lambda_mult=0.5, fetch_k=6)) == [COPIED] * 5


@pytest.mark.parametrize("instruction", ["", "   ", "why? " * 2000])
def test_an_instruction_is_a_sentence(make: Make, find: Find, instruction: str) -> None:
    with pytest.raises(InstructionError):
        find(make(), QUERY, instruction=instruction)
    with pytest.raises(ValueError, match="instruction"):
        make(instruction=instruction)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"k": 0}, "k must be"),
        ({"k": -1}, "k must be"),
        ({"blend": 1.5}, "blend"),
        ({"k": 20, "prefetch": 3}, "prefetch"),
        ({"score_threshold": 2}, "score_threshold"),
        ({"lambda_mult": -1}, "lambda_mult"),
        ({"lambda_mult": "x"}, "lambda_mult"),
    ],
)
def test_what_is_out_of_range_is_refused(
    make: Make, find: Find, call: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        find(make(instruction=KIND), QUERY, **call)


def test_what_is_out_of_range_is_refused_before_the_first_search(make: Make) -> None:
    for wrong in ({"k": 0}, {"score_threshold": 2}, {"lambda_mult": -1}, {"fetch_k": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            make(**wrong)


def test_a_misspelt_argument_is_an_error(make: Make, find: Find) -> None:
    with pytest.raises(TypeError, match="instructions"):
        find(make(), QUERY, instructions=KIND)


def test_an_instruction_without_a_guide_is_an_error_that_says_so(make: Make, find: Find) -> None:
    retriever = make(guide=None, store=None)
    assert len(find(retriever, QUERY, k=4)) == 4
    with pytest.raises(GuideError, match="guide"):
        find(retriever, QUERY, instruction=KIND)
