from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from instruct_embeddings.encoder import InstructEncoder
from instruct_embeddings.training import teacher as teacher_module
from instruct_embeddings.training.data.files import Example
from instruct_embeddings.training.teacher import Teacher, make_teacher
from tests.models import build_model, new_folder, tiny
from tests.training import Parts, open_parts, tiny_config, write_things

TEXTS = ["red", "thank you", "a green cube", "red"]
EXAMPLES = [
    Example("the red ball", "what colour", "red"),
    Example("a cube sits on the table", "what shape is it", "a round cube"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_things(tmp_path)


def spoil(parts: Parts) -> None:
    """Give the LoRA layers and the soft prompts other values."""
    with torch.no_grad():
        for value in parts.student.trainable().values():
            value.add_(0.3 * torch.randn_like(value))


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_generic_embeddings_are_those_of_the_base_whatever_is_trained(
    folder: Path, kind: str
) -> None:
    with open_parts(tiny_config(folder, kind, backbone__dropout=0.4)) as parts:
        spoil(parts)
        found = parts.step.teacher.embed(TEXTS)
    with InstructEncoder.from_pretrained(tiny(kind)) as base:
        # Its pooling without a template of its own is that of the kind.
        same = kind == "bert"
        expected = torch.tensor(base.encode(TEXTS))
    assert found.shape == (4, 32)
    if same:
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4))


def test_the_teacher_reads_without_dropout_and_draws_no_random_numbers(folder: Path) -> None:
    with open_parts(tiny_config(folder, backbone__dropout=0.4)) as parts:
        before, teacher = torch.get_rng_state(), parts.step.teacher
        first = teacher.embed(TEXTS)
        answer, _ = teacher.read(EXAMPLES)
        teacher.forget()
        assert torch.equal(first, teacher.embed(TEXTS))
        assert torch.equal(answer, teacher.read(EXAMPLES)[0])
        assert torch.equal(before, torch.get_rng_state())
        assert parts.student.model.training


@pytest.mark.parametrize("train", ["lora", "full", "none"])
def test_reading_changes_nothing_of_what_is_trained(folder: Path, train: str) -> None:
    with open_parts(tiny_config(folder, backbone__train=train)) as parts:
        model = parts.student.model
        before = {name: value.requires_grad for name, value in model.named_parameters()}
        parts.step.teacher.embed(TEXTS)
        parts.step.teacher.read(EXAMPLES)
        assert {n: value.requires_grad for n, value in model.named_parameters()} == before


class Counting(Teacher):
    """Counts the texts that it embeds."""

    def __init__(self, other: Teacher) -> None:
        super().__init__(other._model, other.rows)
        self.embedded: list[str] = []

    def _embed(self, texts: list[str]) -> Tensor:  # type: ignore[override]
        self.embedded += texts
        return super()._embed(texts)


def test_answers_are_embedded_once_until_they_are_forgotten(folder: Path) -> None:
    with open_parts(tiny_config(folder)) as parts:
        teacher = Counting(parts.step.teacher)
        first = teacher.embed(["red", "blue", "red"])
        assert torch.equal(teacher.embed(["blue", "green", "red"])[2], first[0])
        assert teacher.embedded == ["red", "blue", "green"]
        teacher.forget()
        teacher.embed(["red"])
        assert teacher.embedded == ["red", "blue", "green", "red"]


def test_the_oldest_answers_make_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Two embeddings of 32 numbers.
    monkeypatch.setattr(teacher_module, "_REMEMBERED_BYTES", 2 * 32 * 4)
    with open_parts(tiny_config(folder)) as parts:
        teacher = Counting(parts.step.teacher)
        assert len(teacher.embed(["red", "blue", "green"])) == 3
        teacher.embed(["blue", "red"])
        assert teacher.embedded == ["red", "blue", "green", "red"]


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_states_are_means_over_the_tokens_of_the_answer(folder: Path, kind: str) -> None:
    with open_parts(tiny_config(folder, kind, model__generic_pooling="mean")) as parts:
        answers, whole = parts.step.teacher.read(EXAMPLES)
        rows, counts = parts.step.rows.answered(EXAMPLES, 64)
        backbone = parts.student.model.backbone.eval()
        for place, (row, count) in enumerate(zip(rows, counts, strict=True)):
            ids = torch.tensor([row])
            with torch.no_grad(), backbone.without_adapter():
                hidden = backbone(ids, torch.ones_like(ids))[0]
            expected = hidden[-count:].mean(0)
            torch.testing.assert_close(answers[place], expected, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(whole[place], hidden.mean(0), atol=1e-5, rtol=1e-5)


def test_another_model_teaches_in_its_own_space(folder: Path) -> None:
    wide = build_model(new_folder("wide"), "bert", hidden_size=48)
    config = tiny_config(folder, loss__distillation={"teacher": str(wide)})
    with open_parts(config) as parts, InstructEncoder.from_pretrained(wide) as other:
        teacher = parts.step.teacher
        assert teacher.width == 48
        expected = torch.tensor(other.encode(TEXTS))
        torch.testing.assert_close(teacher.embed(TEXTS), expected, atol=1e-5, rtol=0)
        assert teacher.read(EXAMPLES)[0].shape == (2, 48)
        assert teacher.rows.fits(EXAMPLES[0])
        # Keeping the generic space is about the student's own.
        assert make_teacher(config, parts.student, parts.step.rows).width == 32


def test_a_backbone_that_is_trained_is_taught_by_a_copy_of_its_start(folder: Path) -> None:
    with open_parts(tiny_config(folder, backbone__train="full")) as parts:
        before = parts.step.teacher.embed(TEXTS)
        spoil(parts)
        parts.step.forget()
        torch.testing.assert_close(parts.step.teacher.embed(TEXTS), before)
        [chunk] = parts.step.rows.chunks(EXAMPLES, 9, None, plain=True)
        assert chunk.plain is not None
        own = functional.normalize(parts.student.model.generic(chunk.plain)[0], dim=-1)
        assert (own.detach() * before[0]).sum(1).max() < 0.99
