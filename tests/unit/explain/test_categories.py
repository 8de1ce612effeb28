from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings._types import FloatArray
from instruct_embeddings.explain.categories import (
    _covered,
    _largest_peak,
    _names_of_words,
    adapted_view,
    assign,
    choose_centres,
    distinctive_words,
    label_names,
    typical_rows,
)
from instruct_embeddings.transform import InstructionTransform, SpaceTransform
from instruct_embeddings.transform.transform import VectorEncoder
from instruct_embeddings.transform.vectors import unit_rows
from tests.unit.conftest import Toys, hand_made, small_rows

ROWS = np.array([[1, 0], [0.6, 0.8], [-0.6, 0.8]], np.float32)


def with_counts(counts: dict[str, int]) -> InstructionTransform:
    transform = hand_made()
    return replace(transform, report=replace(transform.report, label_counts=counts))


def without_labels() -> InstructionTransform:
    keep = VectorEncoder(((np.eye(2, dtype=np.float32), np.zeros(2, np.float32)),))
    return hand_made(space=SpaceTransform(keep, None, 0.0))


def bundles(angles: list[float], each: int = 20) -> FloatArray:
    """Rows within 5 degrees of each angle, in turn."""
    turns = np.linspace(-5, 5, each)[:, None] + np.array(angles)
    radians = np.deg2rad(turns.ravel())
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_a_row_is_taken_for_its_most_likely_label() -> None:
    names, count, assigned, likely = assign(hand_made(), ROWS, 3, seed=0)
    assert (names, count) == (("left", "right"), 2)
    assert assigned.tolist() == [0, 0, 1]
    # exp(2 x) / (exp(2 x) + exp(-2 x)) for x = 1, 0.6 and -0.6
    assert likely is not None
    assert likely.tolist() == pytest.approx([0.982, 0.917, 0.917], abs=1e-3)


def test_labels_with_a_single_row_were_not_learned_and_have_no_name() -> None:
    assert label_names(with_counts({"west": 5, "rare": 1, "east": 2})) == ("east", "west")


@pytest.mark.parametrize("counts", [{}, {"a": 2, "b": 2, "c": 2}, {"a": 9}])
def test_labels_that_do_not_fit_the_classifier_are_not_guessed(counts: dict[str, int]) -> None:
    transform = with_counts(counts)
    assert label_names(transform) is None
    assert assign(transform, ROWS, 3, seed=0)[:2] == (None, 2)


def test_the_labels_of_a_real_fit_are_found_again(
    toys: Toys, by_colour: InstructionTransform
) -> None:
    names, _, assigned, _ = assign(by_colour, toys.vectors, len(toys.vectors), seed=0)
    assert names == ("blue", "green", "red")
    guessed = np.array(names)[assigned]
    assert np.mean(guessed == np.array(toys.colours)) > 0.9


def test_without_labels_there_are_clusters() -> None:
    rows = bundles([0, 120])
    names, count, assigned, likely = assign(without_labels(), rows, 30, seed=0)
    assert (names, count, likely) == (None, 2, None)
    assert len(set(assigned[0::2])) == len(set(assigned[1::2])) == 1
    assert assigned[0] != assigned[1]


@pytest.mark.parametrize("angles", [[0, 180], [0, 100, 200], [0, 72, 144, 216, 288]])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_as_many_clusters_are_found_as_there_are(angles: list[float], seed: int) -> None:
    centres = choose_centres(bundles(angles), seed)
    degrees = np.rad2deg(np.arctan2(centres[:, 1], centres[:, 0]))
    found = np.sort((degrees + 1) % 360 - 1)  # 360 is 0, also where rounding puts it
    assert np.allclose(found, angles, atol=0.5)


@pytest.mark.parametrize(
    ("figures", "place"),
    [
        ([0.5], 0),
        ([0.5, 0.4, 0.3], 0),
        ([0.3, 0.4, 0.5], 2),
        ([0.5, 0.4, 0.45, 0.3], 2),  # a peak, and 0.05 below the best
        ([0.5, 0.4, 0.42, 0.3], 0),  # 0.08 below
        ([0.5, 0.45, 0.44], 0),  # 0.06 below, but no peak
        ([0.0, 0.0], 0),
    ],
)
def test_the_largest_number_that_stands_out_is_taken(figures: list[float], place: int) -> None:
    assert _largest_peak(figures) == place


@pytest.mark.parametrize(("rows", "count"), [(1, 1), (3, 1), (4, 2), (19, 2)])
def test_few_rows_make_few_clusters(rows: int, count: int) -> None:
    assert choose_centres(bundles([0, 90])[:rows], 0).shape == (count, 2)


def test_equal_rows_make_clusters_of_which_one_has_all() -> None:
    rows = np.tile(np.float32([0.6, 0.8]), (40, 1))
    centres = choose_centres(rows, 0)
    np.testing.assert_allclose(centres, rows[: len(centres)], atol=1e-6)


SHARES = st.sampled_from([0.0, 0.3, 0.5, 1.0])


@given(small_rows(5, 2).map(unit_rows), SHARES, SHARES)
def test_inner_products_of_the_view_are_scores_with_both_sides_folded(
    rows: FloatArray, weight: float, mix: float
) -> None:
    whole = hand_made()
    transform = replace(whole, space=replace(whole.space, weight=weight), mix=mix)
    view = adapted_view(transform, rows)
    folded = transform.query.fold(rows)
    expected = (1 - mix) * folded @ folded.T + mix * transform.space.score(rows, rows)
    np.testing.assert_allclose(view @ view.T, expected, atol=1e-5)


def test_without_labels_the_view_has_no_probabilities() -> None:
    transform = replace(without_labels(), mix=1.0)
    # The hand-made fold keeps the sign of the first coordinate, which has no share here.
    np.testing.assert_allclose(adapted_view(transform, ROWS), np.pad(ROWS, ((0, 0), (2, 0))))


PETS = [
    "the cat sleeps all day",
    "the cat, the black cat: cat",
    "the dog barks all day",
    "the dog runs",
    "the DOG swims",
]
KINDS = np.array([0, 0, 1, 1, 1])
WORDS = st.sampled_from(["red", "green", "blue", "the", "of"])
TEXTS = st.none() | st.lists(WORDS, max_size=6).map(" ".join)


def test_the_words_of_a_group_are_those_that_the_others_lack() -> None:
    # "the" is everywhere, "sleeps" and "black" in one text only, "of" is too short.
    assert distinctive_words(PETS, KINDS, 2) == [("cat",), ("dog",)]


def test_a_word_counts_once_a_text() -> None:
    texts = ["glass", "glass wood wood wood", "wood wood wood", "wood stone", "stone", "stone"]
    [first, _] = distinctive_words(texts, np.array([0, 0, 0, 1, 1, 1]), 2)
    # Two of the three texts hold either; none of the others holds glass, one holds wood.
    # Wood: (2/3 - 1/3) / sqrt(1/2 * 1/2 * 2/3) = 0.82 standard errors, which may be chance.
    assert first == ("glass",)


def test_words_are_ranked_by_how_far_they_are_beyond_chance() -> None:
    texts = ["alpha beta"] * 8 + ["alpha"] * 2 + ["beta"] + ["gamma"] * 9
    [first, second] = distinctive_words(texts, np.array([0] * 10 + [1] * 10), 2)
    # 1 / sqrt(0.5 * 0.5 * 0.2) = 4.5 and 0.7 / sqrt(0.45 * 0.55 * 0.2) = 3.1
    assert first == ("alpha", "beta")
    assert second == ("gamma",)


def test_stop_words_name_no_group_in_any_language() -> None:
    texts = ["das Rad und der Weg"] * 5 + ["das Haus und kein Dach"] * 4 + ["kein Haus"] * 4
    groups = np.array([0] * 5 + [1] * 8)
    [first, second] = distinctive_words(texts, groups, 2)
    # "das" and "und" are in all of the first five and in half of the others.
    assert set(first) == {"rad", "der", "weg"}
    assert set(second) == {"haus", "dach", "kein"}
    english = distinctive_words(["would paint"] * 4 + ["glue"] * 8, np.repeat([0, 1], [4, 8]), 2)
    assert english == [("paint",), ("glue",)]


def test_a_group_that_its_words_hardly_describe_is_mixed() -> None:
    texts = ["apple pie", "apple tea", *(f"word{n} other{n}" for n in "abcdefgh"), *["car"] * 9]
    groups = np.repeat([0, 1], [10, 9])
    words = distinctive_words(texts, groups, 2)
    shares = _covered(texts, groups, words)
    assert shares == [0.2, 1.0]
    assert _names_of_words(words, shares) == ["mixed: apple", "car"]
    assert _names_of_words([(), ()], [0.0, 1.0]) == ["mixed", "group 2"]


def test_as_many_words_come_back_as_are_wanted() -> None:
    texts = ["one two three four five six"] * 3 + ["seven"] * 3
    groups = np.array([0, 0, 0, 1, 1, 1])
    assert distinctive_words(texts, groups, 2)[0] == ("five", "four", "one", "six", "three")
    assert distinctive_words(texts, groups, 2, most=1)[0] == ("five",)


def test_a_plural_does_not_come_with_its_singular() -> None:
    texts = [
        "invoice",
        "invoice invoices invoicing",
        "invoice invoices",
        "category",
        "category cat",
    ]
    [first, second] = distinctive_words([*texts, "cat"], np.array([0, 0, 0, 1, 1, 1]), 2)
    assert (first, second) == (("invoice",), ("cat", "category"))


def test_a_group_of_one_text_is_told_by_its_own_words() -> None:
    assert distinctive_words(["some pear", "some plum", "some plum"], np.array([0, 1, 1]), 2) == [
        ("pear",),
        ("plum",),
    ]


def test_groups_without_texts_have_no_words() -> None:
    texts = [None, "", "12 34", "word word", "other"]
    groups = np.array([0, 0, 1, 2, 3])
    assert distinctive_words(texts, groups, 5) == [(), (), ("word",), ("other",), ()]


def test_a_group_of_all_texts_is_told_by_nothing() -> None:
    assert distinctive_words(["one word", "one word"], np.array([0, 0]), 1) == [()]


def test_words_of_other_scripts_count() -> None:
    texts = ["Счёт пришёл", "счёт", "чат упал", "чат упал"]
    assert distinctive_words(texts, np.array([0, 0, 1, 1]), 2) == [("счёт",), ("упал", "чат")]


@given(st.lists(st.tuples(TEXTS, st.integers(0, 2)), max_size=12))
def test_every_telling_word_is_more_frequent_in_its_group(
    rows: list[tuple[str | None, int]],
) -> None:
    texts = [text for text, _ in rows]
    groups = np.array([group for _, group in rows], dtype=np.int64)
    bags = [set((text or "").split()) for text in texts]
    found = distinctive_words(texts, groups, 3)
    assert len(found) == 3
    for group, words in enumerate(found):
        own = [bag for bag, its in zip(bags, groups, strict=True) if its == group and bag]
        others = [bag for bag, its in zip(bags, groups, strict=True) if its != group and bag]
        for word in words:
            inside = np.mean([word in bag for bag in own])
            assert inside > np.mean([word in bag for bag in others])


ARROWS = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]], np.float32)


def test_the_most_typical_row_is_nearest_to_the_middle() -> None:
    # The middle of the first three, (0.8, 0.47), lies at 30 degrees; they lie at 0, 37 and 53.
    rows = np.array([0, 1, 2])
    assert typical_rows(ARROWS, rows, ["a", "b", "c", "d"]) == [1, 2, 0]
    assert typical_rows(ARROWS, np.array([3]), ["a", "b", "c", "d"]) == [3]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [(["a", "b", "b"], [1, 0]), (["a", None, "c"], [2, 0]), ([None, None, None], [])],
)
def test_repeated_and_missing_texts_are_passed_over(
    texts: list[str | None], expected: list[int]
) -> None:
    assert typical_rows(ARROWS, np.array([0, 1, 2]), texts) == expected
