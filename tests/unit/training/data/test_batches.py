from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings.training.data.batches import Batch, choose, spread
from instruct_embeddings.training.data.opening import TrainingData, open_data
from tests.unit.training.data.conftest import data_config, questions, toys, write_rows


def opened(path: Path, rows: list[Any], **changes: Any) -> AbstractContextManager[TrainingData]:
    return open_data(data_config(write_rows(path / "toys.jsonl", rows), **changes), None, seed=0)


def labelled(counts: dict[str, int]) -> list[dict[str, Any]]:
    """Rows of one aspect, so many of each colour."""
    return [
        {"text": f"{colour} {i}", "labels": {"colour": colour}}
        for colour, count in counts.items()
        for i in range(count)
    ]


@pytest.mark.parametrize(
    ("counts", "total", "quotas"),
    [
        ([9, 9], 8, [4, 4]),
        ([9, 9, 9], 8, [3, 3, 2]),
        ([1, 9, 9], 8, [1, 4, 3]),
        ([1, 1], 8, [1, 1]),
        ([0, 5], 3, [0, 3]),
        ([9, 9, 9], 2, [1, 1, 0]),
        ([], 3, []),
    ],
)
def test_places_are_shared_evenly(counts: list[int], total: int, quotas: list[int]) -> None:
    assert spread(counts, total) == quotas


@given(st.lists(st.integers(0, 20), max_size=12), st.integers(0, 60))
def test_shares_use_what_there_is_and_differ_by_one_at_most(counts: list[int], total: int) -> None:
    quotas = spread(counts, total)
    assert sum(quotas) == min(total, sum(counts))
    assert all(quota <= count for quota, count in zip(quotas, counts, strict=True))
    unfilled = [q for q, count in zip(quotas, counts, strict=True) if q < count]
    if unfilled:
        assert max(quotas) - min(unfilled) <= 1


def test_a_text_is_chosen_once_while_others_are_left() -> None:
    # The second answer's first candidate has the text of the first answer's.
    assert choose([[1, 2], [1, 3]], [1, 1], 2) == [(0, 0), (1, 1)]
    # The third answer had no quota but fills the gap.
    assert choose([[1], [1], [4, 5]], [1, 1, 0], 2) == [(0, 0), (2, 0)]
    # No other text is left.
    assert choose([[1], [1]], [1, 1], 2) == [(0, 0), (1, 0)]


@pytest.mark.parametrize("step", range(5))
def test_a_batch_shares_an_instruction_and_balances_its_answers(tmp_path: Path, step: int) -> None:
    rows = labelled({"red": 100, "blue": 9, "green": 5})
    with opened(tmp_path, rows, batch_size=12) as data:
        batch = data.source.batch(step)
    assert batch.group == "toys/colour"
    assert len({example.text for example in batch.examples}) == 12
    assert Counter(e.answer for e in batch.examples) == {"red": 4, "blue": 4, "green": 4}
    assert all(e.text.startswith(e.answer) for e in batch.examples)
    (instruction,) = {e.instruction for e in batch.examples}
    assert instruction in ("What colour is it?", "Which colour has it?")


def test_of_many_labels_half_as_many_as_examples_are_drawn(tmp_path: Path) -> None:
    rows = labelled({f"colour_{i}": 6 for i in range(20)})
    with opened(tmp_path, rows, extra_answers=5) as data:
        batch = data.source.batch(0)
    assert sorted(Counter(e.answer for e in batch.examples).values()) == [2, 2, 2, 2]
    assert len(batch.answers) == len(set(batch.answers)) == 5
    assert not {e.answer for e in batch.examples} & set(batch.answers)


def test_answers_of_open_groups_are_all_different(tmp_path: Path) -> None:
    rows = questions(60) + questions(20, start=100)
    with opened(tmp_path, rows, extra_answers=9) as data:
        batches = [data.source.batch(step) for step in range(10)]
    for batch in batches:
        assert len({e.answer for e in batch.examples}) == 8
        assert len({e.answer for e in batch.examples} | set(batch.answers)) == 17


def test_a_small_group_repeats_its_rows(tmp_path: Path) -> None:
    with opened(tmp_path, labelled({"red": 2, "blue": 1})) as data:
        batch = data.source.batch(0)
    assert len(batch.examples) == 8
    assert {e.text for e in batch.examples} == {"red 0", "red 1", "blue 0"}
    assert batch.answers == ()


def test_a_text_with_many_questions_stands_in_a_batch_once(tmp_path: Path) -> None:
    rows = [
        {"text": f"page {i % 12}", "instruction": f"Question {i}?", "answer": f"answer {i}"}
        for i in range(240)
    ]
    with opened(tmp_path, rows) as data:
        batches = [data.source.batch(step) for step in range(10)]
    assert all(len({e.text for e in batch.examples}) == 8 for batch in batches)
    assert {batch.group for batch in batches} == {"toys/mixed"}
    assert all(len({e.instruction for e in batch.examples}) == 8 for batch in batches)


def batches(path: Path, seed: int = 0) -> list[Batch]:
    path.mkdir()
    file = write_rows(path / "toys.jsonl", toys() + questions(50) + questions(50, instruction="?"))
    with open_data(data_config(file), None, seed=seed) as data:
        return [data.source.batch(step, rank) for step in range(12) for rank in range(2)]


def test_a_batch_depends_on_seed_step_and_rank_alone(tmp_path: Path) -> None:
    first = batches(tmp_path / "a")
    assert first == batches(tmp_path / "b")
    assert first != batches(tmp_path / "c", seed=1)
    assert len(set(first)) == len(first)


def test_ranks_share_group_and_instruction(tmp_path: Path) -> None:
    found = batches(tmp_path / "a")
    for one, other in zip(found[::2], found[1::2], strict=True):
        assert one.group == other.group
        assert one.examples[0].instruction == other.examples[0].instruction
    assert len({batch.group for batch in found}) == 4


def test_batches_can_be_drawn_in_any_order(tmp_path: Path) -> None:
    with opened(tmp_path, toys()) as data:
        forwards = [data.source.batch(step) for step in range(6)]
        assert [data.source.batch(step) for step in reversed(range(6))] == forwards[::-1]


def test_groups_are_drawn_as_often_as_they_say(tmp_path: Path) -> None:
    with opened(tmp_path, toys(90) + questions(40), batch_size=2) as data:
        drawn = Counter(data.source.batch(step).group for step in range(1500))
        for group in data.groups:
            assert drawn[group.name] / 1500 == pytest.approx(group.probability, abs=0.05)


def test_both_wordings_are_drawn(tmp_path: Path) -> None:
    with opened(tmp_path, labelled({"red": 9, "blue": 9})) as data:
        drawn = Counter(data.source.batch(step).examples[0].instruction for step in range(100))
    assert 30 < drawn["What colour is it?"] < 70
    assert sum(drawn.values()) == 100


def test_rows_bring_their_negatives_and_other_wordings(tmp_path: Path) -> None:
    rows = [row | {"negatives": ["nobody"]} for row in questions(40)]
    table = '[[rewrites]]\ninstruction = "Who wrote it?"\ninstructions = ["Whose?", "By whom?"]'
    with opened(tmp_path, rows, table=table) as data:
        drawn = [data.source.batch(step) for step in range(20)]
    assert {e.instruction for batch in drawn for e in batch.examples} == {"Whose?", "By whom?"}
    assert all(len({e.instruction for e in batch.examples}) == 1 for batch in drawn)
    assert drawn[0].examples[0].negatives == ("nobody",)
