from concurrent.futures import ThreadPoolExecutor

import pytest

from instruct_embeddings.errors import ConfigError, GuideError
from instruct_embeddings.guides.chat import Cost, Prompt, estimate
from instruct_embeddings.guides.chat.costs import Budget, count_tokens


def test_an_estimate_above_a_cap_is_refused_with_both() -> None:
    with pytest.raises(
        GuideError, match=r"would take 11 calls, about 5 tokens in.*, more than max_calls=10\."
    ):
        Budget(10, None).check(Cost(11, 5, 0))
    with pytest.raises(GuideError, match=r"more than max_tokens=1,000\. Raise the cap"):
        Budget(None, 1000).check(Cost(1, 900, 101))


def test_estimates_at_a_cap_and_without_one_are_fine() -> None:
    Budget(10, 1000).check(Cost(10, 900, 100))
    Budget(None, None).check(Cost(10**9, 10**9, 10**9))


def test_what_is_spent_counts() -> None:
    budget = Budget(3, None)
    budget.reserve(Cost(2, 10, 10))
    with pytest.raises(GuideError, match=r"after 2 calls, about 10 tokens .* spent, more than"):
        budget.check(Cost(2, 0, 0))
    budget.reserve(Cost(1, 0, 0))
    with pytest.raises(GuideError, match="the next call would exceed max_calls=3; spent are 3 c"):
        budget.reserve(Cost(1, 0, 0))
    assert budget.spent == Cost(3, 10, 10)


def test_what_a_call_really_cost_replaces_what_was_reserved() -> None:
    budget = Budget(None, 100)
    budget.reserve(Cost(1, 40, 50))
    budget.settle(Cost(1, 40, 50), Cost(1, 40, 5))
    assert budget.spent == Cost(1, 40, 5)
    budget.reserve(Cost(1, 40, 10))
    budget.settle(Cost(1, 40, 10), Cost())
    assert budget.spent == Cost(1, 40, 5)


def test_threads_together_stay_below_the_cap() -> None:
    budget = Budget(50, None)

    def spend(_: int) -> bool:
        try:
            budget.reserve(Cost(1, 1, 1))
        except GuideError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(spend, range(200))) == 50
    assert budget.spent.calls == 50


@pytest.mark.parametrize("caps", [(-1, None), (None, -1), (1.5, None), (True, None)])
def test_caps_are_whole_numbers(caps: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="max_"):
        Budget(*caps)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("words and words", 3),
        ("electricity", 2),
        ('{"1": 2, "2": null}', 11),
        ("in 2024", 4),
        ("a7b", 3),
        ("\n\n", 1),
        ("даль", 2),
        ("中文中文", 4),
        ("\ud800", 1),
    ],
)
def test_a_token_is_counted_for_what_tokenizers_make_one_of(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


def test_an_estimate_is_one_call_a_prompt() -> None:
    prompts = [Prompt("two words", "one"), Prompt("", "1")]
    assert estimate(prompts, output_tokens=10) == Cost(2, 2 + 1 + 1, 20)
    assert estimate(iter(prompts)) == Cost(2, 4, 200)
    assert estimate([]) == Cost()


def test_costs_add_up_and_tell_what_is_estimated() -> None:
    total = Cost(1, 2000, 3) + Cost(1000, 500, 4, counted=1000)
    assert total == Cost(1001, 2500, 7, 1000)
    assert total - Cost(1, 2000, 3) == Cost(1000, 500, 4, 1000)
    assert total.tokens == 2507
    assert str(total - Cost(0, 0, 0, 1000)) == (
        "1,001 calls, about 2,500 tokens in and 7 out (estimated)"
    )
    assert str(total) == (
        "1,001 calls, 1,000 of them counted by the server, "
        "about 2,500 tokens in and 7 out (estimated)"
    )
    assert (
        str(Cost(1, 20, 3, counted=1)) == "1 call, 20 tokens in and 3 out (counted by the server)"
    )
