import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings.encoder.options import Side
from instruct_embeddings.encoder.template import collate, length_sorted_batches

ROWS = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=7), min_size=1, max_size=5)


def test_batches_hold_texts_of_similar_length_longest_first() -> None:
    """Two of length 5 fill ten tokens; so do three of at most 3."""
    assert list(length_sorted_batches([5, 1, 3, 5, 3], 10)) == [[0, 3], [2, 4, 1]]


def test_a_text_beyond_the_budget_gets_a_batch_of_its_own() -> None:
    assert list(length_sorted_batches([50, 2, 60], 10)) == [[2], [0], [1]]


def test_a_batch_has_no_more_rows_than_asked_for() -> None:
    assert list(length_sorted_batches([1, 1, 1, 1, 1], 100, 2)) == [[0, 1], [2, 3], [4]]


def test_no_texts_give_no_batches() -> None:
    assert list(length_sorted_batches([], 10)) == []


@given(
    lengths=st.lists(st.integers(0, 40), max_size=60),
    budget=st.integers(1, 100),
    rows=st.none() | st.integers(1, 5),
)
def test_every_text_once_and_within_the_budget(
    lengths: list[int], budget: int, rows: int | None
) -> None:
    batches = list(length_sorted_batches(lengths, budget, rows))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[row] for row in batch)
        assert len(batch) == 1 or len(batch) * longest <= budget or longest == 0
        assert rows is None or len(batch) <= rows


def test_shorter_rows_are_filled_on_the_right() -> None:
    """The soft prompts follow each row's own end."""
    batch = collate([[7, 8, 9], [5]], soft_prompts=2, pad_id=1, side="right")
    assert batch.ids.tolist() == [[7, 8, 9, 1, 1], [5, 1, 1, 1, 1]]
    assert batch.mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert batch.last.tolist() == [2, 0]
    assert batch.soft_positions.tolist() == [[3, 4], [1, 2]]


def test_shorter_rows_are_filled_on_the_left() -> None:
    batch = collate([[7, 8, 9], [5]], soft_prompts=2, pad_id=1, side="left")
    assert batch.ids.tolist() == [[7, 8, 9, 1, 1], [1, 1, 5, 1, 1]]
    assert batch.mask.tolist() == [[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]]
    assert batch.last.tolist() == [2, 2]
    assert batch.soft_positions.tolist() == [[3, 4], [3, 4]]


@pytest.mark.parametrize(("side", "last"), [("right", [2, 0]), ("left", [6, 6])])
def test_the_length_is_a_multiple_where_asked_for(side: Side, last: list[int]) -> None:
    """3 tokens and a soft prompt in a length of 4 or of 8."""
    rows = [[7, 8, 9], [5]]
    assert collate(rows, soft_prompts=1, pad_id=0, side=side, multiple=4).ids.shape == (2, 4)
    batch = collate(rows, soft_prompts=1, pad_id=0, side=side, multiple=8)
    assert batch.ids.shape == (2, 8)
    assert batch.mask.sum(1).tolist() == [4, 2]
    assert batch.last.tolist() == last


def test_without_soft_prompts_there_are_no_places_for_them() -> None:
    batch = collate([[4, 5]], soft_prompts=0, pad_id=0, side="right")
    assert batch.soft_positions.shape == (1, 0)
    assert batch.mask.tolist() == [[1, 1]]


@given(rows=ROWS, p=st.integers(0, 3), side=st.sampled_from(["left", "right"]), m=st.integers(1, 5))
def test_every_row_is_found_again_without_gaps(
    rows: list[list[int]], p: int, side: Side, m: int
) -> None:
    batch = collate(rows, soft_prompts=p, pad_id=0, side=side, multiple=m)
    for row, ids, mask, last in zip(rows, batch.ids, batch.mask, batch.last, strict=True):
        real = mask.nonzero().flatten().tolist()
        assert real == list(range(real[0], real[0] + len(row) + p))
        assert ids[real].tolist() == row + [0] * p
        assert real.index(last) == len(row) - 1
    assert batch.ids.shape[1] % m == 0
