from typing import Any

import numpy as np
import pytest

from instruct_embeddings.config import (
    FitConfig,
    at_least,
    check_arguments,
    check_instruction,
    normalise_instruction,
)
from instruct_embeddings.errors import ConfigError, InstructionError


def test_defaults() -> None:
    assert FitConfig() == FitConfig(sample_size=1000, folds=3, seed=0, time_budget=10.0)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"sample_size": 3}, "sample_size must be an integer >= 4.*, got 3"),
        ({"sample_size": 10.0}, r"sample_size must be an integer .*got 10\.0"),
        ({"folds": 1}, "folds must be an integer >= 2.*, got 1"),
        ({"folds": True}, "folds must be an integer .*got True"),
        ({"seed": -1}, "seed must be an integer .*got -1"),
        ({"time_budget": 0}, "time_budget must be a positive number of seconds, got 0"),
        ({"time_budget": float("nan")}, "time_budget must be .*got nan"),
    ],
)
def test_settings_out_of_their_range_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FitConfig(**setting)


def test_integers_of_numpy_are_kept_as_plain_ones() -> None:
    given: Any = np.int64(50)
    assert type(FitConfig(sample_size=given).sample_size) is int
    assert type(at_least("k", given, 1)) is int


def test_settings_are_plain_data_and_back() -> None:
    config = FitConfig(sample_size=50, seed=7)
    assert config.to_dict() == {
        "sample_size": 50,
        "folds": 3,
        "seed": 7,
        "time_budget": 10.0,
        "guide_budget": 60.0,
        "recall": 0.98,
    }
    assert FitConfig.from_dict(config.to_dict()) == config


def test_unknown_settings_are_named() -> None:
    with pytest.raises(ConfigError, match=r"\['colour'\].*'folds'.*Upgrade"):
        FitConfig.from_dict({"colour": 1, "seed": 0})


def test_an_instruction_loses_surrounding_space_only() -> None:
    assert check_instruction("  What  Language? \n") == "What  Language?"
    assert len(check_instruction("x" * 2000)) == 2000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \t\n", "is empty"),
        ("x" * 10_000, "has 10,000 characters; at most 2,000"),
        (None, "got NoneType"),
        (["a"], "got list"),
    ],
)
def test_what_is_no_instruction_is_refused(text: Any, message: str) -> None:
    with pytest.raises(InstructionError, match=message):
        check_instruction(text)


@pytest.mark.parametrize(
    "text", ["What language?", "  what LANGUAGE ", "What\nlanguage?!", "WHAT LANGUAGE ."]
)
def test_case_spacing_and_end_marks_do_not_count(text: str) -> None:
    assert normalise_instruction(text) == "what language"


def test_marks_inside_count() -> None:
    assert normalise_instruction("C? or C++.") == "c? or c++"


def test_marks_alone_are_told_apart() -> None:
    assert normalise_instruction("???") != normalise_instruction("!!!")


def test_an_unknown_argument_names_the_one_that_was_meant() -> None:
    with pytest.raises(
        TypeError, match=r"no argument 'sample_sizes'. Did you mean 'sample_size'\?"
    ):
        FitConfig(sample_sizes=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"no argument 'top_k'. Did you mean 'k'\?"):
        check_arguments("search", {"top_k": 3}, ["k", "blend"])
    with pytest.raises(TypeError, match=r"no argument 'xyz'. It has blend, k\."):
        check_arguments("search", ["xyz"], ["k", "blend"])
