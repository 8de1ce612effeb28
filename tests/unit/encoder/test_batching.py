from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings.encoder.batching import length_sorted_batches


def test_batches_hold_texts_of_similar_length_longest_first() -> None:
    """Two of length 5 fill ten tokens; so do three of at most 3."""
    assert list(length_sorted_batches([5, 1, 3, 5, 3], 10)) == [[0, 3], [2, 4, 1]]


def test_a_text_beyond_the_budget_gets_a_batch_of_its_own() -> None:
    assert list(length_sorted_batches([50, 2, 60], 10)) == [[2], [0], [1]]


def test_no_texts_give_no_batches() -> None:
    assert list(length_sorted_batches([], 10)) == []


@given(lengths=st.lists(st.integers(0, 40), max_size=60), budget=st.integers(1, 100))
def test_every_text_once_and_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = list(length_sorted_batches(lengths, budget))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[row] for row in batch)
        assert len(batch) == 1 or len(batch) * longest <= budget or longest == 0
