from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from instruct_embeddings.encoder import InstructEncoder
from instruct_embeddings.training.data.files import Example
from instruct_embeddings.training.data.opening import ValidationTask
from instruct_embeddings.training.validation import (
    neighbour_precision,
    validate,
)
from tests.training import Parts, open_parts, tiny_config, write_things


def on_circle(*degrees: float) -> Tensor:
    angles = torch.tensor(degrees).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def test_precision_by_hand() -> None:
    # Nearest first: 0 -> 10, 30; 10 -> 0, 30; 30 -> 10, 0; 100 -> 30, 10.
    vectors, labels = on_circle(0, 10, 30, 100), torch.tensor([1, 1, 2, 2])
    # One other has the label, so that one neighbour counts: right, right, wrong, right.
    assert neighbour_precision(vectors, labels, 2) == pytest.approx(3 / 4)


def test_as_many_neighbours_count_as_have_the_label() -> None:
    vectors, labels = on_circle(0, 10, 25, 90), torch.tensor([1, 2, 1, 1])
    # 0: 10 no, 25 yes; 25: 10 no, 0 yes; 90: 25 yes, 10 no. 10 is alone and does not count.
    assert neighbour_precision(vectors, labels, 2) == pytest.approx(1 / 2)
    assert neighbour_precision(vectors, labels, 1) == pytest.approx(1 / 3)


def test_there_is_no_precision_where_no_label_comes_twice() -> None:
    assert neighbour_precision(on_circle(0, 10), torch.tensor([1, 2])) is None


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with open_parts(tiny_config(write_things(tmp_path), backbone__dropout=0.3)) as found:
        yield found


def task(*examples: tuple[str, str, str], name: str = "a") -> ValidationTask:
    made = (Example(text, "what colour", answer, group=group) for text, answer, group in examples)
    return ValidationTask(name, tuple(made))


def measured(parts: Parts, *tasks: ValidationTask) -> dict[str, float]:
    return validate(parts.step.passes, parts.step.rows, parts.step.teacher, tasks)


SAME = [("a red ball", "red", "g"), ("a red ball", "red", "g")]
OTHER = [("not a cube", "blue", "g"), ("not a cube", "Blue.", "g")]


def test_the_score_is_the_mean_over_tasks(parts: Parts) -> None:
    # Equal texts are nearest to each other, whatever the model.
    right = task(*SAME, *OTHER, name="right")
    wrong = task(
        *zip(["a red ball"] * 2 + ["not a cube"] * 2, "abab", "gggg", strict=True), name="wrong"
    )
    assert measured(parts, right, wrong) == {"score": 0.5, "right": 1.0, "wrong": 0.0}


def test_rows_are_compared_within_their_group(parts: Parts) -> None:
    # In one group each text would have a twin of another answer.
    first = [("a red ball", "x", "g"), ("a blue cube", "y", "g")] * 2
    second = [("a red ball", "y", "h"), ("a blue cube", "x", "h")] * 2
    assert measured(parts, task(*first, *second))["a"] == 1.0
    mixed = [(text, answer, "g") for text, answer, _ in (*first, *second)]
    assert measured(parts, task(*mixed))["a"] < 1.0


def test_open_questions_are_measured_by_their_own_answer(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["red", "a green cube", "thank you"]
    passes, rows = parts.step.passes.eval(), parts.step.rows
    embedded = {}
    for text in texts:
        [chunk] = rows.chunks([Example(text, "what colour", text)], 1, None)
        embedded[text] = functional.normalize(passes.embed(chunk.batch), dim=-1)[0].detach()
    first, second, third = embedded.values()
    given = task(*((text, text, "g") for text in texts))
    for order, expected in (
        ((first, second, third), 1.0),
        ((second, third, first), 0.0),
        # Two of them stand in each other's place.
        ((second, first, third), pytest.approx(1 / 3)),
    ):
        answers = dict(zip(texts, order, strict=True))
        embed = lambda wanted, known=answers: torch.stack([known[t] for t in wanted])  # noqa: E731
        monkeypatch.setattr(parts.step.teacher, "embed", embed)
        assert measured(parts, given)["a"] == expected


def test_what_cannot_be_measured_is_left_out(parts: Parts) -> None:
    alone, same = task(("red", "red", "g")), task(*SAME, name="same")
    unfit = Example("red", "colour " * 99, "red", group="g")
    assert measured(parts) == {}
    assert measured(parts, alone, same, ValidationTask("b", (unfit,) * 4)) == {}
    found = measured(parts, alone, task(*SAME, *OTHER, name="c"))
    assert found == {"score": 1.0, "c": 1.0}


def test_dropout_is_off_while_measuring_and_on_again_afterwards(parts: Parts) -> None:
    tasks = [ValidationTask("a", parts.data.source.batch(0).examples)]
    before = torch.get_rng_state()
    assert measured(parts, *tasks) == measured(parts, *tasks)
    assert torch.equal(before, torch.get_rng_state())
    assert parts.step.passes.training
    assert all(value.grad is None for value in parts.student.model.parameters())


def test_embeddings_are_those_that_the_saved_encoder_makes(parts: Parts, tmp_path: Path) -> None:
    from instruct_embeddings.training.validation import _embed

    examples = [Example(text, "what colour", "red") for text in ("a red ball", "", "not a cube")]
    parts.step.passes.eval()
    with torch.no_grad():
        own = _embed(parts.step.passes, parts.step.rows, examples)
    with InstructEncoder.from_pretrained(parts.student.save(tmp_path / "saved")) as encoder:
        loaded = encoder.encode([e.text for e in examples], instruction="what colour")
    torch.testing.assert_close(own, torch.tensor(loaded), atol=1e-5, rtol=0)
