import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

import instruct_embeddings.training as package
from instruct_embeddings.encoder import InstructEncoder
from instruct_embeddings.encoder.checkpoint import create_checkpoint
from instruct_embeddings.encoder.template import collate
from instruct_embeddings.errors import CheckpointError, DataError
from instruct_embeddings.training import trainer
from instruct_embeddings.training.config import TrainingConfig
from instruct_embeddings.training.log import TrainEvent, TrainResult
from instruct_embeddings.training.state import read_progress
from instruct_embeddings.training.student import Student
from instruct_embeddings.training.teacher import Teacher
from instruct_embeddings.training.trainer import train
from tests.models import tiny
from tests.training import learner, open_parts, tiny_config, write_things

HELD_OUT = {"sets": [], "instructions": 0.3, "rows": 60, "every": 1, "patience": 0}
TEXTS = ["the red ball sits on the table", "a cube", "every blue ring is lost"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_things(tmp_path)


def run(config: TrainingConfig) -> tuple[TrainResult, list[TrainEvent]]:
    events: list[TrainEvent] = []
    return train(config, on_event=events.append), events


def scores(events: Sequence[TrainEvent]) -> list[float]:
    return [event.validation["score"] for event in events if event.validation]


def learned(folder: Path, kind: str, **changes: Any) -> tuple[float, float]:
    """The held-out measure after one step and at the end."""
    steps = changes.pop("run__steps", 120)
    held_out = HELD_OUT | {"every": steps}
    values = {"model__base_model": learner(kind), "run__log_every": steps} | changes
    first = tiny_config(
        folder, kind, run__steps=1, validation=held_out, run__output=str(folder / "one"), **values
    )
    config = tiny_config(folder, kind, run__steps=steps, validation=held_out, **values)
    [before], [after] = (scores(run(one)[1]) for one in (first, config))
    return before, after


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_instemb_learns_what_an_instruction_asks_for(folder: Path, kind: str) -> None:
    before, after = learned(folder, kind, backbone__train="full")
    assert (before < 0.6, after > 0.75) == (True, True), (before, after)


def test_lora_learns_too(folder: Path) -> None:
    before, after = learned(folder, "llama", run__steps=200)
    assert (before < 0.6, after > 0.75) == (True, True), (before, after)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_gircse_learns_with_a_model_from_scratch(folder: Path, kind: str) -> None:
    model = {"model__soft_prompts": 0, "model__pooling": "last_token"}
    refinement = {"model__refinement": {"steps": 3}}
    before, after = learned(folder, kind, backbone__train="full", **model, **refinement)
    assert (before < 0.6, after > 0.75) == (True, True), (before, after)


def test_a_run_leaves_checkpoint_state_log_and_plot(folder: Path) -> None:
    result, events = run(tiny_config(folder))
    files = sorted(place.name for place in (folder / "run").iterdir())
    assert files == ["checkpoint", "log.jsonl", "loss.png", "state"]
    assert result.folder == folder / "run" / "checkpoint"
    assert (result.steps, result.best, result.stopped_early) == (4, None, False)
    assert result.seconds > 0
    lines = (folder / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]
    assert [event.step for event in events] == [1, 2, 3, 4]
    assert all(event.examples_per_second > 0 and event.steps == 4 for event in events)
    assert all(event.loss == pytest.approx(sum(event.parts.values())) for event in events)


def test_events_come_every_so_many_steps_and_at_the_end(folder: Path) -> None:
    held_out = HELD_OUT | {"every": 4}
    _, events = run(tiny_config(folder, run__steps=7, run__log_every=3, validation=held_out))
    assert [event.step for event in events] == [3, 4, 6, 7]
    assert [event.step for event in events if event.validation] == [4, 7]


def students(monkeypatch: pytest.MonkeyPatch) -> list[Student]:
    """Keeps the students of the runs that follow."""
    kept: list[Student] = []
    made = trainer.make_student

    def keep(*given: Any, **more: Any) -> Student:
        kept.append(made(*given, **more))
        return kept[-1]

    monkeypatch.setattr(trainer, "make_student", keep)
    return kept


@pytest.mark.parametrize("kind", ["bert", "llama"])
@pytest.mark.parametrize("train_what", ["lora", "none"])
def test_frozen_weights_and_generic_vectors_stay_to_the_bit(
    folder: Path, kind: str, train_what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = students(monkeypatch)
    result, _ = run(tiny_config(folder, kind, backbone__train=train_what, backbone__dropout=0.1))
    base = load_file(tiny(kind) / "model.safetensors")
    weights = kept[0].model.backbone.model.state_dict()
    names = {
        name.replace("base_model.model.", "").replace("base_layer.", ""): name for name in weights
    }
    compared = [name for name in base if name in names]
    assert len(compared) > 20
    assert all(torch.equal(base[name], weights[names[name]]) for name in compared)
    # A plain causal model is pooled in another way, but as its own checkpoint it is the same.
    untrained = create_checkpoint(folder / "untrained", kept[0].model.settings)
    with (
        InstructEncoder.from_pretrained(result.folder) as trained,
        InstructEncoder.from_pretrained(untrained) as start,
    ):
        assert (trained.encode(TEXTS) == start.encode(TEXTS)).all()
        asked = [one.encode(TEXTS, instruction="what colour") for one in (trained, start)]
        assert (asked[0] != asked[1]).any()


@pytest.mark.parametrize("train_what", ["lora", "full"])
def test_the_checkpoint_embeds_as_the_student_does(
    folder: Path, train_what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = students(monkeypatch)
    result, _ = run(tiny_config(folder, backbone__train=train_what, backbone__dropout=0.1))
    template, model = kept[0].template, kept[0].model.eval()
    frame = template.frame("what colour", soft_prompts=2, max_tokens=60)
    rows = [frame.row(text) for text in template.tokenise(TEXTS)]
    with torch.no_grad():
        vectors = model(collate(rows, soft_prompts=2, pad_id=0, side="right"))[-1]
    own = functional.normalize(vectors, dim=-1)
    with InstructEncoder.from_pretrained(result.folder) as loaded:
        found = torch.tensor(loaded.encode(TEXTS, instruction="what colour"))
    torch.testing.assert_close(found, own, atol=1e-5, rtol=0)


def measured(monkeypatch: pytest.MonkeyPatch, values: Sequence[float]) -> None:
    """Let validation find these scores, one after the other."""
    left = iter(values)
    monkeypatch.setattr(trainer, "validate", lambda *_: {"score": next(left)})


def test_the_best_checkpoint_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, [0.1, 0.5, 0.4, 0.5])
    result, _ = run(tiny_config(folder, validation=HELD_OUT))
    assert result.best == 0.5
    progress = read_progress(folder / "run")
    assert progress is not None
    assert (progress.best_step, progress.waited) == (2, 2)
    other = tiny_config(folder, run__output=str(folder / "two"), validation=HELD_OUT)
    measured(monkeypatch, [0.1, 0.5, 0.6, 0.7])
    best, _ = run(other)
    own = load_file(result.folder / "instruct_encoder.safetensors")["soft_prompts"]
    last = load_file(folder / "run" / "state" / "state.safetensors")["parameter.soft_prompts"]
    assert not torch.equal(own, last)
    assert torch.equal(
        last, load_file(best.folder / "instruct_encoder.safetensors")["soft_prompts"]
    )


def test_training_stops_where_nothing_is_gained(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch, [0.5, 0.6, 0.6, 0.2, 0.9])
    config = tiny_config(folder, run__steps=9, validation=HELD_OUT | {"patience": 2})
    result, events = run(config)
    assert (result.steps, result.best, result.stopped_early) == (4, 0.6, True)
    assert [event.step for event in events] == [1, 2, 3, 4]
    # Resumed, it knows that it has stopped.
    assert train(config, resume=True).stopped_early
    assert train(config, resume=True).steps == 4


def test_patience_that_ends_with_the_last_step_stops_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch, [0.5, 0.4, 0.3])
    config = tiny_config(folder, run__steps=3, validation=HELD_OUT | {"patience": 2})
    assert not run(config)[0].stopped_early


def test_where_nothing_can_be_measured_the_last_weights_are_saved(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "validate", lambda *_: {})
    result, events = run(tiny_config(folder, validation=HELD_OUT | {"patience": 1}))
    assert (result.best, result.steps, scores(events)) == (None, 4, [])
    assert (result.folder / "instruct_encoder.json").is_file()


def test_soft_prompts_learn_faster_and_do_not_decay(folder: Path) -> None:
    with open_parts(tiny_config(folder)) as made:
        parts = made.step
    rates = {
        name: (group["lr"], group["weight_decay"])
        for group in parts.optimiser.param_groups
        for name, value in parts.named.items()
        if any(value is one for one in group["params"])
    }
    assert rates.keys() == parts.named.keys()
    assert rates["soft_prompts"] == (pytest.approx(9e-3), 0.0)
    assert {rate for name, rate in rates.items() if "lora" in name} == {(3e-3, 0.01)}


def test_answers_are_forgotten_where_a_run_can_be_resumed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded: list[str] = []
    embed = Teacher._embed

    def count(self: Teacher, texts: Sequence[str]) -> Tensor:
        embedded.extend(texts)
        return embed(self, texts)

    monkeypatch.setattr(Teacher, "_embed", count)
    run(tiny_config(folder, run__output=str(folder / "one"), run__save_every=9))
    assert len(embedded) == len(set(embedded))
    embedded.clear()
    run(tiny_config(folder, run__output=str(folder / "two"), run__save_every=1))
    # Three labels in each of four steps.
    assert len(embedded) == 12


def test_a_folder_that_holds_a_run_is_left_alone(folder: Path) -> None:
    config = tiny_config(folder)
    run(config)
    with pytest.raises(CheckpointError, match=r"holds a run at step 4\. Pass --resume"):
        train(config)


def test_another_checkpoint_folder_is_found_before_the_first_step(folder: Path) -> None:
    (folder / "run" / "checkpoint").mkdir(parents=True)
    (folder / "run" / "checkpoint" / "letter.txt").touch()
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        train(tiny_config(folder))
    assert not (folder / "run" / "log.jsonl").exists()


def test_a_batch_without_room_for_texts_ends_the_run(folder: Path) -> None:
    with pytest.raises(DataError, match="leave no room for texts in 8 tokens"):
        train(tiny_config(folder, model__max_tokens=8))


def test_the_package_names_what_users_need() -> None:
    assert package.train is train
    assert package.TrainingConfig is TrainingConfig
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018
