import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.torch import load_file

from instruct_embeddings.encoder import InstructEncoder
from instruct_embeddings.encoder.checkpoint import create_checkpoint
from instruct_embeddings.encoder.settings import FORMAT_VERSION, EncoderSettings
from instruct_embeddings.encoder.source import SETTINGS_FILE, WEIGHTS_FILE
from instruct_embeddings.errors import CheckpointError
from tests.models import INSTRUCTION, TEXTS, tiny, tiny_checkpoint

POOLINGS = ("mean", "dual_anchor", "dual_anchor_gate", "latent_attention")


def copy(source: Path, folder: Path) -> Path:
    shutil.copytree(source, folder)
    return folder


def over(base: Path, folder: Path, **changes: Any) -> Path:
    """A checkpoint over a folder of its own."""
    settings = json.loads((tiny_checkpoint() / SETTINGS_FILE).read_text())
    settings |= {"base_model": str(base)} | changes
    return create_checkpoint(folder, EncoderSettings.from_dict(settings), seed=1)


def vectors(folder: Path, **options: Any) -> list[NDArray[Any]]:
    """Without and with an instruction."""
    with InstructEncoder.from_pretrained(folder, device="cpu", **options) as encoder:
        return [encoder.encode(TEXTS, instruction=one) for one in (None, INSTRUCTION)]


def save(model: Path, folder: Path, **arguments: Any) -> Path:
    with InstructEncoder.from_pretrained(model, device="cpu") as encoder:
        return encoder.save_pretrained(folder, **arguments)


def same(found: list[NDArray[Any]], expected: list[NDArray[Any]]) -> None:
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def content(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_round_trip_gives_the_same_vectors_bit_for_bit(tmp_path: Path, pooling: str) -> None:
    folder = tiny_checkpoint("bert", pooling, refine_steps=0)
    saved = save(folder, tmp_path / "saved")
    same(vectors(saved), vectors(folder))
    assert content(saved) == content(folder)


@pytest.mark.parametrize("kind", ["bert", "roberta", "qwen2"])
def test_with_its_backbone_a_checkpoint_needs_nothing_else(tmp_path: Path, kind: str) -> None:
    base = copy(tiny(kind), tmp_path / "base")
    folder = over(base, tmp_path / "checkpoint")
    expected = vectors(folder)
    saved = save(folder, tmp_path / "saved", backbone=True)
    shutil.rmtree(base)
    shutil.rmtree(folder)
    same(vectors(saved), expected)


def test_a_plain_model_becomes_a_checkpoint(tmp_path: Path) -> None:
    base = copy(tiny("qwen2"), tmp_path / "base")
    expected = vectors(base)
    saved = save(base, tmp_path / "saved", backbone=True)
    shutil.rmtree(base)
    same(vectors(saved), expected)


def test_pooling_and_length_of_sentence_transformers_go_along(tmp_path: Path) -> None:
    base = copy(tiny(), tmp_path / "base")
    (base / "1_Pooling").mkdir()
    (base / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls"}')
    (base / "sentence_bert_config.json").write_text('{"max_seq_length": 20}')
    saved = save(base, tmp_path / "saved", backbone=True)
    backbone = saved / "backbone"
    same(vectors(backbone), vectors(base))
    with InstructEncoder.from_pretrained(backbone) as encoder:
        assert encoder.source.settings.generic_max_tokens == 20


def test_a_checkpoint_says_all_there_is_to_know_of_it(tmp_path: Path) -> None:
    saved = save(tiny_checkpoint(), tmp_path / "saved")
    assert sorted(content(saved)) == [SETTINGS_FILE, WEIGHTS_FILE]
    settings = json.loads((saved / SETTINGS_FILE).read_text())
    assert settings["format_version"] == FORMAT_VERSION
    assert settings["base_model"] == str(tiny("bert"))
    assert settings["soft_prompts"] == 3
    assert settings["pooling"] == "dual_anchor"
    assert {name: value.shape for name, value in load_file(saved / WEIGHTS_FILE).items()} == {
        "soft_prompts": (3, 32)
    }


@pytest.mark.parametrize("kind", ["bert", "qwen2"])
def test_only_safetensors_json_and_vocabularies_are_written(tmp_path: Path, kind: str) -> None:
    saved = save(tiny_checkpoint(kind), tmp_path / "saved", backbone=True)
    names = sorted(content(saved))
    assert "backbone/model.safetensors" in names
    assert {Path(name).suffix for name in names} <= {".json", ".safetensors", ".txt"}


def test_a_new_version_of_the_same_seed_is_the_same(tmp_path: Path) -> None:
    one, two = over(tiny(), tmp_path / "one"), over(tiny(), tmp_path / "two")
    assert content(one) == content(two)


def test_a_checkpoint_is_replaced_as_a_whole(tmp_path: Path) -> None:
    saved = save(tiny_checkpoint(), tmp_path / "saved", backbone=True)
    (saved / "left-over.json").write_text("{}")
    save(tiny_checkpoint("bert", "latent_attention"), saved)
    assert content(saved) == content(tiny_checkpoint("bert", "latent_attention"))
    assert [file.name for file in tmp_path.iterdir()] == ["saved"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "a" / "saved").mkdir(parents=True)
    save(tiny_checkpoint(), tmp_path / "a" / "saved")
    save(tiny_checkpoint(), tmp_path / "b" / "c" / "saved")
    assert content(tmp_path / "a" / "saved") == content(tmp_path / "b" / "c" / "saved")


def test_the_home_folder_may_be_written_as_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert save(tiny_checkpoint(), Path("~/saved")) == tmp_path / "saved"


@pytest.mark.parametrize("foreign", ["folder", "file"])
def test_what_is_no_checkpoint_is_not_overwritten(tmp_path: Path, foreign: str) -> None:
    place = tmp_path / "mine"
    if foreign == "folder":
        place.mkdir()
        (place / "thesis.txt").write_text("years of work")
    else:
        place.write_text("years of work")
    before = content(tmp_path)
    with pytest.raises(CheckpointError, match=r"exists and is no checkpoint .* Choose another"):
        save(tiny_checkpoint(), place)
    assert content(tmp_path) == before


def fail(*arguments: Any, **more: Any) -> None:
    raise OSError("the disk is full")


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("step", ["safetensors.torch.save_file", "pathlib.Path.write_text"])
def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, existing: bool
) -> None:
    place = tmp_path / "saved"
    if existing:
        save(tiny_checkpoint(), place)
    before = content(tmp_path)
    with (
        InstructEncoder.from_pretrained(tiny_checkpoint("bert", "latent_attention")) as encoder,
        monkeypatch.context() as patch,
    ):
        encoder.encode(TEXTS)
        patch.setattr(step, fail)
        with pytest.raises(OSError, match="the disk is full"):
            encoder.save_pretrained(place)
    assert content(tmp_path) == before
    assert [file.name for file in tmp_path.iterdir()] == (["saved"] if existing else [])


def test_the_old_checkpoint_comes_back_where_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = save(tiny_checkpoint(), tmp_path / "saved")
    before, rename, calls = content(tmp_path), Path.rename, []

    def second_fails(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) == 2:
            fail()
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", second_fails)
    with pytest.raises(OSError, match="the disk is full"):
        save(tiny_checkpoint("bert", "latent_attention"), place)
    assert content(tmp_path) == before
    assert [file.name for file in tmp_path.iterdir()] == ["saved"]


def test_a_backbone_inside_a_checkpoint_is_never_lost(tmp_path: Path) -> None:
    """It may be nowhere else."""
    base = copy(tiny(), tmp_path / "base")
    saved = save(over(base, tmp_path / "checkpoint"), tmp_path / "saved", backbone=True)
    expected = vectors(saved)
    shutil.rmtree(base)
    save(saved, saved)
    same(vectors(saved), expected)
    same(vectors(save(saved, tmp_path / "again")), expected)


def test_new_weights_in_an_old_place_are_seen_by_the_next_encoder(tmp_path: Path) -> None:
    """Although the first encoder still holds the old ones."""
    place = save(tiny_checkpoint(), tmp_path / "saved")
    with InstructEncoder.from_pretrained(place) as old:
        before = old.encode(TEXTS, instruction=INSTRUCTION)
        save(tiny_checkpoint("bert", "soft_prompt_mean", 2), place)
        after = vectors(place)[1]
        assert np.abs(after - before).max() > 0.01
        np.testing.assert_array_equal(old.encode(TEXTS, instruction=INSTRUCTION), before)


class FakeApi:
    """In place of `huggingface_hub.HfApi`; nothing leaves the machine."""

    calls: list[tuple[str, Any]]

    def create_repo(self, repo_id: str, **arguments: Any) -> None:
        self.calls.append(("create", {"repo_id": repo_id, **arguments}))

    def upload_folder(self, *, repo_id: str, folder_path: Path) -> Any:
        self.calls.append(("upload", (repo_id, content(Path(folder_path)))))
        self.place = Path(folder_path)
        return SimpleNamespace(commit_url=f"https://hub/{repo_id}/commit/1")


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    fake = FakeApi()
    fake.calls = []
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: fake)
    return fake


def test_a_checkpoint_is_uploaded_as_it_is_saved(api: FakeApi, tmp_path: Path) -> None:
    expected = content(save(tiny_checkpoint(), tmp_path / "saved", backbone=True))
    with InstructEncoder.from_pretrained(tiny_checkpoint(), device="cpu") as encoder:
        address = encoder.push_to_hub("toys/mine", private=True, backbone=True)
    assert address == "https://hub/toys/mine/commit/1"
    assert api.calls == [
        ("create", {"repo_id": "toys/mine", "private": True, "exist_ok": True}),
        ("upload", ("toys/mine", expected)),
    ]
    assert not api.place.exists()


def test_a_checkpoint_that_nobody_else_could_load_is_not_uploaded(api: FakeApi) -> None:
    with (
        InstructEncoder.from_pretrained(tiny_checkpoint()) as encoder,
        pytest.raises(CheckpointError, match=r"which nobody else has\. Pass backbone=True"),
    ):
        encoder.push_to_hub("toys/mine")
    assert api.calls == []


def test_a_repository_is_created_only_for_what_could_be_written(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    with InstructEncoder.from_pretrained(tiny_checkpoint()) as encoder:
        encoder.encode(TEXTS)
        monkeypatch.setattr("safetensors.torch.save_file", fail)
        with pytest.raises(OSError, match="the disk is full"):
            encoder.push_to_hub("toys/mine", backbone=True)
    assert api.calls == []
