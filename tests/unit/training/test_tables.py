from pathlib import Path

import pytest

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training.tables import MAX_TOML_BYTES, read_toml


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_tables_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.toml", b'[loss]\nviews = ["answer"]\n[loss.gist]\nmargin = 0.5\n')
    assert read_toml(path) == {"loss": {"views": ["answer"], "gist": {"margin": 0.5}}}


def test_a_byte_order_mark_does_not_count(tmp_path: Path) -> None:
    assert read_toml(write(tmp_path / "a.toml", b"\xef\xbb\xbfa = 1")) == {"a": 1}


def test_the_line_of_bad_syntax_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.toml", b"a = 1\nb = = 2\n")
    with pytest.raises(ConfigError, match=r"a\.toml is not TOML.*line 2"):
        read_toml(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml cannot be read: No such file"):
        read_toml(tmp_path / "nowhere.toml")


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not TOML in UTF-8: .*position 5"):
        read_toml(write(tmp_path / "a.toml", 'a = "é"'.encode("latin-1")))


def test_values_that_are_nested_too_deeply_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "deep.toml"
    file.write_text("a = " + "[" * 100_000)
    with pytest.raises(ConfigError, match="nests values too deeply"):
        read_toml(file)


def test_a_file_larger_than_any_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "large.toml"
    with file.open("wb") as stream:
        stream.truncate(MAX_TOML_BYTES + 1)
    with pytest.raises(ConfigError, match="16,777,217 bytes; at most 16,777,216 are read"):
        read_toml(file)
