import pytest

from instruct_embeddings.training.data import answer_key


@pytest.mark.parametrize(
    ("one", "other"), [("Yes", "yes."), (" a  b ", "A b"), ("Straße", "STRASSE"), ("so ?!", "so")]
)
def test_answers_are_the_same_but_for_case_spacing_and_end_marks(one: str, other: str) -> None:
    assert answer_key(one) == answer_key(other)


def test_words_and_marks_inside_count() -> None:
    assert len({answer_key(a) for a in ("1.5", "15", "yes", "yes no", "!", "?")}) == 6
