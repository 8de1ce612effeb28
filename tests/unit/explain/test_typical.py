import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings.explain.typical import telling_words, typical_rows

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
    assert telling_words(PETS, KINDS, 2) == [("cat",), ("dog",)]


def test_a_word_counts_once_a_text() -> None:
    texts = ["glass", "glass wood wood wood", "wood wood wood", "wood stone", "stone", "stone"]
    [first, _] = telling_words(texts, np.array([0, 0, 0, 1, 1, 1]), 2)
    # Two of the three texts hold either; none of the others holds glass, one holds wood.
    # Wood: (2/3 - 1/3) / sqrt(1/2 * 1/2 * 2/3) = 0.82 standard errors, which may be chance.
    assert first == ("glass",)


def test_words_are_ranked_by_how_far_they_are_beyond_chance() -> None:
    texts = ["alpha beta"] * 8 + ["alpha"] * 2 + ["beta"] * 4 + ["gamma"] * 6
    [first, second] = telling_words(texts, np.array([0] * 10 + [1] * 10), 2)
    # 1 / sqrt(0.5 * 0.5 * 0.2) = 4.5 and 0.4 / sqrt(0.6 * 0.4 * 0.2) = 1.8
    assert first == ("alpha", "beta")
    assert second == ("gamma",)


def test_as_many_words_come_back_as_are_wanted() -> None:
    texts = ["one two three four five six"] * 3 + ["seven"] * 3
    groups = np.array([0, 0, 0, 1, 1, 1])
    assert telling_words(texts, groups, 2)[0] == ("five", "four", "one", "six", "three")
    assert telling_words(texts, groups, 2, most=1)[0] == ("five",)


def test_a_plural_does_not_come_with_its_singular() -> None:
    texts = [
        "invoice",
        "invoice invoices invoicing",
        "invoice invoices",
        "category",
        "category cat",
    ]
    [first, second] = telling_words([*texts, "cat"], np.array([0, 0, 0, 1, 1, 1]), 2)
    assert (first, second) == (("invoice",), ("cat", "category"))


def test_a_group_of_one_text_is_told_by_its_own_words() -> None:
    assert telling_words(["some pear", "some plum", "some plum"], np.array([0, 1, 1]), 2) == [
        ("pear",),
        ("plum",),
    ]


def test_groups_without_texts_have_no_words() -> None:
    texts = [None, "", "12 34", "word word", "other"]
    groups = np.array([0, 0, 1, 2, 3])
    assert telling_words(texts, groups, 5) == [(), (), ("word",), ("other",), ()]


def test_a_group_of_all_texts_is_told_by_nothing() -> None:
    assert telling_words(["one word", "one word"], np.array([0, 0]), 1) == [()]


def test_words_of_other_scripts_count() -> None:
    texts = ["Счёт пришёл", "счёт", "чат упал", "чат упал"]
    assert telling_words(texts, np.array([0, 0, 1, 1]), 2) == [("счёт",), ("упал", "чат")]


@given(st.lists(st.tuples(TEXTS, st.integers(0, 2)), max_size=12))
def test_every_telling_word_is_more_frequent_in_its_group(
    rows: list[tuple[str | None, int]],
) -> None:
    texts = [text for text, _ in rows]
    groups = np.array([group for _, group in rows], dtype=np.int64)
    bags = [set((text or "").split()) for text in texts]
    found = telling_words(texts, groups, 3)
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
