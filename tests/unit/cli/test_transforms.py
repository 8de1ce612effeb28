import shutil
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run


@pytest.fixture
def store(farm: Path, tmp_path: Path) -> Path:
    """A copy of the store of `farm` and, beside its transform, a damaged file."""
    copy = tmp_path / "store"
    shutil.copytree(farm / "instruct-transforms", copy)
    (copy / f"{'0' * 32}.safetensors").write_bytes(b"half written")
    return copy


def the_key(store: Path) -> str:
    return next(file.stem for file in store.iterdir() if set(file.stem) != {"0"})


def test_list_shows_damaged_files_with_their_problem(run: Run, store: Path) -> None:
    ran = run("transforms", "list", "--transforms", store, "--json")
    assert ran.code == 0
    damaged, good = ran.json["transforms"]
    assert (good["instruction"], good["collection"]) == ("Which animal is it?", "zoo")
    assert good["problem"] is None
    assert damaged["problem"]
    assert damaged["report"] is None


def test_list_for_a_reader(run: Run, store: Path) -> None:
    shown = run("transforms", "list", "--transforms", store).stdout
    assert "Which animal is it?" in shown
    assert "damaged" in shown
    assert "2 transforms in" in shown


def test_the_store_of_a_place_is_the_default(run: Run, farm: Path) -> None:
    ran = run("transforms", "list", "--store", farm, "--json")
    assert len(ran.json["transforms"]) == 1


def test_an_empty_store_is_an_empty_list(run: Run, tmp_path: Path) -> None:
    ran = run("transforms", "list", "--transforms", tmp_path / "none", "--json")
    assert ran.json["transforms"] == []
    assert "0 transforms" in run("transforms", "list", "--transforms", tmp_path / "none").stdout


def test_show_takes_the_beginning_of_a_key(run: Run, store: Path) -> None:
    key = the_key(store)
    ran = run("transforms", "show", key[:6], "--transforms", store, "--json")
    assert (ran.json["key"], ran.json["dimension"], ran.json["space"]) == (key, 32, "cosine")
    assert "learned from 72" in run("transforms", "show", key, "--transforms", store).stdout


def test_show_names_the_problem_of_a_damaged_one(run: Run, store: Path) -> None:
    assert "problem: " in run("transforms", "show", "000", "--transforms", store).stdout


def test_delete_removes_one(run: Run, store: Path) -> None:
    key = the_key(store)
    ran = run("transforms", "delete", key, "--transforms", store, "--json")
    assert ran.json["deleted"] == key
    assert [file.stem for file in store.iterdir()] == ["0" * 32]


def test_export_writes_a_copy(run: Run, store: Path, tmp_path: Path) -> None:
    key, target = the_key(store), tmp_path / "copy.safetensors"
    assert run("transforms", "export", key, target, "--transforms", store).code == 0
    assert target.read_bytes() == (store / f"{key}.safetensors").read_bytes()
    nowhere = run("transforms", "export", key, tmp_path / "no" / "copy", "--transforms", store)
    assert (nowhere.code, nowhere.stdout) == (1, "")
    again = run("transforms", "export", key, target, "--transforms", store)
    assert again.code == 1
    assert "exists already" in again.stderr


def test_an_unknown_key_lists_those_that_exist(run: Run, store: Path) -> None:
    ran = run("transforms", "show", "zz", "--transforms", store)
    assert ran.code == 1
    assert the_key(store) in ran.stderr


def test_a_store_or_a_place_is_wanted(run: Run) -> None:
    assert run("transforms", "list").code == 2
