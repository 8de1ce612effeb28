import pytest

from instruct_embeddings.guides.asking import Cost, Prompt, estimate
from instruct_embeddings.guides.asking.cost import count_tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("word", 1), ("words", 2), ("да", 1), ("даль", 2), ("中文中文", 3), ("\ud800", 1)],
)
def test_a_token_is_counted_for_every_four_bytes(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


def test_an_estimate_is_one_call_a_prompt() -> None:
    prompts = [Prompt("12345678", "1234"), Prompt("", "1")]
    assert estimate(prompts, output_tokens=10) == Cost(2, 2 + 1 + 1, 20)
    assert estimate(iter(prompts)) == Cost(2, 4, 200)
    assert estimate([]) == Cost()


def test_costs_add_up_and_tell_that_tokens_are_estimated() -> None:
    total = Cost(1, 2000, 3) + Cost(1000, 500, 4)
    assert total == Cost(1001, 2500, 7)
    assert total - Cost(1, 2000, 3) == Cost(1000, 500, 4)
    assert total.tokens == 2507
    assert str(total) == "1,001 calls, about 2,500 tokens in and 7 out (estimated)"
