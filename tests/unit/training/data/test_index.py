from collections.abc import Iterable

import pytest

from instruct_embeddings.training.data.index import Entry, FileIndex


@pytest.fixture
def index() -> FileIndex:
    return FileIndex(least=4)


def rows(count: int, *, answers: int = 1000) -> list[Entry]:
    """Row i has answer i % answers and text 100 + i, and stands at byte 10 * i."""
    return [Entry(i % answers, 100 + i, 10 * i, 9) for i in range(count)]


def texts(answers: Iterable[Iterable[Entry]]) -> set[int]:
    return {row.text for found in answers for row in found}


def test_rows_of_an_answer_stand_together(index: FileIndex) -> None:
    index.labelled["toys/colour"] += rows(5, answers=2)
    (group,) = index.groups()
    assert (group.aspect, group.mixed, group.rows) == ("toys/colour", False, 5)
    assert [[row.offset for row in found] for found in group.answers] == [[0, 20, 40], [10, 30]]


def test_few_rows_of_an_instruction_are_mixed_with_others(index: FileIndex) -> None:
    for key, count in ((7, 4), (8, 2), (9, 1)):
        index.own[key] += rows(count)
    assert [(g.mixed, g.rows, len(g.answers)) for g in index.groups()] == [
        (True, 3, 2),
        (False, 4, 4),
    ]


def test_instructions_with_one_answer_are_mixed_too(index: FileIndex) -> None:
    index.own[7] += rows(9, answers=1)
    index.own[8] += rows(8)
    assert [(g.mixed, g.rows) for g in index.groups()] == [(True, 9), (False, 8)]


def test_the_order_of_lines_decides_nothing(index: FileIndex) -> None:
    other = FileIndex(least=4)
    for filled, turn in ((index, 1), (other, -1)):
        for name, answers in (("a/x", 3), ("a/y", 2))[::turn]:
            filled.labelled[name] += rows(20, answers=answers)[::turn]
        for key in (3, 2)[::turn]:
            filled.own[key] += rows(2 * key)[::turn]
    assert index.pick_aspect("a/x", 6) == other.pick_aspect("a/x", 6)
    assert index.groups() == other.groups()


def test_picked_texts_are_never_trained_on(index: FileIndex) -> None:
    index.labelled["a/x"] += rows(12, answers=2)
    index.labelled["a/y"] += rows(12, answers=3)
    # Two of each of the two labels, at even and at odd places.
    assert sorted(row.offset for row in index.pick_aspect("a/x", 4)) == [0, 10, 20, 30]
    # Nor under the other aspect.
    assert [texts(group.answers) for group in index.groups()] == [set(range(104, 112))] * 2


def test_labels_of_a_measurement_have_several_rows_each(index: FileIndex) -> None:
    index.labelled["a/x"] += rows(1000, answers=100)
    picked = [row.answer for row in index.pick_aspect("a/x", 40)]
    assert sorted(picked) == sorted([*range(10)] * 4)


def test_held_out_instructions_are_not_trained_on(index: FileIndex) -> None:
    for key, count in ((7, 5), (-8, 6), (9, 1)):
        index.own[key] += rows(count)
    index.hold_out(1)  # the smallest: -8
    assert len(index.pick_own(100, group_rows=32)) == 6
    assert [(g.mixed, g.rows) for g in index.groups()] == [(True, 1), (False, 5)]


def test_a_measurement_takes_some_rows_of_many_instructions(index: FileIndex) -> None:
    for key in range(5):
        index.own[key] += rows(20)
    for key in range(10, 40):
        index.own[key] += rows(1)
    index.hold_out(35)
    mixed = [kind for _, kind in index.pick_own(15, group_rows=4)]
    # Four of the mixed ones, then of the instructions in order until there are 15.
    assert mixed == [True] * 4 + [False] * 11
    # With room for 60 rows each of the six groups gives ten.
    assert [kind for _, kind in index.pick_own(60, group_rows=4)].count(True) == 10
