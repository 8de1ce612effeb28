from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from instruct_embeddings.encoder.checkpoint import create_checkpoint
from instruct_embeddings.errors import CheckpointError, ConfigError
from instruct_embeddings.training.config import TrainingConfig
from instruct_embeddings.training.student import Passes, Student, make_student
from tests.models import tiny
from tests.training import learner, open_parts, tiny_config, write_things

GIRCSE = {"refinement": {"steps": 3}, "soft_prompts": 0, "pooling": "last_token"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_things(tmp_path)


def student(config: TrainingConfig) -> Student:
    return make_student(config.model, config.backbone, device="cpu", seed=config.run.seed)


def gircse(folder: Path, kind: str, **changes: object) -> TrainingConfig:
    model = {f"model__{name}": value for name, value in GIRCSE.items()}
    return tiny_config(folder, kind, **(model | changes))


def test_lora_trains_its_layers_soft_prompts_and_pooler(folder: Path) -> None:
    names = student(tiny_config(folder, model__pooling="dual_anchor_gate")).trainable()
    inner = [n for n in names if "lora_" in n]
    assert {n for n in names if "lora_" not in n} == {
        "soft_prompts",
        *(n for n in names if n.startswith("pooler.")),
    }
    # Query, key, value, output, two of the feed-forward part: two matrices each, in two layers.
    assert len(inner) == 2 * 6 * 2


def test_layers_that_nothing_reads_get_no_lora(folder: Path) -> None:
    for targets in ("all-linear", ["dense"], ["query"]):
        names = student(tiny_config(folder, backbone__targets=targets)).trainable()
        assert not [name for name in names if "lora_" in name and "pooler" in name]


@pytest.mark.parametrize("frozen", [True, False])
def test_the_whole_backbone_is_trained_but_for_token_embeddings(folder: Path, frozen: bool) -> None:
    changes = {"backbone__train": "full", "backbone__freeze_embeddings": frozen}
    made = student(tiny_config(folder, **changes))
    every = {name for name, value in made.model.named_parameters() if value.numel()}
    left = every - set(made.trainable())
    assert left == ({"backbone.model.embeddings.word_embeddings.weight"} if frozen else set())


def test_soft_prompts_alone_are_trained(folder: Path) -> None:
    assert set(student(tiny_config(folder, backbone__train="none")).trainable()) == {"soft_prompts"}


def test_frozen_weights_may_be_half_precision_and_trained_ones_are_not(folder: Path) -> None:
    made = student(tiny_config(folder, backbone__dtype="bfloat16"))
    assert {value.dtype for value in made.trainable().values()} == {torch.float32}
    frozen = [v for v in made.model.backbone.parameters() if not v.requires_grad]
    assert {value.dtype for value in frozen} == {torch.bfloat16}


@pytest.mark.parametrize("kind", ["bert", "llama"])
@pytest.mark.parametrize("train", ["lora", "full"])
def test_dropout_is_that_of_the_configuration(folder: Path, kind: str, train: str) -> None:
    changes = {"backbone__train": train, "run__steps": 1}
    for share in (0.0, 0.3):
        config = tiny_config(folder, kind, **changes, backbone__dropout=share)
        with open_parts(config) as parts:
            [chunk] = parts.step.rows.chunks(parts.data.source.batch(0).examples, 99, None)
            first, second = (parts.step.passes(chunk.batch)["pooled"] for _ in range(2))
            assert torch.equal(first, second) == (share == 0.0)
            parts.step.passes.eval()
            first, second = (parts.step.passes(chunk.batch)["pooled"] for _ in range(2))
            assert torch.equal(first, second)


def test_dropout_leaves_the_saved_configuration_as_it_was(folder: Path, tmp_path: Path) -> None:
    made = student(tiny_config(folder, "llama", backbone__train="full", backbone__dropout=0.3))
    made.save(tmp_path / "out")
    config = (tmp_path / "out" / "backbone" / "config.json").read_text(encoding="utf-8")
    assert '"attention_dropout": 0.0' in config


def test_saving_a_backbone_shows_no_bars(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = student(tiny_config(folder, backbone__train="full"))
    capfd.readouterr()
    made.save(tmp_path / "out")
    assert capfd.readouterr() == ("", "")


def test_the_seed_decides_what_is_random_at_the_start(folder: Path) -> None:
    config = tiny_config(folder)
    one, same = student(config).trainable(), student(config).trainable()
    other = student(replace(config, run=replace(config.run, seed=1))).trainable()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["soft_prompts"], other["soft_prompts"])


@pytest.mark.parametrize("train", ["lora", "full"])
def test_a_checkpoint_is_continued(folder: Path, tmp_path: Path, train: str) -> None:
    config = tiny_config(folder, backbone__train=train)
    made = student(config)
    with torch.no_grad():
        for value in made.trainable().values():
            value.add_(0.1)
    start = made.save(tmp_path / "start")
    changes = {"backbone__train": train, "backbone__start": str(start)}
    again = student(tiny_config(folder, **changes))
    assert again.trainable().keys() == made.trainable().keys()
    for name, value in made.trainable().items():
        assert torch.equal(value, again.trainable()[name]), name
    assert again.source.settings.base_model == config.model.base_model
    assert again.save(tmp_path / "again").is_dir()


def test_starts_that_would_become_something_else_are_refused(folder: Path, tmp_path: Path) -> None:
    start = student(tiny_config(folder)).save(tmp_path / "start")
    full = {"backbone__train": "full", "backbone__start": str(start)}
    with pytest.raises(ConfigError, match="has LoRA layers"):
        student(tiny_config(folder, **full))
    with pytest.raises(ConfigError, match="was trained over"):
        student(tiny_config(folder, "roberta", backbone__start=str(start)))
    with pytest.raises(ConfigError, match="is a plain model"):
        student(tiny_config(folder, backbone__start=str(tiny("bert"))))
    with pytest.raises(CheckpointError, match="soft_prompts"):
        student(tiny_config(folder, backbone__start=str(start), model__soft_prompts=3))


def test_a_start_without_lora_layers_gets_them(folder: Path, tmp_path: Path) -> None:
    config = tiny_config(folder)
    start = create_checkpoint(tmp_path / "start", config.model, seed=3)
    names = student(tiny_config(folder, backbone__start=str(start))).trainable()
    assert any("lora_" in name for name in names)


def test_a_pass_gives_what_the_losses_ask_for(folder: Path) -> None:
    changes = {"loss__views": ["answer", "dropout"], "backbone__dropout": 0.1}
    with open_parts(tiny_config(folder, **changes)) as parts:
        [chunk] = parts.step.rows.chunks(parts.data.source.batch(0).examples, 99, None)
        found = parts.step.passes.eval()(chunk.batch)
    shapes = {name: tuple(states.shape) for name, states in found.items()}
    assert shapes == {
        "pooled": (1, 16, 32),
        "primary": (16, 32),
        "soft": (16, 32),
        "again_pooled": (1, 16, 32),
        "again_primary": (16, 32),
        "again_soft": (16, 32),
    }
    assert torch.equal(found["pooled"], found["again_pooled"])


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_gradients_flow_through_soft_tokens(folder: Path, kind: str) -> None:
    with open_parts(gircse(folder, kind)) as parts:
        [chunk] = parts.step.rows.chunks(parts.data.source.batch(0).examples, 99, None)
        backbone, seen = parts.student.model.backbone, []
        made = type(backbone).soft_token

        def kept(hidden: torch.Tensor, temperature: float) -> torch.Tensor:
            token = made(backbone, hidden, temperature)
            token.retain_grad()
            seen.append(token)
            return token

        backbone.soft_token = kept  # type: ignore[method-assign]
        last = parts.step.passes(chunk.batch)["pooled"][-1]
        last.square().sum().backward()
    assert backbone.can_cache == (kind == "llama")
    assert len(seen) == 3
    assert all(token.grad is not None and token.grad.abs().max() > 0 for token in seen)


def test_a_cache_of_keys_gives_the_gradients_of_reading_again(folder: Path) -> None:
    found = []
    for again in (False, True):
        changes = {"backbone__train": "full", "backbone__gradient_checkpointing": again}
        config = gircse(folder, "llama", model__base_model=learner("llama"), **changes)
        with open_parts(config) as parts:
            assert parts.student.model.backbone.can_cache != again
            found.append(parts.gradients(0))
    assert found[0].keys() == found[1].keys()
    assert any("lm_head" in name for name in found[0])
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("kind", ["bert", "llama"])
@pytest.mark.parametrize("train", ["lora", "full"])
def test_gradient_checkpointing_changes_no_gradient(folder: Path, kind: str, train: str) -> None:
    found = []
    for on in (False, True):
        changes = {"backbone__train": train, "backbone__gradient_checkpointing": on}
        with open_parts(tiny_config(folder, kind, **changes, backbone__dropout=0.2)) as parts:
            layers = [
                p for p in parts.student.model.modules() if hasattr(p, "gradient_checkpointing")
            ]
            assert any(part.gradient_checkpointing for part in layers) == on
            torch.manual_seed(5)
            found.append(parts.gradients(0))
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], atol=1e-6, rtol=1e-5)


def test_passes_embed_as_the_encoder_does(folder: Path) -> None:
    for config in (tiny_config(folder), gircse(folder, "llama")):
        with open_parts(config) as parts:
            passes: Passes = parts.step.passes
            [chunk] = parts.step.rows.chunks(parts.data.source.batch(0).examples, 99, None)
            assert torch.equal(passes.embed(chunk.batch), passes(chunk.batch)["pooled"][-1])
            assert isinstance(passes, nn.Module)
