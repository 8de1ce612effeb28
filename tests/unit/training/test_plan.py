import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM

from instruct_embeddings.encoder.settings import EncoderSettings, RefinementSettings
from instruct_embeddings.encoder.template import TokenBatch
from instruct_embeddings.errors import ConfigError, DataError, ModelNotFoundError
from instruct_embeddings.training.config import TrainingConfig
from instruct_embeddings.training.plan import Plan, estimate_memory, plan_training
from instruct_embeddings.training.plan_model import ParameterCounts, PlannedModel, plan_model
from instruct_embeddings.training.settings import (
    BackboneConfig,
    DataConfig,
    DistillationConfig,
    LossConfig,
    MatryoshkaConfig,
    RunConfig,
    SourceConfig,
    ValidationConfig,
)
from instruct_embeddings.training.student import Passes, make_student
from tests.models import quiet, tiny, tiny_checkpoint

COUNTS = ParameterCounts(frozen=100, embeddings=40, backbone=0, lora=24, own=8)


def settings(base: str = "some/model", **changes: Any) -> EncoderSettings:
    return EncoderSettings(base, **({"max_tokens": 8} | changes))


def config(model: EncoderSettings | None = None, *, rows: int = 2, **parts: Any) -> TrainingConfig:
    data = DataConfig((SourceConfig(Path("train.jsonl")),), batch_size=rows)
    return TrainingConfig(model or settings(), data, **parts)


def estimated(given: TrainingConfig, *, half_weights: bool = False) -> dict[str, int]:
    model = PlannedModel("there", COUNTS, half_weights, 4, activations=5000)
    return {line.name: line.bytes for line in estimate_memory(given, model)}


def kept_bytes(kind: str, **changes: Any) -> tuple[int, int]:
    """Bytes that autograd keeps of a forward pass: of a model in memory, and as planned."""
    backbone = BackboneConfig(rank=3, **changes)
    model = settings(str(tiny(kind)), soft_prompts=2, pooling="dual_anchor", max_tokens=32)
    planned = plan_model(config(model, rows=4, backbone=backbone)).activations
    assert planned is not None
    student = make_student(model, backbone, device="cpu", seed=0)
    ids = torch.ones(4, 32, dtype=torch.int64)
    batch = TokenBatch(ids, torch.ones_like(ids), torch.full((4,), 29), 2)
    parameters = {value.untyped_storage()._cdata for value in student.model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(saved: torch.Tensor) -> torch.Tensor:
        if saved.untyped_storage()._cdata not in parameters:
            kept[saved.untyped_storage()._cdata] = saved
        return saved

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
        outputs = Passes(student.model).train()(batch)
    assert outputs
    return sum(saved.untyped_storage().nbytes() for saved in kept.values()), planned


def examples(file: Path, rows: int, instructions: int) -> Path:
    lines = [
        {
            "text": f"text {n}",
            "instruction": f"which number of {n % instructions}",
            "answer": f"number {n % 5}",
        }
        for n in range(rows)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return file


def test_each_line_of_the_memory_by_hand() -> None:
    assert estimated(config()) == {
        "frozen weights": 100 * 4,
        "trained weights": 32 * 4,
        "gradients": 32 * 4,
        "Adam's two means": 32 * 8,
        "activations": 5000,
    }


def test_half_weights_and_mixed_precision() -> None:
    halves = estimated(config(run=RunConfig(precision="bfloat16")), half_weights=True)
    assert halves["frozen weights"] == 200
    assert "weights cast to bfloat16" not in halves
    mixed = estimated(config(run=RunConfig(precision="bfloat16")))
    assert (mixed["frozen weights"], mixed["weights cast to bfloat16"]) == (400, 60 * 2)


def test_a_model_that_does_not_run_without_weights_is_told() -> None:
    model = PlannedModel("there", COUNTS, False, 4, activations=None)
    [line] = [one for one in estimate_memory(config(), model) if one.name == "activations"]
    assert line.bytes == 0
    assert "Measure a step" in line.how


@pytest.mark.parametrize("kind", ["bert", "qwen3"])
def test_activations_are_those_that_autograd_keeps(kind: str) -> None:
    found, planned = kept_bytes(kind)
    assert planned == pytest.approx(found, rel=0.05)


def planned_bytes(**parts: Any) -> PlannedModel:
    model = settings(str(tiny("qwen3")), soft_prompts=2, pooling="dual_anchor", max_tokens=32)
    return plan_model(config(parts.pop("model", model), rows=16, **parts))


def test_activations_follow_chunks_views_and_checkpointing() -> None:
    whole = planned_bytes().activations
    assert whole is not None
    chunked = planned_bytes(run=RunConfig(chunk=4)).activations
    assert chunked == pytest.approx(whole / 4, rel=0.02)
    again = LossConfig(views=("answer", "dropout"))
    dropped = BackboneConfig(dropout=0.1)
    once = planned_bytes(backbone=dropped).activations
    assert once is not None
    twice = planned_bytes(backbone=dropped, loss=again).activations
    assert twice == pytest.approx(2 * once, rel=0.1)
    checkpointed = planned_bytes(backbone=BackboneConfig(gradient_checkpointing=True))
    assert checkpointed.recomputed == whole // 2  # of two layers
    assert checkpointed.activations is not None
    assert checkpointed.activations < whole / 4


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_soft_tokens_are_counted(kind: str) -> None:
    def planned(steps: int) -> int:
        model = settings(str(tiny(kind)), refinement=RefinementSettings(steps=steps))
        return plan_model(config(model)).activations or 0

    assert 0 < planned(0) < planned(1) < planned(3)


@pytest.mark.parametrize("kind", ["bert", "qwen3"])
def test_lora_is_counted_as_a_student_has_it(kind: str) -> None:
    backbone = BackboneConfig(rank=3)
    counts = plan_model(config(settings(str(tiny(kind))), backbone=backbone)).counts
    student = make_student(settings(str(tiny(kind))), backbone, device="cpu", seed=0)
    sizes = {name: value.numel() for name, value in student.model.backbone.named_parameters()}
    added = sum(size for name, size in sizes.items() if "lora_" in name)
    assert (counts.frozen, counts.lora) == (sum(sizes.values()) - added, added)


def test_what_is_trained_is_counted() -> None:
    model = settings(str(tiny()), soft_prompts=3, pooling="dual_anchor_gate", max_tokens=64)
    lora = plan_model(config(model)).counts
    assert lora.own == 3 * 32 + 32
    none = plan_model(config(model, backbone=BackboneConfig(train="none"))).counts
    assert (none.lora, none.backbone, none.frozen) == (0, 0, lora.frozen)
    full = plan_model(config(model, backbone=BackboneConfig(train="full"))).counts
    assert full.backbone + full.frozen == lora.frozen
    assert full.frozen == full.embeddings
    # Beside a trained backbone stands a frozen one that teaches.
    assert (full.teacher, lora.teacher) == (lora.frozen, 0)


def test_names_of_layers_choose_fewer(tmp_path: Path) -> None:
    model = settings(str(tiny()))
    some = plan_model(config(model, backbone=BackboneConfig(rank=3, targets=("query", "value"))))
    # Two layers, two matrices of 32 x 32 in each.
    assert some.counts.lora == 2 * 2 * 3 * (32 + 32)
    with pytest.raises(ConfigError, match=r"names no linear layer.*'query'"):
        plan_model(config(model, backbone=BackboneConfig(targets=("q_proj",))))


def test_a_checkpoint_is_continued_over_its_backbone() -> None:
    start = BackboneConfig(start=tiny_checkpoint())
    planned = plan_model(config(settings("not/there"), backbone=start))
    assert planned.counts.frozen == plan_model(config(settings(str(tiny())))).counts.frozen


def test_the_architecture_stands_in_for_a_model_that_is_not_there(tmp_path: Path) -> None:
    values = json.loads((tiny("qwen3") / "config.json").read_text(encoding="utf-8"))
    given = BackboneConfig(cache_folder=str(tmp_path), architecture=values)
    planned = plan_model(config(settings("not/there"), backbone=given))
    assert planned.found == "[backbone.architecture]"
    there = plan_model(config(settings(str(tiny("qwen3")))))
    assert (planned.counts, planned.activations) == (there.counts, there.activations)


def test_a_model_that_is_nowhere_is_named(tmp_path: Path) -> None:
    away = BackboneConfig(cache_folder=str(tmp_path), local_files_only=True)
    with pytest.raises(ModelNotFoundError, match=r"not/there.*\[backbone.architecture\]"):
        plan_model(config(settings("not/there"), backbone=away))


def test_an_architecture_must_be_known_to_transformers(tmp_path: Path) -> None:
    given = BackboneConfig(cache_folder=str(tmp_path), architecture={"model_type": "qwen"})
    with pytest.raises(ConfigError, match=r"\[backbone.architecture\] has no .*qwen"):
        plan_model(config(settings("not/there"), backbone=given))
    wrong = BackboneConfig(
        cache_folder=str(tmp_path), architecture={"model_type": "qwen3", "hidden_size": "large"}
    )
    with pytest.raises(ConfigError, match=r"\[backbone.architecture\] has no configuration"):
        plan_model(config(settings("not/there"), backbone=wrong))
    uneven = BackboneConfig(
        cache_folder=str(tmp_path),
        architecture={"model_type": "bert", "hidden_size": 10, "num_attention_heads": 3},
    )
    with pytest.raises(ConfigError, match=r"builds a model of .*multiple.* Copy the values"):
        plan_model(config(settings("not/there"), backbone=uneven))


def test_a_named_teacher_stands_beside_the_student() -> None:
    student, teacher = str(tiny()), str(tiny("qwen2"))
    named = LossConfig(distillation=DistillationConfig(teacher=teacher))
    with quiet():
        weights = AutoModelForCausalLM.from_pretrained(teacher)
    counted = plan_model(config(settings(student), loss=named)).counts.teacher
    assert counted == sum(value.numel() for value in weights.parameters()) > 0
    assert plan_model(config(settings(student))).counts.teacher == 0


def test_losses_that_do_not_fit_the_model_are_refused() -> None:
    sizes = LossConfig(matryoshka=MatryoshkaConfig((64,)))
    with pytest.raises(ConfigError, match=r"dimensions=\[64\], and an embedding has 32"):
        plan_model(config(settings(str(tiny())), loss=sizes))


@pytest.fixture
def planned(tmp_path: Path) -> Plan:
    sources = (
        SourceConfig(examples(tmp_path / "a.jsonl", rows=200, instructions=2)),
        SourceConfig(examples(tmp_path / "b.jsonl", rows=50, instructions=1)),
    )
    with sources[0].path.open("a", encoding="utf-8") as file:
        file.write("no JSON\n")
    return plan_training(
        TrainingConfig(
            settings(str(tiny()), soft_prompts=2, pooling="dual_anchor", max_tokens=64),
            DataConfig(sources, batch_size=8, temperature=1.0),
            BackboneConfig(rank=2),
            ValidationConfig(sets=("b",), instructions=0.0),
            run=RunConfig(steps=100, accumulate=2),
        )
    )


def test_a_plan_counts_examples_epochs_and_files(planned: Plan) -> None:
    assert (planned.steps, planned.examples, planned.dimension) == (100, 1600, 32)
    trained, held_out = planned.data.sources
    assert (trained.rows, trained.share, trained.epochs) == (200, pytest.approx(1.0), 8.0)
    assert [group.rows for group in trained.groups] == [100, 100]
    assert (held_out.rows, held_out.share, held_out.epochs) == (0, 0.0, 0.0)
    assert planned.data.held_out == {"b": 50}
    assert (planned.data.reading.read, planned.data.reading.skipped) == (250, 1)
    assert "a.jsonl" in planned.data.reading.problems[0]


def test_a_plan_knows_the_size_of_its_files(planned: Plan) -> None:
    trained = planned.parameters.lora + 2 * 32
    assert (planned.checkpoint_bytes, planned.state_bytes) == (4 * trained, 12 * trained)


def test_a_plan_is_plain_data(planned: Plan) -> None:
    document = json.loads(json.dumps(planned.to_dict()))
    assert document["memory_bytes"] == sum(line["bytes"] for line in document["memory"])


def test_a_missing_file_is_an_error_of_the_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.jsonl"):
        plan_training(config(settings(str(tiny()))))


@pytest.mark.slow
def test_the_parameters_of_real_weights_are_counted_right() -> None:
    name = "sentence-transformers/all-MiniLM-L6-v2"
    planned = plan_model(config(settings(name)))
    with quiet():
        model = AutoModel.from_pretrained(planned.found)
    assert planned.counts.frozen == sum(value.numel() for value in model.parameters())
    # As its model card says: 22.7 million.
    assert planned.counts.frozen == 22_713_216
    assert planned.counts.embeddings == 30_522 * 384
    # Six layers of six matrices.
    assert planned.counts.lora == 64 * 6 * (4 * 768 + 2 * 1920)
