import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from instruct_embeddings.errors import ArtefactError, ConfigError
from instruct_embeddings.protocols import CollectionInfo
from instruct_embeddings.transform import TransformStore
from instruct_embeddings.transform.files import MAX_BYTES
from instruct_embeddings.transform.store import to_bytes
from tests.unit.conftest import hand_made

INFO = CollectionInfo("plane", "plane-1", 2, "cosine")
LANGUAGE = hand_made(instruction="What language?", guide="g")


@pytest.fixture
def store(tmp_path: Path) -> TransformStore:
    return TransformStore(tmp_path / "deep" / "store")


def test_an_empty_store_makes_no_folder(store: TransformStore) -> None:
    assert store.keys() == store.summaries() == []
    assert store.get("ab12") is None
    assert not store.delete("ab12")
    assert not store.path.exists()


def test_a_transform_is_found_by_another_object_on_the_same_path(store: TransformStore) -> None:
    file = store.put(LANGUAGE)
    assert file == store.path / f"{LANGUAGE.key}.safetensors"
    found = TransformStore(str(store.path)).get(LANGUAGE.key)
    assert found is not None
    assert to_bytes(found) == to_bytes(LANGUAGE)


@pytest.mark.parametrize("text", ["What language?", "  what LANGUAGE ", "What\tlanguage"])
def test_an_instruction_is_found_however_it_is_typed(store: TransformStore, text: str) -> None:
    store.put(LANGUAGE)
    assert store.find(text, "g", INFO) is not None


@pytest.mark.parametrize(
    ("text", "guide", "change"),
    [
        ("What country?", "g", {}),
        ("What language?", "other", {}),
        ("What language?", "g", {"id": "plane-2"}),
        ("What language?", "g", {"dimension": 3}),
        ("What language?", "g", {"space": "l2"}),
    ],
)
def test_nothing_is_found_for_anything_else(
    store: TransformStore, text: str, guide: str, change: dict[str, Any]
) -> None:
    store.put(LANGUAGE)
    assert store.find(text, guide, replace(INFO, **change)) is None


def test_putting_again_replaces(store: TransformStore) -> None:
    store.put(LANGUAGE)
    store.put(replace(LANGUAGE, mix=0.25))
    found = store.get(LANGUAGE.key)
    assert found is not None
    assert found.mix == 0.25
    assert len(store.keys()) == 1


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    store: TransformStore,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: BaseException,
) -> None:
    file = store.put(LANGUAGE)
    before = file.read_bytes()

    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(error)):
        store.put(replace(LANGUAGE, mix=0.25))
    with pytest.raises(type(error)):
        store.put(hand_made())
    assert list(store.path.iterdir()) == [file]
    assert file.read_bytes() == before


def test_a_half_written_file_is_not_listed(store: TransformStore) -> None:
    store.put(LANGUAGE)
    (store.path / ".writing-abc").write_bytes(to_bytes(LANGUAGE)[:100])
    assert store.keys() == [LANGUAGE.key]


def test_a_damaged_file_is_an_error_and_a_line_of_the_listing(store: TransformStore) -> None:
    file = store.put(LANGUAGE)
    good = hand_made()
    store.put(good)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ArtefactError, match="cut off"):
        store.find("What language?", "g", INFO)
    summaries = {summary.key: summary for summary in store.summaries()}
    assert set(summaries) == set(store.keys()) == {LANGUAGE.key, good.key}
    assert summaries[LANGUAGE.key].problem is not None
    assert "cut off" in summaries[LANGUAGE.key].problem
    assert summaries[LANGUAGE.key].report is None
    assert summaries[good.key].problem is None
    assert store.delete(LANGUAGE.key)


def test_a_summary_tells_what_a_transform_is_for(store: TransformStore) -> None:
    file = store.put(LANGUAGE)
    (summary,) = store.summaries()
    assert (summary.key, summary.path) == (LANGUAGE.key, file)
    assert (summary.instruction, summary.guide) == ("What language?", "g")
    assert (summary.collection, summary.report) == (INFO, LANGUAGE.report)
    assert summary.created == LANGUAGE.created


def test_foreign_files_do_not_stop_the_listing(store: TransformStore) -> None:
    store.put(LANGUAGE)
    (store.path / "notes.txt").write_text("mine")
    (store.path / "model.safetensors").write_bytes(b"not ours")
    (store.path / "folder.safetensors").mkdir()
    problems = {summary.key: summary.problem for summary in store.summaries()}
    assert set(problems) == {LANGUAGE.key, "model", "folder"}
    assert problems.pop(LANGUAGE.key) is None
    assert all(problems.values())


def test_a_file_too_large_to_be_ours_is_not_read(store: TransformStore) -> None:
    file = store.put(LANGUAGE)
    with file.open("r+b") as stream:
        stream.truncate(MAX_BYTES + 1)  # a hole: no space is taken
    with pytest.raises(ArtefactError, match="It is not one of ours"):
        store.get(LANGUAGE.key)
    assert store.summaries()[0].problem is not None


def test_a_renamed_file_is_refused(store: TransformStore) -> None:
    file = store.put(LANGUAGE)
    other = hand_made()
    file.rename(store.path / f"{other.key}.safetensors")
    with pytest.raises(ArtefactError, match=f"holds the transform {LANGUAGE.key}.*renamed"):
        store.get(other.key)


def test_delete_removes_one_file(store: TransformStore) -> None:
    store.put(LANGUAGE)
    kept = store.put(hand_made())
    assert store.delete(LANGUAGE.key)
    assert not store.delete(LANGUAGE.key)
    assert store.get(LANGUAGE.key) is None
    assert list(store.path.iterdir()) == [kept]


def test_export_copies_and_overwrites_nothing(store: TransformStore, tmp_path: Path) -> None:
    file, target = store.put(LANGUAGE), tmp_path / "language.safetensors"
    assert store.export(LANGUAGE.key, target) == target
    assert target.read_bytes() == file.read_bytes()
    with pytest.raises(ConfigError, match="exists already"):
        store.export(LANGUAGE.key, target)
    with pytest.raises(ConfigError, match=f"No transform 'ab12'.*{LANGUAGE.key}"):
        store.export("ab12", tmp_path / "none")


@pytest.mark.parametrize("key", ["../x", "..", "", "a/b", "C:\\x", "AB12", "ab12\n", "ab12.", "é"])
def test_keys_that_are_none_are_refused(store: TransformStore, tmp_path: Path, key: str) -> None:
    for act in (store.get, store.delete, lambda key: store.export(key, tmp_path / "target")):
        with pytest.raises(ConfigError, match="keys are hexadecimal"):
            act(key)


def test_the_repr_is_how_it_was_made(tmp_path: Path) -> None:
    relative = TransformStore("x")
    assert repr(relative) == f"TransformStore({str(Path.cwd() / 'x')!r})"
    assert TransformStore("~/x").path == Path.home() / "x"


HOSTILE = [
    "../../etc/passwd",
    "..\\..\\boot.ini",
    "/etc/passwd",
    "C:\\x",
    "a\x00b",
    "a\nb",
    "~root",
    "$(touch x)",
    "x" * 2000,
    "\u202egnp.exe",
    "CON",
    "-rf",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_path_is_made_of_an_instruction_a_guide_or_a_collection(
    tmp_path: Path, name: str
) -> None:
    store = TransformStore(tmp_path / "store")
    hostile = hand_made(
        instruction=name, guide=name, collection=CollectionInfo(name, name, 2, "cosine")
    )
    file = store.put(hostile)
    assert file == store.path / f"{hostile.key}.safetensors"
    assert set(hostile.key) <= set("0123456789abcdef")
    assert [path.name for path in tmp_path.rglob("*")] == ["store", file.name]
    assert store.find(name, name, hostile.collection) is not None


def test_a_pipe_is_refused_and_not_waited_for(store: TransformStore) -> None:
    store.put(LANGUAGE)
    key = hand_made().key
    os.mkfifo(store.path / f"{key}.safetensors")
    with pytest.raises(ArtefactError, match="a pipe or a device, not a file"):
        store.get(key)
    problems = {summary.key: summary.problem for summary in store.summaries()}
    assert problems.pop(LANGUAGE.key) is None
    assert "a pipe or a device" in str(problems[key])


def test_a_link_out_of_the_store_is_replaced_and_what_it_points_to_stays(
    store: TransformStore, tmp_path: Path
) -> None:
    outside = tmp_path / "diary"
    outside.write_text("mine")
    link = store.put(LANGUAGE)
    link.unlink()
    link.symlink_to(outside)
    with pytest.raises(ArtefactError, match="not a transform of this package"):
        store.get(LANGUAGE.key)
    store.put(LANGUAGE)
    assert not link.is_symlink()
    assert store.get(LANGUAGE.key) is not None
    link.unlink()
    link.symlink_to(outside)
    assert store.delete(LANGUAGE.key)
    assert outside.read_text() == "mine"
