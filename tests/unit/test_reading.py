import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings._reading import (
    TooLargeError,
    brief,
    is_number,
    parse_json,
    read_limited,
    read_plain,
)


def test_a_file_is_read_up_to_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"four")
    assert read_limited(file, 4) == b"four"
    with pytest.raises(TooLargeError, match="it has 4 bytes; at most 3 are read") as raised:
        read_limited(file, 3)
    assert raised.value.size == 4


def test_a_pipe_a_folder_and_a_device_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="a pipe or a device, not a file"):
            read_limited(place, 10)
    with pytest.raises(IsADirectoryError):
        read_limited(tmp_path, 10)
    with pytest.raises(FileNotFoundError):
        read_limited(tmp_path / "none", 10)


def test_nothing_stays_open(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"four")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for limit in (3, 4):
        for place in (tmp_path, tmp_path / "a"):
            try:
                read_limited(place, limit)
            except (OSError, ValueError):
                continue
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after == before


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[" + "0," * 1_000_001 + "0]", "more than 1,000,000 values"),
        ('"\\ud800"', "surrogates not allowed"),
        ("{", "Expecting"),
        ("9" * 5000, "limit"),
    ],
)
def test_what_is_no_json_or_too_much_of_it_is_a_value_error(text: str, why: str) -> None:
    for given_as in (text, text.encode()):
        with pytest.raises(ValueError, match=why):
            parse_json(given_as)


def test_bytes_are_utf_8_with_or_without_a_mark() -> None:
    assert parse_json("\ufeff{}".encode()) == {}
    with pytest.raises(ValueError, match="utf-8"):
        parse_json('"é"'.encode("latin-1"))


def test_halves_of_pairs_pass_where_the_reader_says_where_they_stand() -> None:
    assert parse_json('["\\ud800"]', halves=True) == ["\ud800"]
    assert parse_json('["\\ud83d\\ude00"]') == ["\U0001f600"]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values, st.booleans())
def test_all_other_json_is_read_as_it_is(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert parse_json(text) == parse_json(text.encode()) == value


def test_errors_are_quoted_in_one_short_line() -> None:
    assert brief(KeyError("a")) == "KeyError: 'a'"
    assert brief(ValueError("one\n  two.")) == "ValueError: one two"
    assert len(brief(ValueError("x" * 10_000))) < 230


@dataclass(frozen=True)
class Inner:
    size: int
    share: float | None = None

    @property
    def twice(self) -> int:
        return 2 * self.size


@dataclass(frozen=True)
class Outer:
    name: str
    inner: tuple[Inner, ...]
    pairs: tuple[tuple[str, float], ...]
    counts: Mapping[str, int]
    kind: Literal["a", "b"] | None = None


PLAIN = {
    "name": "x",
    "inner": [{"size": 1, "twice": 2}, {"size": 2, "share": 0.5}],
    "pairs": [["p", 1.5]],
    "counts": {"c": 3},
    "kind": "b",
}


def test_plain_data_becomes_what_it_was_made_from() -> None:
    expected = Outer("x", (Inner(1), Inner(2, 0.5)), (("p", 1.5),), {"c": 3}, "b")
    assert read_plain(Outer, PLAIN) == expected
    assert read_plain(Outer, asdict(expected)) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"name": 3},
        {"kind": "c"},
        {"kind": []},
        {"counts": {"c": 1.5}},
        {"counts": {"c": True}},
        {"counts": [1]},
        {"inner": [{"size": float("nan")}]},
        {"inner": [{"size": 1, "share": float("inf")}]},
        {"inner": [{"size": 1, "share": "much"}]},
        {"inner": [{}]},
        {"inner": 3},
        {"pairs": [["p"]]},
        {"pairs": [["p", 10**400]]},
        {"unknown": 1},
    ],
)
def test_plain_data_of_other_types_are_refused(change: dict[str, Any]) -> None:
    refused = (TypeError, ValueError, KeyError, AttributeError, OverflowError)
    with pytest.raises(refused):
        read_plain(Outer, {**PLAIN, **change})


@pytest.mark.parametrize("value", [0, -1.5, 1e308, np.float32(2), 2**1000])
def test_numbers_that_a_float_holds(value: object) -> None:
    assert is_number(value)


@pytest.mark.parametrize("value", [True, None, "1", float("nan"), float("inf"), 2**1024, 1j])
def test_what_is_no_number(value: object) -> None:
    assert not is_number(value)
