import pytest

from instruct_embeddings.training.data.index import Entry, ExampleIndex, IndexGroup, RowLocation


@pytest.fixture
def index() -> ExampleIndex:
    return ExampleIndex()


def labelled(count: int, *, answers: int = 2, key: int = 0, source: int = 0) -> list[Entry]:
    """Row i of an aspect has answer i % answers and text 100 + i, and stands at byte 10 * i."""
    return [Entry(source, False, key, i % answers, 100 + i, 10 * i, 9) for i in range(count)]


def own(count: int, *, key: int, source: int = 0, answers: int = 1000) -> list[Entry]:
    """Rows of an instruction of their own."""
    return [Entry(source, True, key, i % answers, 100 + i, 10 * i, 9) for i in range(count)]


def test_rows_of_an_answer_stand_together(index: ExampleIndex) -> None:
    index.stage(labelled(5))
    index.divide(least=2)
    (group,) = index.finish()
    assert group == IndexGroup(0, False, 0, first=0, answers=2, rows=5)
    assert index.answers([1, 0]) == [(3, 2), (0, 3)]
    assert index.rows([4, 0]) == [RowLocation(103, 30, 9), RowLocation(100, 0, 9)]


def test_few_rows_of_an_instruction_are_mixed_with_others(index: ExampleIndex) -> None:
    index.stage([*own(4, key=7), *own(2, key=8), *own(1, key=9), *own(3, key=5, source=1)])
    index.divide(least=3)
    found = [(g.source, g.key, g.rows) for g in index.finish()]
    assert found == [(0, None, 3), (0, 7, 4), (1, 5, 3)]


def test_instructions_with_one_answer_are_mixed_too(index: ExampleIndex) -> None:
    index.stage([*own(9, key=7, answers=1), *own(9, key=8)])
    index.divide(least=3)
    assert [(g.key, g.rows) for g in index.finish()] == [(None, 9), (8, 9)]


def test_the_order_of_lines_decides_nothing(index: ExampleIndex) -> None:
    entries = [*labelled(20, answers=3), *labelled(9, key=1), *own(6, key=3), *own(2, key=2)]
    other = ExampleIndex()
    for filled, rows in ((index, entries), (other, entries[::-1])):
        filled.stage(rows)
        filled.divide(least=4)
    assert index.pick_aspect(0, 0, 6) == other.pick_aspect(0, 0, 6)
    assert index.finish() == other.finish()
    # 37 rows, less six of each aspect.
    assert index.rows(range(25)) == other.rows(range(25))


def test_picked_texts_are_never_trained_on(index: ExampleIndex) -> None:
    index.stage([*labelled(12, key=0), *labelled(12, key=1, answers=3)])
    index.divide(least=4)
    picked = index.pick_aspect(0, 0, 4)
    # Two of each of the two labels, at even and at odd places.
    assert sorted(place.offset for place in picked) == [0, 10, 20, 30]
    # Nor under the other aspect.
    assert [group.rows for group in index.finish()] == [8, 8]
    assert {row.text for row in index.rows(range(16))} == set(range(104, 112))


def test_labels_of_a_measurement_have_several_rows_each(index: ExampleIndex) -> None:
    index.stage(labelled(1000, answers=100))
    index.divide(least=4)
    picked = [place.offset // 10 % 100 for place in index.pick_aspect(0, 0, 40)]
    assert sorted(picked) == sorted([*range(10)] * 4)


def test_held_out_sources_and_instructions_are_not_trained_on(index: ExampleIndex) -> None:
    index.stage([*own(5, key=7), *own(6, key=-8), *own(1, key=9), *own(9, key=3, source=1)])
    index.stage(labelled(8, source=1))
    index.divide(least=4)
    assert index.instructions(0) == 3
    index.hold_out_source(1)
    index.hold_out_instructions(0, 1)  # the smallest: -8
    assert len(index.pick_own(0, 100, group_rows=32)) == 6
    assert [(g.source, g.key, g.rows) for g in index.finish()] == [(0, None, 1), (0, 7, 5)]


def test_a_measurement_takes_some_rows_of_many_instructions(index: ExampleIndex) -> None:
    index.stage([entry for key in range(5) for entry in own(20, key=key)])
    index.stage([entry for key in range(10, 40) for entry in own(1, key=key)])
    index.divide(least=4)
    index.hold_out_source(0)
    mixed = [kind for _, kind in index.pick_own(0, 15, group_rows=4)]
    # Four of the mixed ones, then of the instructions in order until there are 15.
    assert mixed == [True] * 4 + [False] * 11
    # With room for 60 rows each of the six groups gives ten.
    assert [kind for _, kind in index.pick_own(0, 60, group_rows=4)].count(True) == 10
