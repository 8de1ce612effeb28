"""Names of classes as a guide. Most tests use an encoder that knows a few texts by heart."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from instruct_embeddings import InstructEncoder
from instruct_embeddings._types import FloatArray
from instruct_embeddings.config import FitConfig
from instruct_embeddings.errors import ConfigError, GuideError
from instruct_embeddings.guides.encoder import (
    LabelNamesGuide,
    adjust,
    guess,
    spread,
)
from instruct_embeddings.protocols import Guide, Rows
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.transform.vectors import centred, unit_rows
from tests.models import INSTRUCTION, tiny_checkpoint
from tests.unit.conftest import Toys, small_rows

WHAT = "What is it?"


class ByHeart:
    """Texts under an instruction and texts without one have vectors of their own."""

    def __init__(
        self, answers: dict[str, Sequence[float]], texts: dict[str, Sequence[float]]
    ) -> None:
        self.known: dict[bool, dict[str, Sequence[float]]] = {False: answers, True: texts}
        self.asked: list[tuple[list[str], str | None]] = []

    def encode(self, texts: Sequence[str], *, instruction: str | None = None) -> FloatArray:
        self.asked.append((list(texts), instruction))
        known = self.known[instruction is not None]
        return np.array([known[text] for text in texts], dtype=np.float32)

    def encode_grid(self, texts: Sequence[str], instructions: Sequence[str]) -> FloatArray:
        return np.stack([self.encode(texts, instruction=text) for text in instructions])

    def fingerprint(self, *, instruction: str | None = None) -> str:
        return "backbone" if instruction is None else "by heart"


ENCODER: Any = ByHeart(
    answers={"cat": [1, 0, 1], "dog": [0, 1, 1], "purrs": [1, 0, 1], "barks": [0, 1, 1]},
    texts={"it purrs": [1, 0, 1], "it barks": [0, 1, 1], "it walks": [1, 1, 2], "mews": [9, 1, 9]},
)


def rows(*texts: str | None) -> Rows:
    return Rows(tuple(map(str, range(len(texts)))), texts=texts)


def names_of(guide: LabelNamesGuide, *texts: str | None) -> list[str | None]:
    labels = guide.judge(WHAT, rows(*texts)).labels
    assert labels is not None
    return [next(iter(row), None) for row in labels.rows]


def test_texts_are_labelled_with_the_name_they_answer() -> None:
    guide: Guide = LabelNamesGuide(["dog", "cat"], ENCODER)
    assert isinstance(guide, LabelNamesGuide)
    assert names_of(guide, "it barks", "it purrs", "mews") == ["dog", "cat", "cat"]
    assert guide.ids() is None


def test_what_lies_between_two_names_is_not_labelled_but_still_a_target() -> None:
    guide = LabelNamesGuide(["cat", "dog"], ENCODER)
    sample = rows("it walks", "it purrs", "it barks")
    assert names_of(guide, *sample.texts) == [None, "cat", "dog"]
    assert guide.judge(WHAT, sample).judged.all()


def test_targets_are_embeddings_beside_probabilities_in_equal_shares() -> None:
    targets = LabelNamesGuide(["cat", "dog"], ENCODER).judge(WHAT, rows("it purrs", "it barks"))
    apart = np.array([1, -1, 0]) / 2**0.5
    np.testing.assert_allclose(targets.vectors[:, :3], [apart, -apart], atol=1e-6)
    share = 1 / 2**0.5
    np.testing.assert_allclose(
        targets.vectors[:, 3:], [[share, -share], [-share, share]], atol=1e-6
    )


def test_names_are_embedded_as_answers_and_texts_under_the_instruction() -> None:
    encoder: Any = ByHeart(*ENCODER.known.values())
    LabelNamesGuide(["cat", "dog"], encoder).judge(WHAT, rows("it purrs", "it barks"))
    assert encoder.asked == [(["it purrs", "it barks"], WHAT), (["cat", "dog"], None)]


def test_names_are_asked_about_where_answers_have_another_length() -> None:
    encoder: Any = ByHeart(
        answers={"cat": [1, 0], "dog": [0, 1]},
        texts={**ENCODER.known[True], "cat": [1, 0, 1], "dog": [0, 1, 1]},
    )
    assert names_of(LabelNamesGuide(["cat", "dog"], encoder), "it barks", "mews") == ["dog", "cat"]


def test_descriptions_count_as_much_as_names() -> None:
    """ "b" says nothing of its own: its description makes it the dog."""
    encoder: Any = ByHeart(
        answers={**ENCODER.known[False], "a": [1, 1, 1], "b": [1, 1, 1]}, texts=ENCODER.known[True]
    )
    guide = LabelNamesGuide({"a": "purrs", "b": " barks "}, encoder)
    assert names_of(guide, "it barks", "it purrs") == ["b", "a"]
    mixed = LabelNamesGuide({"cat": "", "b": "barks"}, encoder)
    assert names_of(mixed, "it barks", "it purrs") == ["b", "cat"]


def test_rows_without_a_text_are_not_judged() -> None:
    guide = LabelNamesGuide(["cat", "dog"], ENCODER)
    targets = guide.judge(WHAT, rows(None, "it purrs", " ", "it barks"))
    assert targets.judged.tolist() == [False, True, False, True]
    assert not targets.vectors[::2].any()
    assert names_of(guide, None, "it purrs", " ", "it barks") == [None, "cat", None, "dog"]
    with pytest.raises(GuideError, match="None of the 2 sampled rows has a text"):
        guide.judge(WHAT, rows(None, ""))


def test_texts_are_read_as_they_were_embedded() -> None:
    nodes = [{"metadata": {"sound": "it purrs"}}, {"metadata": {"sound": "it barks"}}]
    template = {"metadata_template": "{value}", "text_template": "{metadata_str}"}
    sample = Rows(
        ("0", "1"),
        texts=("x", "y"),
        metadatas=tuple({"_node_content": json.dumps(node | template)} for node in nodes),
    )
    labels = LabelNamesGuide(["cat", "dog"], ENCODER).judge(WHAT, sample).labels
    assert labels is not None
    assert labels.counts() == {"cat": 1, "dog": 1}


def test_the_key_names_all_that_counts_and_not_the_order() -> None:
    key = LabelNamesGuide(["cat", "dog"], ENCODER).key
    assert key.startswith("names:")
    assert key == LabelNamesGuide([" dog ", "cat"], ENCODER).key
    assert key == LabelNamesGuide({"cat": "", "dog": " "}, ENCODER).key
    other: Any = ByHeart({}, {})
    other.fingerprint = lambda instruction: f"others, {instruction}"
    keys = {
        LabelNamesGuide(["cat", "cow"], ENCODER).key,
        LabelNamesGuide({"cat": "", "dog": "barks"}, ENCODER).key,
        LabelNamesGuide(["cat", "dog"], other).key,
    }
    assert len({key, *keys}) == 4


def test_it_shows_its_names() -> None:
    guide = LabelNamesGuide({"cat": "purrs", "dog": "barks"})
    assert repr(guide) == "LabelNamesGuide(['cat', 'dog'])"
    assert guide.names == ("cat", "dog")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "at least two names"),
        (["cat"], "at least two names"),
        ({"cat": "purrs"}, "at least two names"),
        ("cats and dogs", "at least two names"),
        (["cat", 3], "list of strings"),
        ({"cat": "purrs", "dog": None}, "list of strings"),
        (["cat", "dog", "cat"], "one name of its own"),
        (["cat", "dog "], None),
        (["cat", "cat "], "one name of its own"),
        (["cat", " "], "not empty"),
    ],
)
def test_names_that_are_none_are_refused(names: Any, message: str | None) -> None:
    if message is None:
        assert LabelNamesGuide(names).names == ("cat", "dog")
        return
    with pytest.raises(ConfigError, match=message):
        LabelNamesGuide(names)


def test_centred_rows_are_what_sets_them_apart() -> None:
    np.testing.assert_allclose(centred(np.array([[2, 0], [0, 5]])), unit_rows([[1, -1], [-1, 1]]))
    np.testing.assert_array_equal(centred(np.array([[3, 4]])), [[0, 0]])


def test_an_answer_moves_halfway_to_the_texts_that_look_like_it() -> None:
    """All texts are (0, 1): both answers end between themselves and that."""
    answers, texts = np.array([[1, 0], [-1, 0]]), np.array([[0, 1], [0, 1]])
    np.testing.assert_allclose(
        adjust(answers.astype(np.float32), texts.astype(np.float32)),
        unit_rows([[1, 1], [-1, 1]]),
        atol=1e-6,
    )


def test_probabilities_are_spread_to_a_mean_length_of_one() -> None:
    found = spread(np.array([[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]], dtype=np.float32))
    np.testing.assert_allclose(found[1], 0, atol=1e-6)
    assert np.linalg.norm(found, axis=1).mean() == pytest.approx(1)
    assert not spread(np.full((3, 2), 0.5, dtype=np.float32)).any()


def test_the_best_name_needs_its_lead() -> None:
    scores = np.array([[0.5, 0.25, 0.0], [0.0, 0.25, 0.5], [0.25, 0.25, 0.0]], dtype=np.float32)
    assert guess(scores, "abc", 0.25) == ["a", "c", None]
    assert guess(scores, "abc", 0.3) == [None, None, None]
    assert guess(scores, "abc", 0.0) == ["a", "c", "a"]


@given(answers=small_rows(3, 4), texts=small_rows(6, 4))
def test_answers_stay_unit_rows_and_each_moves_towards_its_texts(
    answers: FloatArray, texts: FloatArray
) -> None:
    answers, texts = unit_rows(answers), unit_rows(texts)
    moved = adjust(answers, texts)
    lengths = np.linalg.norm(moved, axis=1)
    assert ((np.abs(lengths - 1) < 1e-4) | (lengths < 1e-4)).all()


@given(scores=arrays(np.float32, (4, 3), elements={"min_value": -1, "max_value": 1}))
def test_a_wider_margin_labels_fewer_rows_and_none_differently(scores: FloatArray) -> None:
    loose, strict = (guess(scores, "abc", margin) for margin in (0.1, 0.4))
    assert all(b in (None, a) for a, b in zip(loose, strict, strict=True))


def test_a_search_by_names_finds_rows_and_names_categories(toys: Toys) -> None:
    """The encoder reads the colour out of "a red cube"; the stored vectors hide it."""
    colours = {"red": [1.0, 0, 0, 1], "green": [0, 1.0, 0, 1], "blue": [0, 0, 1.0, 1]}
    texts = {
        f"a {colour} {shape}": vector
        for colour, vector in colours.items()
        for shape in ("ball", "cube", "ring", "cone")
    }
    guide = LabelNamesGuide(list(colours), ByHeart(colours, texts))  # type: ignore[arg-type]
    retriever = InstructRetriever(toys.collection(), guide, fit=FitConfig(folds=2))
    report = retriever.transform("What colour is it?").report
    assert report.gains
    assert report.label_counts == {"green": 34, "blue": 32, "red": 24}
    hits = retriever.search(toys.vectors[0], instruction="What colour is it?", k=10)
    same = [hit.metadata["colour"] == toys.colours[0] for hit in hits]
    assert sum(same) >= 9


def test_a_real_encoder_of_random_weights_gives_targets_of_both_parts() -> None:
    encoder = InstructEncoder.from_pretrained(tiny_checkpoint())
    guide = LabelNamesGuide(["red", "green"], encoder)
    targets = guide.judge(INSTRUCTION, rows("the red ball", "a green cube", "blue"))
    assert targets.vectors.shape == (3, encoder.dimension + 2)
    assert np.isfinite(targets.vectors).all()
    assert guide.key == LabelNamesGuide(["red", "green"], encoder).key
