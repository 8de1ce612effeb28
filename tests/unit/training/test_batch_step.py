from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from instruct_embeddings.errors import ConfigError, DataError
from instruct_embeddings.training.batch_step import BatchStep, _in_order, _others
from instruct_embeddings.training.data.files import Example
from instruct_embeddings.training.data.opening import open_data
from instruct_embeddings.training.objective import Targets
from instruct_embeddings.training.student import make_student
from tests.models import build_model, new_folder
from tests.training import Parts, learner, open_parts, tiny_config, write_things

GIRCSE = {
    "model__refinement": {"steps": 3},
    "model__soft_prompts": 0,
    "model__pooling": "last_token",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_things(tmp_path)


def gradients(folder: Path, kind: str = "bert", **changes: object) -> dict[str, Tensor]:
    config = tiny_config(folder, kind, model__base_model=learner(kind), **changes)
    with open_parts(config) as parts:
        torch.manual_seed(3)
        return parts.gradients(0)


def close(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], atol=2e-6, rtol=2e-3, msg=name)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("bert", {}),
        ("llama", {"loss__anchors": "both", "loss__distillation": {}}),
        ("llama", GIRCSE),
        ("bert", GIRCSE | {"loss__supervised": 0.5}),
        ("bert", {"loss__gist": {}, "loss__matryoshka": {"dimensions": [32, 16]}}),
        (
            "bert",
            {
                "backbone__train": "full",
                "loss__drift": {},
                "loss__matryoshka": {"dimensions": [32, 8]},
            },
        ),
    ],
)
def test_chunks_give_the_gradients_of_the_whole_batch(
    folder: Path, kind: str, changes: dict[str, object]
) -> None:
    close(gradients(folder, kind, **changes), gradients(folder, kind, **changes, run__chunk=3))


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_chunks_draw_the_same_dropout_in_both_passes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    # Cut alike, both draw the same numbers in their first pass.
    monkeypatch.setattr(BatchStep, "_chunks", lambda self, rows: self.rows.chunks(rows, 3, None))
    changes = {"backbone__dropout": 0.3, "loss__views": ["answer", "dropout"]}
    at_once = gradients(folder, kind, **changes, run__chunk=0)
    close(at_once, gradients(folder, kind, **changes, run__chunk=3))


def test_projections_learn_in_chunks_too(folder: Path) -> None:
    wide = str(build_model(new_folder("wide"), "bert", hidden_size=48))
    changes = {"loss__distillation": {"teacher": wide}}
    whole = gradients(folder, **changes)
    assert whole["objective.project_pooled.weight"].shape == (48, 32)
    assert whole["objective.project_hidden.weight"].abs().max() > 0
    close(whole, gradients(folder, **changes, run__chunk=5))


def test_accumulated_gradients_are_the_mean_over_batches(folder: Path) -> None:
    with open_parts(tiny_config(folder)) as parts:
        single = [parts.gradients(number) for number in (0, 1, 2)]
    with open_parts(tiny_config(folder, run__accumulate=3)) as parts:
        together = parts.gradients(0, 1, 2)
    close({n: torch.stack([one[n] for one in single]).mean(0) for n in single[0]}, together)


def moved(folder: Path, kind: str = "bert", **changes: object) -> dict[str, float]:
    """Parts of the loss, once gradients were seen to reach what is trained."""
    config = tiny_config(folder, kind, model__base_model=learner(kind), **changes)
    with open_parts(config) as parts:
        [found] = parts.backward(0)
        trained = parts.student.trainable()
        touched = [value for value in trained.values() if value.grad is not None]
        assert any(value.grad is not None and value.grad.abs().max() > 0 for value in touched)
        frozen = [v for v in parts.student.model.parameters() if not v.requires_grad]
        assert all(value.grad is None for value in frozen)
    return found.parts


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, ["contrastive"]),
        ({"loss__views": ["answer", "teacher"]}, ["contrastive"]),
        ({"loss__views": ["dropout"], "backbone__dropout": 0.2}, ["contrastive"]),
        ({"loss__anchors": "both"}, ["contrastive"]),
        ({"loss__supervised": 1.0}, ["contrastive", "supervised"]),
        ({"loss__distillation": {}}, ["contrastive", "distillation"]),
        ({"loss__distillation": {"target": "answer_embedding"}}, ["contrastive", "distillation"]),
        ({"loss__distillation": {"kind": "smooth_l1"}}, ["contrastive", "distillation"]),
        ({"loss__views": [], "loss__distillation": {}}, ["distillation"]),
        ({"loss__drift": {}, "backbone__train": "full"}, ["contrastive", "drift"]),
    ],
)
@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_each_part_is_switched_on_by_the_configuration(
    folder: Path, kind: str, changes: dict[str, object], names: list[str]
) -> None:
    assert list(moved(folder, kind, **changes)) == names


@pytest.mark.parametrize(
    "changes",
    [
        {"loss__views": ["teacher"]},
        {"loss__anchors": "both"},
        {"loss__gist": {}},
        {"loss__matryoshka": {"dimensions": [32, 8]}},
        {"data__extra_answers": 0, "loss__temperature": 0.2},
    ],
)
def test_each_variant_of_the_contrastive_loss_is_another_one(
    folder: Path, changes: dict[str, object]
) -> None:
    assert moved(folder, **changes)["contrastive"] != moved(folder)["contrastive"]


def test_wrong_answers_of_a_row_are_negatives(folder: Path) -> None:
    with open_parts(tiny_config(folder)) as parts:
        batch = parts.data.source.batch(0)
        harder = replace(
            batch, examples=tuple(replace(e, negatives=("paper",)) for e in batch.examples)
        )
        plain, more = parts.step.backward(batch), parts.step.backward(harder)
    assert more.parts["contrastive"] > plain.parts["contrastive"]


def test_further_answers_come_once_and_none_of_the_rows() -> None:
    assert _others(["Red.", "blue"], ["red", "green", "Green", "blue ", "ring"]) == [
        "Green",
        "ring",
    ]


def test_the_order_of_the_rows_decides_nothing(folder: Path) -> None:
    with open_parts(tiny_config(folder, loss__distillation={}, loss__gist={})) as parts:
        batch = parts.data.source.batch(0)
        turned = replace(batch, examples=batch.examples[::-1])
        one, other = parts.step.backward(batch), parts.step.backward(turned)
    assert one.parts == pytest.approx(other.parts, rel=1e-4)


def test_instructions_without_room_are_dropped_and_counted(folder: Path) -> None:
    with open_parts(tiny_config(folder)) as parts:
        batch = parts.data.source.batch(0)
        long = Example("red", "which colour " * 40, "red", group="things/colour")
        found = parts.step.backward(replace(batch, examples=(*batch.examples[:5], long, long)))
        assert (found.examples, found.dropped) == (5, 2)
        with pytest.raises(DataError, match=r"'things/(colour|shape)' leave no room.*60 tokens"):
            parts.step.backward(replace(batch, examples=(long, long, batch.examples[0])))


def test_a_loss_that_is_no_number_ends_the_run(folder: Path) -> None:
    with open_parts(tiny_config(folder)) as parts:
        with torch.no_grad():
            parts.student.model.soft_prompts.fill_(torch.nan)
        with pytest.raises(ConfigError, match=r"no finite number.*learning_rate"):
            parts.backward(0)


@pytest.mark.parametrize("train", ["lora", "full"])
@pytest.mark.parametrize("chunk", [0, 5])
def test_half_precision_arithmetic_keeps_float32_gradients(
    folder: Path, train: str, chunk: int
) -> None:
    dtype = "bfloat16" if train == "lora" else "float32"
    changes = {"backbone__train": train, "backbone__dtype": dtype, "run__chunk": chunk}
    exact = gradients(folder, backbone__train=train)
    found = gradients(folder, **changes, run__precision="bfloat16")
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert found.keys() == exact.keys()
    flat = [torch.cat([one[n].flatten() for n in exact]) for one in (found, exact)]
    assert torch.cosine_similarity(*flat, dim=0) > 0.98


def test_the_long_rows_of_a_processor_are_read_in_parts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = gradients(folder)
    monkeypatch.setattr("instruct_embeddings.training.batch_step._CPU_TOKENS", 60)
    seen: list[int] = []

    def count(parts: Parts) -> None:
        passes = parts.step.passes
        passes.register_forward_hook(lambda *_: seen.append(1))

    with open_parts(tiny_config(folder, model__base_model=learner("bert"))) as parts:
        count(parts)
        torch.manual_seed(3)
        close(whole, parts.gradients(0))
    assert len(seen) > 3


class _AsOnGPU(TorchFunctionMode):
    """An index stands on the CPU, or where the tensor is: the meta device does not mind."""

    def __torch_function__(self, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.__getitem__ and isinstance(args[1], Tensor):
            assert args[1].device.type in ("cpu", args[0].device.type)
        return func(*args, **(kwargs or {}))


def test_targets_of_a_device_are_put_in_order_though_some_are_not_asked_for() -> None:
    with torch.device("meta"):
        numbers, embedded = torch.zeros(5, dtype=torch.int64), torch.zeros(5, 4)
        given = Targets(numbers[:3], embedded, numbers, whole=embedded[:3])
    given = replace(given, generic=torch.empty(0), answer_states=torch.empty(0))
    with _AsOnGPU():
        found = _in_order(given, torch.tensor([2, 0, 1]))
    assert {name: tuple(value.shape) for name, value in vars(found).items()} == {
        "answers": (3,),
        "candidates": (5, 4),
        "candidate_answers": (5,),
        "answer_states": (0,),
        "whole": (3, 4),
        "generic": (0,),
    }


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
@pytest.mark.parametrize("chunk", [0, 5])
def test_a_batch_is_computed_on_a_cuda_device(folder: Path, chunk: int) -> None:
    config = tiny_config(folder, model__base_model=learner("bert"), run__chunk=chunk)
    student = make_student(config.model, config.backbone, device="cuda", seed=config.run.seed)
    with open_data(config.data, config.validation, seed=config.run.seed) as data:
        parts = Parts(config, student, BatchStep(config, student), data)
        found = parts.gradients(0)
    expected = gradients(folder)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value.cpu(), expected[name], atol=1e-4, rtol=1e-2, msg=name)
