import json
import logging as standard_logging
import shutil
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModel
from transformers.utils import logging

from instruct_embeddings.encoder import InstructEncoder
from instruct_embeddings.encoder.loading import choose_device, load_model
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.source import WEIGHTS_FILE, find_source
from instruct_embeddings.errors import CheckpointError, ConfigError
from tests.models import INSTRUCTION, TEXTS, quiet, tiny, tiny_checkpoint

Tensors = dict[str, Tensor]


def copy(folder: Path, source: Path | None = None) -> Path:
    shutil.copytree(source or tiny(), folder, dirs_exist_ok=True)
    return folder


def change(file: Path, edit: Callable[[Tensors], Any]) -> None:
    tensors = load_file(file)
    edit(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def encode(model: Path, instruction: str | None = None, **options: Any) -> Any:
    with InstructEncoder.from_pretrained(model, device="cpu", **options) as encoder:
        return encoder.encode(TEXTS, instruction=instruction)


def fails(model: Path, message: str, **options: Any) -> None:
    with pytest.raises(CheckpointError, match=message):
        encode(model, INSTRUCTION, **options)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    (copy(tmp_path) / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    fails(tmp_path, r"only \['pytorch_model.bin'\]. Only safetensors are read")


@pytest.mark.parametrize(
    "name", ["embeddings.word_embeddings.weight", "encoder.layer.1.output.dense.bias"]
)
def test_a_tensor_that_the_backbone_lacks_is_not_replaced_by_random_numbers(
    tmp_path: Path, name: str
) -> None:
    change(copy(tmp_path) / "model.safetensors", lambda tensors: tensors.pop(name))
    fails(tmp_path, rf"do not fit their config.json: missing \['{name}'\]")


def test_the_pooler_of_bert_is_not_missed(tmp_path: Path) -> None:
    expected = encode(copy(tmp_path))
    change(tmp_path / "model.safetensors", lambda tensors: tensors.pop("pooler.dense.weight"))
    np.testing.assert_array_equal(encode(tmp_path), expected)


def test_a_backbone_of_another_shape_is_refused(tmp_path: Path) -> None:
    config = json.loads((copy(tmp_path) / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"intermediate_size": 63}))
    fails(tmp_path, "(of another shape .*intermediate|cannot be loaded)")


@pytest.mark.parametrize("size", [0, 7, 5000])
def test_a_backbone_that_was_cut_off_is_refused(tmp_path: Path, size: int) -> None:
    file = copy(tmp_path) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    fails(tmp_path, "model.safetensors' cannot be read as safetensors")


def test_a_configuration_that_transformers_refuses_is_named(tmp_path: Path) -> None:
    config = json.loads((copy(tmp_path) / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_attention_heads": "two"}))
    fails(tmp_path, f"in {str(tmp_path)!r} cannot be loaded: .*num_attention_heads")


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    for file in copy(tmp_path).iterdir():
        if file.name not in ("config.json", "model.safetensors"):
            file.unlink()
    fails(tmp_path, "holds no vocabulary")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A copy that may be damaged: soft prompts and latent attention."""
    return copy(tmp_path / "checkpoint", tiny_checkpoint("bert", "latent_attention"))


def test_missing_and_unknown_tensors_of_a_checkpoint_are_named(checkpoint: Path) -> None:
    def rename(tensors: Tensors) -> None:
        tensors["hard_prompts"] = tensors.pop("soft_prompts")

    change(checkpoint / WEIGHTS_FILE, rename)
    fails(checkpoint, r"hard_prompts .* instead of None, soft_prompts has the shape None")


def test_a_tensor_of_another_shape_is_named_with_both_shapes(checkpoint: Path) -> None:
    def cut(tensors: Tensors) -> None:
        tensors["soft_prompts"] = tensors["soft_prompts"][:2].contiguous()

    change(checkpoint / WEIGHTS_FILE, cut)
    fails(checkpoint, r"soft_prompts has the shape \(2, 32\) instead of \(3, 32\)")


def test_the_weights_of_a_checkpoint_must_be_there_and_whole(checkpoint: Path) -> None:
    content = (checkpoint / WEIGHTS_FILE).read_bytes()
    (checkpoint / WEIGHTS_FILE).write_bytes(content[:-8])
    fails(checkpoint, f"{WEIGHTS_FILE}' cannot be read as safetensors")
    (checkpoint / WEIGHTS_FILE).unlink()
    fails(checkpoint, f"{WEIGHTS_FILE}' cannot be read as safetensors")


def test_settings_that_do_not_fit_the_backbone_are_refused(checkpoint: Path) -> None:
    file = checkpoint / "instruct_encoder.json"
    file.write_text(file.read_text().replace('"heads": 2', '"heads": 5'))
    fails(checkpoint, "heads=5")


def test_python_files_of_a_model_are_not_run_without_trust(tmp_path: Path) -> None:
    """Neither where its configuration asks for them, nor those of its tokenizer."""
    marker = tmp_path / "was-run"
    folder = copy(tmp_path / "model")
    (folder / "own.py").write_text(f"open({str(marker)!r}, 'w').close()\nraise SystemExit\n")
    classes = {"AutoConfig": "own.C", "AutoModel": "own.M", "AutoTokenizer": ["own.T", None]}
    for name in ("config.json", "tokenizer_config.json"):
        config = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(config | {"auto_map": classes}))
    np.testing.assert_array_equal(encode(folder), encode(tiny()))
    assert not marker.exists()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_have_the_type_that_was_asked_for(dtype: Any) -> None:
    options = EncoderOptions(model=str(tiny()), dtype=dtype, device="cpu")
    model = load_model(find_source(options), options)
    assert model.backbone.body.dtype == getattr(torch, dtype)
    assert not model.training
    assert not any(value.requires_grad for value in model.parameters())


def test_by_default_a_processor_computes_in_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with quiet():
        AutoModel.from_pretrained(tiny()).half().save_pretrained(copy(tmp_path))
    options = EncoderOptions(model=str(tmp_path), device="cpu")
    assert load_model(find_source(options), options).backbone.body.dtype == torch.float32


@pytest.mark.parametrize("device", ["gpu", "cuda:x", ""])
def test_a_device_that_does_not_exist_is_refused_before_weights_are_read(
    device: str, tmp_path: Path
) -> None:
    (copy(tmp_path) / "model.safetensors").unlink()
    with (
        InstructEncoder.from_pretrained(tmp_path, device=device) as encoder,
        pytest.raises(ConfigError, match=f"device={device!r} is no torch device. Use 'cpu'"),
    ):
        encoder.encode(TEXTS)


def test_a_device_that_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for device in ("cuda", "cuda:1", "mps"):
        with pytest.raises(ConfigError, match=r"finds no such device here\. Use device='cpu'"):
            choose_device(device)
    assert choose_device(None) == choose_device("cpu") == choose_device("cpu:0") == "cpu"


def test_loads_at_once_leave_the_logging_of_transformers_as_it_was(tmp_path: Path) -> None:
    folders = [copy(tmp_path / str(number)) for number in range(4)]
    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.enable_progress_bar()
    logging.set_verbosity(standard_logging.INFO)
    try:
        threads = [threading.Thread(target=encode, args=(folder,)) for folder in folders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert logging.is_progress_bar_enabled()
        assert logging.get_verbosity() == standard_logging.INFO
    finally:
        logging.set_verbosity(level)
        if not shown:
            logging.disable_progress_bar()


def test_loading_writes_nothing(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    encode(copy(tmp_path))
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LoRA layers that change something, for the tiny BERT."""
    peft = pytest.importorskip("peft")
    folder = tmp_path_factory.mktemp("adapter")
    config = peft.LoraConfig(r=2, target_modules=["query", "value"], init_lora_weights=False)
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of what peft uses of transformers
        torch.manual_seed(3)
        peft.get_peft_model(AutoModel.from_pretrained(tiny()), config).save_pretrained(folder)
    return folder


def test_an_adapter_changes_embeddings_under_an_instruction_alone(adapter: Path) -> None:
    options = {"adapter": str(adapter)}
    np.testing.assert_array_equal(encode(tiny(), **options), encode(tiny()))
    plain, adapted = encode(tiny(), INSTRUCTION), encode(tiny(), INSTRUCTION, **options)
    assert np.abs(plain - adapted).max() > 0.01


def test_an_adapter_that_lacks_layers_is_refused(adapter: Path, tmp_path: Path) -> None:
    change(
        copy(tmp_path, adapter) / "adapter_model.safetensors",
        lambda tensors: tensors.pop(sorted(tensors)[0]),
    )
    fails(tiny(), "lacks layers that it should have: .*lora_A", adapter=str(tmp_path))


def test_an_adapter_of_another_backbone_is_refused(adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not fit the model"):
        encode(tiny("qwen2"), INSTRUCTION, adapter=str(adapter))
    file = copy(tmp_path, adapter) / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    fails(tiny(), "adapter_model.safetensors' cannot be read", adapter=str(tmp_path))


def test_without_peft_an_adapter_says_how_to_install_it(
    adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from instruct_embeddings.errors import MissingExtraError

    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r'peft is not installed.*"instruct-embeddings"'):
        encode(tiny(), adapter=str(adapter))


@pytest.mark.parametrize("backbone", [False, True])
def test_an_adapter_is_saved_with_a_checkpoint(
    adapter: Path, tmp_path: Path, backbone: bool
) -> None:
    base = copy(tmp_path / "base")
    with InstructEncoder.from_pretrained(base, adapter=str(adapter), device="cpu") as encoder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            saved = encoder.save_pretrained(tmp_path / "saved", backbone=backbone)
        expected = [encoder.encode(TEXTS, instruction=one) for one in (None, INSTRUCTION)]
    if backbone:
        shutil.rmtree(base)
    assert {file.suffix for file in saved.rglob("*") if file.is_file()} <= {
        ".json",
        ".safetensors",
        ".txt",
    }
    np.testing.assert_array_equal(encode(saved), expected[0])
    np.testing.assert_array_equal(encode(saved, INSTRUCTION), expected[1])
