"""Models whose files ask for more than to be read. Each is a copy of a tiny one with one change."""

import json
import os
import shutil
import sys
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from instruct_embeddings.encoder import InstructEncoder
from instruct_embeddings.encoder.files import MAX_JSON_BYTES
from instruct_embeddings.encoder.limits import MAX_TEXT_BYTES, shapes_of
from instruct_embeddings.encoder.source import SETTINGS_FILE, WEIGHTS_FILE
from instruct_embeddings.errors import CheckpointError
from tests.models import INSTRUCTION, TEXTS, quiet, tiny, tiny_checkpoint


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return shutil.copytree(tiny(), tmp_path / "model")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    source = tiny_checkpoint("bert", "latent_attention")
    return shutil.copytree(source, tmp_path / "checkpoint")


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    config = peft.LoraConfig(r=2, target_modules=["query"], init_lora_weights=False)
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of what peft uses of transformers
        peft.get_peft_model(AutoModel.from_pretrained(tiny()), config).save_pretrained(
            tmp_path / "adapter"
        )
    return tmp_path / "adapter"


def change(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def encode(model: Path, **options: Any) -> Any:
    with InstructEncoder.from_pretrained(model, device="cpu", **options) as encoder:
        return encoder.encode(TEXTS, instruction=INSTRUCTION)


def refused(model: Path, message: str, **options: Any) -> None:
    """Refused, and without much memory of Python's."""
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=message) as raised:
            encode(model, **options)
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    "name", ["vocab_size", "max_position_embeddings", "type_vocab_size", "intermediate_size"]
)
def test_sizes_that_the_weights_do_not_bear_are_refused(model: Path, name: str) -> None:
    """At 100 million rows of 32 numbers, the table alone would take 12 GB."""
    change(model / "config.json", **{name: 100_000_000})
    refused(model, "asks for [0-9,]+ parameters, and its weights have [0-9,]+ bytes")


def test_more_layers_than_tensors_are_not_made(model: Path) -> None:
    change(model / "config.json", num_hidden_layers=10**7)
    refused(model, "says num_hidden_layers=10000000, and its weights are 39 tensors")


@pytest.mark.parametrize(
    "changes",
    [
        {"num_attention_heads": 0},
        {"num_attention_heads": -1},
        {"hidden_size": 10**30},
        {"hidden_act": "no such function"},
        {"model_type": ["bert"]},
        {"auto_map": 3},
        {"layer_norm_eps": "small"},
        {"pad_token_id": [1]},
    ],
)
def test_whatever_a_configuration_says_the_error_is_ours(
    model: Path, changes: dict[str, Any]
) -> None:
    change(model / "config.json", **changes)
    refused(model, "model")


@pytest.mark.parametrize("name", ["pad_token", "unk_token", "sep_token"])
def test_a_token_that_the_model_has_no_vector_for_is_refused(model: Path, name: str) -> None:
    change(model / "tokenizer_config.json", **{name: "[UNHEARD]"})
    refused(model, rf"writes {name} as token \d+, and the model has \d+ tokens")


def test_an_added_token_that_a_text_may_hold_needs_a_vector_too(model: Path) -> None:
    change(model / "tokenizer_config.json", mask_token=" ")
    refused(model, r"writes the added ' ' as token \d+, and the model has \d+ tokens")


def test_a_length_that_is_no_number_is_refused(model: Path) -> None:
    change(model / "tokenizer_config.json", model_max_length="long")
    refused(model, r"model_max_length .* is 'long', not a number")


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_code_that_a_configuration_names_is_not_fetched(model: Path, key: str) -> None:
    change(model / "config.json", **{key: "somebody/kernel"})
    refused(model, "somebody/kernel.*code that a model names is not run")


def test_code_that_a_part_of_a_configuration_names_is_not_fetched(model: Path) -> None:
    change(model / "config.json", text_config={"attn_implementation": {"": "somebody/kernel"}})
    refused(model, "code that a model names is not run")


@pytest.mark.parametrize("name", ["../../secret.safetensors", "/etc/passwd", "a/b", 5, None])
def test_an_index_names_files_beside_it_alone(model: Path, name: object) -> None:
    index = model / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"embeddings.word_embeddings.weight": name}}))
    refused(model, "which is no file beside it")


def test_json_that_is_huge_or_nested_deeply_is_not_decoded(model: Path) -> None:
    with (model / "config.json").open("r+b") as stream:
        stream.truncate(MAX_JSON_BYTES + 1)  # a hole: no space is taken
    refused(model, "16,777,217 bytes; at most 16,777,216 are read")
    (model / "config.json").write_text("[" * 100_000)
    refused(model, "nested too deeply")


def test_a_vocabulary_larger_than_any_is_not_read(model: Path) -> None:
    with (model / "tokenizer.json").open("r+b") as stream:
        stream.truncate(MAX_TEXT_BYTES + 1)
    refused(model, r"tokenizer.json' has 134,217,729 bytes of 134,217,728 allowed")


def test_a_pipe_instead_of_a_configuration_is_not_waited_for(tmp_path: Path) -> None:
    """It would hang whoever opens it."""
    folder = shutil.copytree(tiny(), tmp_path / "model")
    os.mkfifo(folder / "added_tokens.json")
    refused(folder, "added_tokens.json' has 0 bytes .* or is no file")


def test_an_adapter_inside_a_model_is_not_put_on_unasked(model: Path, adapter: Path) -> None:
    for file in adapter.iterdir():
        shutil.copy(file, model)
    refused(model, "holds both a config.json and an adapter_config.json")


@pytest.mark.parametrize(
    ("name", "size"), [("soft_prompts", 10**9), ("latents", 10**9), ("max_tokens", 10**12)]
)
def test_settings_that_the_weights_do_not_bear_are_refused(
    checkpoint: Path, name: str, size: int
) -> None:
    change(checkpoint / SETTINGS_FILE, **{name: size})
    refused(checkpoint, f"{size}")


def test_weights_that_are_no_numbers_are_refused(checkpoint: Path) -> None:
    tensors = load_file(checkpoint / WEIGHTS_FILE)
    tensors["soft_prompts"][0, 0] = torch.inf
    save_file(tensors, checkpoint / WEIGHTS_FILE)
    refused(checkpoint, "soft_prompts in .* holds numbers that are not finite")


def test_an_adapter_of_weights_that_are_no_numbers_is_refused(adapter: Path) -> None:
    tensors = load_file(adapter / "adapter_model.safetensors")
    next(iter(tensors.values()))[0, 0] = torch.nan
    save_file(tensors, adapter / "adapter_model.safetensors")
    refused(tiny(), "holds numbers that are not finite", adapter=str(adapter))


def test_a_header_that_says_it_is_huge_is_not_read(checkpoint: Path) -> None:
    file = checkpoint / WEIGHTS_FILE
    file.write_bytes((2**62).to_bytes(8, "little") + file.read_bytes()[8:])
    refused(checkpoint, "header too large")


def test_shapes_are_read_without_the_tensors() -> None:
    file = tiny_checkpoint("bert", "latent_attention") / WEIGHTS_FILE
    expected = {name: tuple(tensor.shape) for name, tensor in load_file(file).items()}
    assert shapes_of(file) == expected


def test_a_pickled_adapter_is_refused_even_beside_safetensors(adapter: Path) -> None:
    """Where its own file is missing, peft would read the pickle."""
    (adapter / "adapter_model.safetensors").rename(adapter / "other.safetensors")
    torch.save({}, adapter / "adapter_model.bin")
    refused(
        tiny(), "has no adapter_model.safetensors, but .*adapter_model.bin", adapter=str(adapter)
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"megatron_config": {"a": 1}, "megatron_core": "own_module"}, "says ..megatron_config"),
        ({"layer_replication": [[0, 2]] * 9999}, "says ..layer_replication"),
        ({"lora_alpha": 1e300}, "lora_alpha': 1e.300.* lora_alpha up to 1,000,000"),
        ({"lora_alpha": float("nan")}, "lora_alpha': nan"),
        ({"alpha_pattern": {"query": float("inf")}}, "or its patterns do"),
        ({"peft_type": "PROMPT_TUNING"}, "peft_type': 'PROMPT_TUNING'.* plain LoRA"),
        ({"r": 10**9}, "'r': 1000000000"),
        ({"r": 0}, "'r': 0"),
        ({"r": True}, "'r': True"),
        ({"rank_pattern": {"query": 10**9}}, "r from 1 to 32"),
        ({"rank_pattern": [1]}, "r from 1 to 32"),
        ({"no_such_setting": 1, "target_modules": ["no such layer"]}, "does not fit the model"),
    ],
)
def test_an_adapter_is_plain_lora_of_the_size_of_its_weights(
    adapter: Path,
    changes: dict[str, Any],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "own_module.py").write_text("raise SystemExit('was run')")
    monkeypatch.syspath_prepend(tmp_path)
    change(adapter / "adapter_config.json", **changes)
    refused(tiny(), message, adapter=str(adapter))
    assert "own_module" not in sys.modules


def test_plain_models_checkpoints_and_adapters_are_read_as_before(
    model: Path, checkpoint: Path, adapter: Path
) -> None:
    for given, options in ((model, {}), (checkpoint, {}), (tiny(), {"adapter": str(adapter)})):
        assert np.isfinite(encode(given, **options)).all()
