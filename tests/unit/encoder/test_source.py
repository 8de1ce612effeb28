import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from instruct_embeddings.encoder import InstructEncoder
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.source import SETTINGS_FILE, ModelSource, find_source
from instruct_embeddings.errors import CheckpointError, ModelNotFoundError, TruncationWarning
from tests.models import tiny, tiny_checkpoint


def source(model: Path, **options: Any) -> ModelSource:
    return find_source(EncoderOptions(model=str(model), **options))


def copy(folder: Path, kind: str = "bert", **changes: Any) -> Path:
    """A tiny model with another configuration."""
    shutil.copytree(tiny(kind), folder, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text()) | changes
    write(folder / "config.json", {k: v for k, v in config.items() if v is not None})
    return folder


def write(file: Path, content: object) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")


def test_a_plain_bidirectional_model_pools_the_mean() -> None:
    found = source(tiny("bert"))
    assert not found.causal
    assert not found.checkpoint
    assert found.model == found.base
    assert (found.settings.pooling, found.settings.generic_pooling) == ("mean", "mean")
    assert found.settings.template.between == ""
    assert (found.hidden_size, found.settings.max_tokens) == (32, 128)


def test_a_plain_causal_model_pools_the_last_token_behind_a_blank_line() -> None:
    found = source(tiny("qwen2"))
    assert found.causal
    assert (found.settings.pooling, found.settings.generic_pooling) == ("last_token",) * 2
    assert found.settings.template.between == "\n\n"


def test_a_checkpoint_has_another_folder_for_its_backbone() -> None:
    found = source(tiny_checkpoint())
    assert found.checkpoint
    assert found.model.path == tiny_checkpoint()
    assert found.base.path == tiny("bert").resolve()
    assert found.settings.soft_prompts == 3


@pytest.mark.parametrize(("kind", "positions"), [("bert", 128), ("roberta", 127), ("mpnet", 126)])
def test_the_loaded_model_says_how_many_positions_it_has(kind: str, positions: int) -> None:
    """RoBERTa counts from behind the padding id, here 0; MPNet always from 2."""
    with InstructEncoder.from_pretrained(tiny(kind)) as encoder:
        settings = encoder._load().model.settings
        assert (settings.max_tokens, settings.generic_max_tokens) == (positions,) * 2
        with pytest.warns(TruncationWarning):
            cut, whole = encoder.encode(["red " * 200, "red " * (positions - 2)])
    np.testing.assert_allclose(cut, whole, atol=1e-6)


@pytest.mark.parametrize(
    ("written", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"word_embedding_dimension": 32, "pooling_mode_lasttoken": True}, "last_token"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_weightedmean_tokens": True}, "weighted_mean"),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, "mean_sqrt_len"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": "mean", "embedding_dimension": 32}, "mean"),
        ({"pooling_mode": ["lasttoken"]}, "last_token"),
        # What sentence-transformers does where nothing is asked for.
        ({"pooling_mode_cls_token": False, "include_prompt": True}, "mean"),
    ],
)
def test_the_pooling_of_a_sentence_transformers_folder_is_kept(
    tmp_path: Path, written: dict[str, Any], pooling: str
) -> None:
    write(copy(tmp_path) / "1_Pooling" / "config.json", written)
    settings = source(tmp_path).settings
    assert (settings.pooling, settings.generic_pooling) == (pooling, pooling)


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ({"pooling_mode": "median"}, "['median']"),
        ({"pooling_mode": ["mean", "max"]}, "['mean', 'max']"),
        ({"pooling_mode": 3}, "[3]"),
        # Two modes are two embeddings, one after the other.
        (
            {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
            "['cls', 'mean']",
        ),
    ],
)
def test_a_pooling_that_is_not_known_is_refused(
    tmp_path: Path, written: dict[str, Any], named: str
) -> None:
    write(copy(tmp_path) / "1_Pooling" / "config.json", written)
    with pytest.raises(CheckpointError) as caught:
        source(tmp_path)
    assert f"asks for the pooling {named}; known here is one of" in str(caught.value)


def test_pooling_and_length_of_a_sentence_transformers_folder_reach_the_vectors(
    tmp_path: Path,
) -> None:
    """The first token of a sequence cut at 5, as the model itself gives it."""
    write(copy(tmp_path) / "1_Pooling" / "config.json", {"pooling_mode": "cls"})
    write(tmp_path / "sentence_bert_config.json", {"max_seq_length": 5, "do_lower_case": False})
    with (
        InstructEncoder.from_pretrained(tmp_path, normalize=False) as encoder,
        pytest.warns(TruncationWarning, match="1 of 1 texts are longer than the 3 tokens"),
    ):
        found = encoder.encode(["the red ball sits on the table"])
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)
    ids = tokenizer("the red ball", return_tensors="pt")
    assert ids["input_ids"].shape == (1, 5)
    with torch.inference_mode():
        expected = model.eval()(**ids).last_hidden_state[:, 0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_saved_length_limits_generic_embeddings_alone(tmp_path: Path) -> None:
    write(copy(tmp_path) / "sentence_bert_config.json", {"max_seq_length": 20})
    assert source(tmp_path).settings.generic_max_tokens == 20
    assert source(tmp_path).settings.max_tokens == 128
    write(tmp_path / "sentence_bert_config.json", {"max_seq_length": None})
    assert source(tmp_path).settings.generic_max_tokens == 128
    write(tmp_path / "sentence_bert_config.json", {"max_seq_length": 9999})
    with InstructEncoder.from_pretrained(tmp_path) as encoder:
        assert encoder._load().model.settings.generic_max_tokens == 128


def test_a_model_that_is_neither_causal_nor_an_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="model type 'clip', which is neither a causal"):
        source(copy(tmp_path, model_type="clip"))
    with pytest.raises(CheckpointError, match="model type None"):
        source(copy(tmp_path, model_type=None))


@pytest.mark.parametrize("kind", ["llama", "gemma3_text"])
@pytest.mark.parametrize("change", [{"is_causal": False}, {"use_bidirectional_attention": True}])
def test_a_causal_type_that_attends_both_ways_is_an_encoder(
    tmp_path: Path, kind: str, change: dict[str, bool]
) -> None:
    assert source(tiny(kind)).causal
    assert not source(copy(tmp_path / "both-ways", kind, **change)).causal


def test_an_encoder_and_decoder_in_one_is_refused(tmp_path: Path) -> None:
    folder = copy(tmp_path / "bart", model_type="bart", is_encoder_decoder=True)
    with pytest.raises(CheckpointError, match="'bart', which is neither a causal"):
        source(folder)


@pytest.mark.parametrize(
    ("own_code", "causal"), [("AutoModelForCausalLM", True), ("AutoModel", False)]
)
def test_a_type_with_code_of_its_own_says_what_it_is(
    tmp_path: Path, own_code: str, causal: bool
) -> None:
    folder = copy(tmp_path / "own", model_type="homegrown", auto_map={own_code: "own.Model"})
    assert source(folder).causal is causal


def test_layers_behind_the_pooling_are_never_left_out_silently(tmp_path: Path) -> None:
    folder, prefix = copy(tmp_path / "dense"), "sentence_transformers.models."
    names = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    known = [{"type": prefix + name, "path": path} for name, path in names.items()]
    write(folder / "modules.json", known)
    assert source(folder).settings.pooling == "mean"
    write(folder / "modules.json", [*known, {"type": prefix + "WordWeights", "path": "3"}])
    with pytest.raises(CheckpointError, match=r"the modules .*'WordWeights'\]; known here is Tr"):
        source(folder)
    write(folder / "modules.json", {"type": "Dense"})
    with pytest.raises(CheckpointError, match="no list of modules"):
        source(folder)


def test_a_model_without_a_hidden_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"\(model type 'bert'\) names no hidden size"):
        source(copy(tmp_path, hidden_size=None))


def test_a_folder_without_a_model_says_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"holds neither instruct_encoder\.json nor config\.json"
    ):
        source(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '"text"', "\xff"])
@pytest.mark.parametrize("name", ["config.json", SETTINGS_FILE, "sentence_bert_config.json"])
def test_damaged_json_is_named(tmp_path: Path, name: str, content: str) -> None:
    (copy(tmp_path) / name).write_text(content, encoding="latin-1")
    with pytest.raises(CheckpointError, match=name):
        source(tmp_path)


def test_the_folder_of_an_adapter_says_how_to_pass_it(tmp_path: Path) -> None:
    write(tmp_path / "adapter_config.json", {"base_model_name_or_path": "toys/tiny"})
    with pytest.raises(CheckpointError) as caught:
        source(tmp_path)
    assert f"model='toys/tiny', adapter={str(tmp_path)!r}" in str(caught.value)


def test_an_adapter_has_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="it is no LoRA adapter of peft"):
        source(tiny(), adapter=str(tmp_path))
    write(tmp_path / "adapter_config.json", {})
    (tmp_path / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"The adapter in .* only \['adapter_model.bin'\]"):
        source(tiny(), adapter=str(tmp_path))


def test_a_checkpoint_whose_backbone_is_gone_names_both(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint(), folder)
    settings = json.loads((folder / SETTINGS_FILE).read_text())
    write(folder / SETTINGS_FILE, settings | {"base_model": str(tmp_path / "gone")})
    with pytest.raises(ModelNotFoundError) as caught:
        source(folder)
    assert "The checkpoint 'checkpoint' needs its backbone" in str(caught.value)
    assert f"There is no folder {str(tmp_path / 'gone')!r}" in str(caught.value)
    assert "backbone=True" in str(caught.value)


def test_trust_is_never_read_from_a_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint(), folder)
    settings = json.loads((folder / SETTINGS_FILE).read_text())
    write(folder / SETTINGS_FILE, settings | {"trust_remote_code": True})
    with pytest.raises(CheckpointError, match="unexpected keyword argument 'trust_remote_code'"):
        source(folder)
