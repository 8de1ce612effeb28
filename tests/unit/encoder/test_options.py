import json
import pickle
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings.encoder.options import EncoderArguments, EncoderOptions
from instruct_embeddings.errors import ConfigError

COUNTS = ("batch_size", "batch_tokens", "max_tokens", "truncate_dim", "truncate_layers")
SWITCHES = ("compile", "normalize", "local_files_only", "trust_remote_code")


def test_the_arguments_are_the_options_except_the_model() -> None:
    options, arguments = get_type_hints(EncoderOptions), get_type_hints(EncoderArguments)
    assert options.pop("model") == str | None
    assert arguments == options
    assert not EncoderArguments.__required_keys__


def test_by_default_nothing_is_limited_and_nothing_is_trusted() -> None:
    options = EncoderOptions()
    assert [getattr(options, name) for name in COUNTS] == [None] * 5
    assert (options.trust_remote_code, options.local_files_only, options.devices) == (
        False,
        False,
        (),
    )
    assert (options.dtype, options.precision, options.normalize) == ("auto", "float32", True)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [0, -1, 1.5, "8", True])
def test_counts_are_whole_numbers_of_at_least_one(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be an integer >= 1.*, got {value!r}"):
        EncoderOptions(**{name: value})  # type: ignore[arg-type]


def test_no_steps_of_refinement_are_allowed_fewer_are_not() -> None:
    assert EncoderOptions(refine_steps=0).refine_steps == 0
    with pytest.raises(ConfigError, match=r"refine_steps must be an integer .*got -1"):
        EncoderOptions(refine_steps=-1)


@pytest.mark.parametrize("name", ["dtype", "precision", "padding_side"])
def test_a_choice_names_what_is_allowed(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}='float8' is not known. Use one of \['"):
        EncoderOptions(**{name: "float8"})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SWITCHES)
def test_the_string_false_does_not_switch_on(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}='false' is neither True nor False"):
        EncoderOptions(**{name: "false"})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["model", "revision", "adapter", "cache_folder"])
def test_an_empty_name_is_not_the_current_folder(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}='' names nothing"):
        EncoderOptions(**{name: ""})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["model", "adapter", "cache_folder"])
def test_paths_become_strings(name: str) -> None:
    assert getattr(EncoderOptions(**{name: Path("a/b")}), name) == str(Path("a/b"))  # type: ignore[arg-type]


def test_device_and_devices_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="are both given"):
        EncoderOptions(device="cpu", devices=("cpu",))


def test_a_bare_string_of_devices_is_not_taken_letter_by_letter() -> None:
    with pytest.raises(ConfigError, match=r"Use device= for one device, .*\('cuda:0',\)"):
        EncoderOptions(devices="cuda:0")  # type: ignore[arg-type]


def test_options_cannot_be_changed_and_can_be_compared_hashed_and_pickled() -> None:
    options = EncoderOptions(model="a", devices=["cpu", "cpu"])  # type: ignore[arg-type]
    assert options == EncoderOptions(model="a", devices=("cpu", "cpu"))
    assert hash(options) == hash(pickle.loads(pickle.dumps(options)))
    with pytest.raises(FrozenInstanceError):
        options.model = "b"  # type: ignore[misc]


names = st.none() | st.text(min_size=1)
counts = st.none() | st.integers(1, 9)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "model": names,
            "revision": names,
            "adapter": names,
            "devices": st.lists(st.text(min_size=1)),
            "dtype": st.sampled_from(["auto", "float32", "bfloat16", "float16"]),
            "padding_side": st.sampled_from([None, "left", "right"]),
            "precision": st.sampled_from(["float32", "float16", "int8", "binary"]),
            "refine_steps": st.none() | st.integers(0, 9),
            **dict.fromkeys(COUNTS, counts),
            **dict.fromkeys(SWITCHES, st.booleans()),
        },
    )
)
def test_options_survive_json(changes: dict[str, Any]) -> None:
    options = EncoderOptions(**changes)
    written = json.loads(json.dumps(options.to_dict()))
    assert set(written) == {f.name for f in fields(EncoderOptions)}
    assert EncoderOptions.from_dict(written) == options


def test_unknown_keys_are_named_with_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match=r"\['pooling', 'prompt'\]; known are \['adapter'"):
        EncoderOptions.from_dict({"model": "a", "prompt": "b", "pooling": "mean"})


def test_integers_of_numpy_are_kept_as_plain_ones() -> None:
    eight: Any = np.int64(8)
    options = EncoderOptions(truncate_dim=eight, refine_steps=eight)
    assert (type(options.truncate_dim), type(options.refine_steps)) == (int, int)
