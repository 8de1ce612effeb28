import errno
import os
from pathlib import Path

import pytest

from instruct_embeddings.errors import ArtefactError
from instruct_embeddings.transform import files
from instruct_embeddings.transform.files import read_limited, write_whole

DAY = 24 * 3600


def test_a_file_replaces_another_and_its_folder_is_made(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "folder" / "a"
    assert write_whole(file, b"old") == file
    write_whole(file, b"new")
    assert read_limited(file) == b"new"
    assert os.listdir(file.parent) == ["a"]


def test_a_file_above_the_limit_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_BYTES", 3)
    file = write_whole(tmp_path / "a", b"four")
    with pytest.raises(ArtefactError, match="has 4 bytes; an artefact has at most 3"):
        read_limited(file)


def test_an_error_keeps_its_class_and_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left.*4 bytes.*Make room.*'.*/a'") as raised:
        write_whole(tmp_path / "a", b"four")
    assert raised.value.errno == errno.ENOSPC
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="could not be written"):
        write_whole(tmp_path / "file" / "deep" / "a", b"four")
    assert os.listdir(tmp_path) == ["file"]


def test_what_a_killed_process_left_is_removed_a_day_later(tmp_path: Path) -> None:
    old, young = tmp_path / ".writing-old", tmp_path / ".writing-young"
    write_whole(tmp_path / "a", b"one")
    now = (tmp_path / "a").stat().st_mtime
    for file, age in ((old, 1.01 * DAY), (young, 0.9 * DAY)):
        file.write_bytes(b"half")
        os.utime(file, (now - age, now - age))
    other = tmp_path / "notes"
    other.touch()
    os.utime(other, (0, 0))
    write_whole(tmp_path / "a", b"two")
    assert sorted(os.listdir(tmp_path)) == [".writing-young", "a", "notes"]
