"""What a collection stores of an embedding function, and which changes of it are refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chroma_instruct_embeddings import InstructEmbeddingFunction
from instruct_embeddings.errors import (
    CollectionMismatchError,
    ConfigError,
)
from tests.models import INSTRUCTION, TEXTS, tiny_checkpoint

SHAPE = "what shape is it"


@pytest.fixture
def model() -> Path:
    return tiny_checkpoint()


def test_the_stored_configuration_is_plain_complete_and_of_no_machine(model: Path) -> None:
    function = InstructEmbeddingFunction(
        model,
        query_instruction=INSTRUCTION,
        revision="main",
        device="cpu",
        dtype="bfloat16",
        attn_implementation="eager",
        compile=True,
        batch_size=3,
        batch_tokens=100,
        padding_side="left",
        max_tokens=20,
        normalize=False,
        truncate_dim=8,
        truncate_layers=1,
        precision="float16",
        refine_steps=0,
        cache_folder="elsewhere",
        local_files_only=True,
        trust_remote_code=True,
    )
    config = function.get_config()
    assert json.loads(json.dumps(config)) == config
    assert len(config.pop("contents")["model"]) == 32
    assert config == {
        "model": str(model.resolve()),
        "query_instruction": INSTRUCTION,
        "document_instruction": None,
        "revision": "main",
        "dtype": "bfloat16",
        "max_tokens": 20,
        "normalize": False,
        "truncate_dim": 8,
        "truncate_layers": 1,
        "precision": "float16",
        "refine_steps": 0,
    }


def test_the_default_model_is_stored_by_its_name_and_nothing_else() -> None:
    assert InstructEmbeddingFunction().get_config() == {
        "model": "instruct-minilm-l6-v1",
        "query_instruction": None,
        "document_instruction": None,
    }


def test_folders_are_stored_by_their_full_path(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model.parent)
    stored = InstructEmbeddingFunction(model.name).get_config()
    assert stored == InstructEmbeddingFunction(model).get_config()
    assert stored["model"] == str(model.resolve())


def test_a_function_made_from_the_stored_configuration_is_the_same(
    model: Path, loads: list[object]
) -> None:
    function = InstructEmbeddingFunction(
        model, instruction=INSTRUCTION, query_instruction=None, precision="int8", device="cpu"
    )
    stored = json.loads(json.dumps(function.get_config()))
    built = InstructEmbeddingFunction.build_from_config(stored)
    assert (built.get_config(), repr(built)) == (function.get_config(), repr(function))
    assert (built.record, built.fingerprint) == (function.record, function.fingerprint)
    assert loads == []
    np.testing.assert_array_equal(built(TEXTS), function(TEXTS))
    np.testing.assert_array_equal(built.embed_query(TEXTS), function.embed_query(TEXTS))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, r"unknown settings \['colour'\].*Upgrade"),
        ({"trust_remote_code": True}, r"unknown settings \['trust_remote_code'\]"),
        ({"device": "cuda"}, r"unknown settings \['device'\]"),
        ({"precision": "int4"}, "precision='int4'"),
        ({"query_instruction": " "}, "instruction is empty"),
    ],
)
def test_a_configuration_that_this_version_cannot_use_is_refused(
    model: Path, change: dict[str, Any], message: str
) -> None:
    config = InstructEmbeddingFunction(model).get_config() | change
    for use in (
        InstructEmbeddingFunction.build_from_config,
        InstructEmbeddingFunction.validate_config,
    ):
        with pytest.raises(ConfigError, match=message):
            use(config)


def test_an_incomplete_configuration_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"lacks \['document_instruction', 'query_instruction'\]"):
        InstructEmbeddingFunction.validate_config({"model": "some/model"})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"document_instruction": SHAPE}, [SHAPE, INSTRUCTION]),
        ({"document_instruction": None}, ["None", INSTRUCTION]),
        ({"model": "some/model", "contents": {}}, ["some/model", "bert-dual_anchor-3"]),
        ({"truncate_dim": 8}, ["8", "None"]),
        ({"precision": "binary"}, ["binary"]),
        ({"normalize": False}, ["False"]),
        ({"refine_steps": 2}, ["refine_steps"]),
        ({"adapter": "some/adapter"}, ["some/adapter"]),
    ],
)
def test_an_update_that_makes_other_vectors_is_refused_and_both_are_named(
    model: Path, change: dict[str, Any], named: list[str]
) -> None:
    function = InstructEmbeddingFunction(model, instruction=INSTRUCTION)
    config = function.get_config()
    with pytest.raises(CollectionMismatchError) as error:
        function.validate_config_update(config, config | change)
    assert all(name in str(error.value) for name in named)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"query_instruction": SHAPE},
        {"dtype": "bfloat16"},
        {"max_tokens": 20},
        {"model": "/moved/elsewhere"},
    ],
)
def test_an_update_under_which_vectors_can_be_compared_is_allowed(
    model: Path, change: dict[str, Any]
) -> None:
    function = InstructEmbeddingFunction(model, instruction=INSTRUCTION)
    function.validate_config_update(function.get_config(), function.get_config() | change)


def test_a_folder_whose_model_was_replaced_is_recognised(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_checkpoint(), folder)
    config = InstructEmbeddingFunction(folder, instruction=INSTRUCTION).get_config()
    shutil.rmtree(folder)
    shutil.copytree(tiny_checkpoint(soft_prompts=2), folder)
    newer = InstructEmbeddingFunction(folder, instruction=INSTRUCTION).get_config()
    assert len(InstructEmbeddingFunction.build_from_config(newer).embed_query(["red"])) == 1
    with pytest.raises(CollectionMismatchError, match=r"holds another model.*pass"):
        InstructEmbeddingFunction.build_from_config(config).embed_query(["red"])


def test_its_text_form_shows_what_it_does(model: Path) -> None:
    function = InstructEmbeddingFunction(model, query_instruction=INSTRUCTION, truncate_dim=8)
    assert repr(function) == (
        f"InstructEmbeddingFunction({str(model.resolve())!r}, truncate_dim=8, "
        f"query_instruction={INSTRUCTION!r}, document_instruction=None)"
    )
