import json
from typing import Any

import pytest

from instruct_embeddings.encoder.settings import (
    FORMAT_VERSION,
    EncoderSettings,
    RefinementSettings,
    TemplateSettings,
    parse_template,
)
from instruct_embeddings.errors import CheckpointError, ConfigError

SETTINGS = EncoderSettings(
    "toys/tiny",
    base_revision="v1",
    soft_prompts=3,
    pooling="dual_anchor",
    generic_pooling="cls",
    max_tokens=100,
    normalize=False,
    template=TemplateSettings(before="Text: ", between="\n\n", after=" é"),
    refinement=RefinementSettings(steps=2, pooling="last", temperature=0.5),
)


def written(**changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(json.dumps(SETTINGS.to_dict()))
    for name, value in changes.items():
        part, _, key = name.partition("__")
        if key:
            data[part][key] = value
        else:
            data[name] = value
    return data


def test_settings_survive_json() -> None:
    assert EncoderSettings.from_dict(written()) == SETTINGS


def test_what_is_not_written_has_its_default() -> None:
    found = EncoderSettings.from_dict({"format_version": FORMAT_VERSION, "base_model": "a"})
    assert found == EncoderSettings("a")


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 0, "1", None])
def test_another_format_is_refused(version: object) -> None:
    with pytest.raises(
        CheckpointError, match=f"here.json has format_version {version!r}; .* reads 1"
    ):
        EncoderSettings.from_dict(written(format_version=version), origin="here.json")


def test_a_newer_format_is_named_before_its_unknown_keys() -> None:
    with pytest.raises(CheckpointError, match="format_version 2"):
        EncoderSettings.from_dict(written(format_version=2, invention=True))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("trust_remote_code", "unexpected keyword argument 'trust_remote_code'"),
        ("template__middle", "TemplateSettings.* unexpected keyword argument 'middle'"),
        ("refinement__stop", "RefinementSettings.* unexpected keyword argument 'stop'"),
    ],
)
def test_unknown_keys_are_named(name: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        EncoderSettings.from_dict(written(**{name: True}))


def test_a_pooling_of_an_older_version_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"pooling='multi_layer' is not known. Use one of"):
        EncoderSettings.from_dict(written(pooling="multi_layer"))


def test_missing_keys_are_named() -> None:
    data = written()
    del data["base_model"]
    with pytest.raises(CheckpointError, match=r"missing 1 required .* 'base_model'"):
        EncoderSettings.from_dict(data)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("base_model", None),
        ("base_model", ""),
        ("base_model", 3),
        ("base_revision", 3),
        ("soft_prompts", -1),
        ("soft_prompts", "3"),
        ("soft_prompts", None),
        ("soft_prompts", True),
        ("pooling", "min"),
        ("pooling", ["mean"]),
        ("generic_pooling", "dual_anchor"),
        ("max_tokens", 0),
        ("max_tokens", None),
        ("generic_max_tokens", 1.5),
        ("normalize", "false"),
        ("latents", 0),
        ("heads", None),
        ("adapter", "adapter"),
        ("backbone", 1),
        ("template__between", 3),
        ("refinement__steps", None),
        ("refinement__steps", -1),
        ("refinement__pooling", "sum"),
        ("refinement__temperature", 0),
        ("refinement__temperature", "hot"),
        ("refinement__temperature", float("nan")),
        ("refinement__temperature", float("inf")),
        ("refinement__head", "own"),
    ],
)
def test_values_of_a_wrong_type_or_range_are_named(name: str, value: object) -> None:
    with pytest.raises(CheckpointError) as caught:
        EncoderSettings.from_dict(written(**{name: value}), origin="here.json")
    assert str(caught.value).startswith("here.json holds settings that cannot be used: ")
    assert name.replace("__", ".") in str(caught.value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("name", ["template", "refinement"])
@pytest.mark.parametrize("value", [None, [], "mean"])
def test_a_part_that_is_no_object_is_refused(name: str, value: object) -> None:
    with pytest.raises(
        CheckpointError, match=f"(?i){name}.*must be a mapping, not {type(value).__name__}"
    ):
        EncoderSettings.from_dict(written(**{name: value}))


@pytest.mark.parametrize("pooling", ["soft_prompt_mean", "dual_anchor", "dual_anchor_gate"])
def test_pooling_of_soft_prompts_needs_some(pooling: str) -> None:
    with pytest.raises(ConfigError, match="Use at least one soft prompt, or another pooling"):
        EncoderSettings("a", pooling=pooling)  # type: ignore[arg-type]
    assert EncoderSettings("a", pooling=pooling, soft_prompts=1).soft_prompts == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{text}\n{instruction}", TemplateSettings("", "\n", "", pair=False)),
        ("Read: {text} {instruction}.", TemplateSettings("Read: ", " ", ".", pair=False)),
        (
            "Instruct: {instruction}\nQuery: {text}",
            TemplateSettings("Instruct: ", "\nQuery: ", "", pair=False, instruction_first=True),
        ),
    ],
)
def test_templates_are_read_from_left_to_right(template: str, expected: TemplateSettings) -> None:
    assert parse_template(template) == expected


@pytest.mark.parametrize(
    "template", ["", "{text}", "{instruction}", "{text}{text}{instruction}", "{texts}{instruction}"]
)
def test_templates_hold_text_and_instruction_once_each(template: str) -> None:
    with pytest.raises(ConfigError, match=r"must hold \{text\} and \{instruction\} once each"):
        parse_template(template)


def test_a_temperature_that_no_float_holds_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"temperature=1000.* is not a positive number"):
        RefinementSettings(temperature=10**400)
