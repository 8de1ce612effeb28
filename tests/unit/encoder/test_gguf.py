import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from instruct_embeddings.encoder import InstructEncoder, files
from instruct_embeddings.encoder.checkpoint import create_checkpoint
from instruct_embeddings.encoder.settings import EncoderSettings
from instruct_embeddings.errors import (
    CheckpointError,
    ConfigError,
    MissingExtraError,
    ModelNotFoundError,
)
from tests.gguf_files import write_gguf
from tests.models import INSTRUCTION, TEXTS, tiny

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", tiny("qwen2"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "instruct-embeddings"


def rounded(folder: Path) -> Path:
    """The tiny model with the numbers that its GGUF file holds, in bfloat16."""
    place = folder / "rounded"
    place.mkdir()
    for file in tiny("qwen2").iterdir():
        (place / file.name).write_bytes(file.read_bytes())
    weights = load_file(place / "model.safetensors")
    kind = gguf.GGMLQuantizationType.Q8_0
    for name, value in weights.items():
        if value.dim() == 2:
            blocks = gguf.quantize(value.numpy(), kind)
            weights[name] = torch.from_numpy(gguf.dequantize(blocks, kind).reshape(value.shape))
        weights[name] = weights[name].bfloat16().float()
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})
    return place


def test_a_gguf_file_gives_the_embeddings_of_its_dequantised_weights(
    tiny_gguf: Path, tmp_path: Path
) -> None:
    found = InstructEncoder.from_pretrained(tiny_gguf, dtype="float32")
    expected = InstructEncoder.from_pretrained(rounded(tmp_path))
    assert found.name == "tiny.gguf"
    for instruction in (None, INSTRUCTION):
        np.testing.assert_allclose(
            found.encode(TEXTS, instruction=instruction),
            expected.encode(TEXTS, instruction=instruction),
            atol=1e-5,
        )


def test_it_is_dequantised_once(
    tiny_gguf: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = InstructEncoder.from_pretrained(tiny_gguf)
    folder = first.source.base.path
    assert list(own_cache.iterdir()) == [folder]
    assert {file.suffix for file in folder.iterdir()} <= {".json", ".safetensors", ".jinja"}
    monkeypatch.setitem(sys.modules, "gguf", None)
    again = InstructEncoder.from_pretrained(tiny_gguf.parent, gguf_file=tiny_gguf.name)
    np.testing.assert_array_equal(again.encode(TEXTS), first.encode(TEXTS))


def test_the_fingerprint_is_that_of_the_file_wherever_it_lies(
    tiny_gguf: Path, tmp_path: Path
) -> None:
    first = InstructEncoder.from_pretrained(tiny_gguf).fingerprint()
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(tiny_gguf.read_bytes())
    assert InstructEncoder.from_pretrained(copy).fingerprint() == first
    changed = bytearray(tiny_gguf.read_bytes())
    changed[-1] ^= 1
    copy.write_bytes(changed)
    assert InstructEncoder.from_pretrained(copy).fingerprint() != first


def test_a_checkpoint_over_a_gguf_file_names_the_file(tiny_gguf: Path, tmp_path: Path) -> None:
    settings = EncoderSettings(
        str(tiny_gguf), soft_prompts=2, pooling="dual_anchor", generic_pooling="last_token"
    )
    folder = create_checkpoint(tmp_path / "checkpoint", settings)
    trained = InstructEncoder.from_pretrained(folder)
    assert trained.source.base.gguf == str(tiny_gguf)
    np.testing.assert_array_equal(
        trained.encode(TEXTS), InstructEncoder.from_pretrained(tiny_gguf).encode(TEXTS)
    )
    plain = InstructEncoder.from_pretrained(tiny_gguf).save_pretrained(tmp_path / "plain")
    assert InstructEncoder.from_pretrained(plain).source.base.gguf == str(tiny_gguf)


def test_a_file_of_a_repository_on_the_hub_is_fetched_alone(
    tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def snapshot(name: str, **arguments: object) -> str:
        asked.append((name, arguments["revision"], arguments["allow_patterns"]))
        return str(tiny_gguf.parent)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    encoder = InstructEncoder.from_pretrained("toys/tiny", gguf_file="tiny.gguf", revision="v1")
    assert (encoder.name, encoder.source.base.address) == ("toys/tiny/tiny.gguf",) * 2
    assert asked == [("toys/tiny", "v1", ["tiny.gguf"])]
    with pytest.raises(ModelNotFoundError, match=r"no file 'other.gguf' in toys/tiny on the model"):
        _ = InstructEncoder.from_pretrained("toys/tiny", gguf_file="other.gguf").source


@pytest.mark.parametrize("model", ["missing.gguf", "./a/b/missing.gguf", "~/missing.gguf"])
def test_a_path_that_is_not_there_is_named(model: str) -> None:
    with pytest.raises(ModelNotFoundError, match=r"There is no file '.*missing.gguf' here"):
        _ = InstructEncoder.from_pretrained(model).source


@pytest.mark.parametrize("options", [{}, {"model": "toys/tiny", "gguf_file": "tiny.bin"}])
def test_a_gguf_file_needs_its_ending_and_a_model(options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"gguf_file='tiny.* with model="):
        InstructEncoder.from_pretrained(**{"gguf_file": "tiny.gguf"} | options)  # type: ignore[arg-type]


def test_without_the_extra_it_says_how_to_install_it(
    tiny_gguf: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingExtraError, match=r"instruct-embeddings\[gguf\]"):
        _ = InstructEncoder.from_pretrained(tiny_gguf).source
    assert not own_cache.exists()


def test_an_architecture_that_is_not_read_is_named(tmp_path: Path, own_cache: Path) -> None:
    file = write_gguf(tmp_path / "alien.gguf", tiny("qwen2"), "alien")
    with pytest.raises(CheckpointError, match=r"cannot read '.*alien.gguf': .*alien"):
        _ = InstructEncoder.from_pretrained(file).source
    assert list(own_cache.iterdir()) == []


@pytest.mark.parametrize("kept", [0, 3, 20, 500, 5_000, -1_000])
def test_a_damaged_file_is_refused_and_leaves_nothing(
    tiny_gguf: Path, tmp_path: Path, own_cache: Path, kept: int
) -> None:
    file = tmp_path / "cut.gguf"
    file.write_bytes(tiny_gguf.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"cut\.gguf"):
        _ = InstructEncoder.from_pretrained(file).source
    assert not own_cache.exists() or list(own_cache.iterdir()) == []


def test_what_fails_on_the_way_leaves_nothing(
    tiny_gguf: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("safetensors.torch.save_file", full)
        with pytest.raises(OSError, match="No space left"):
            _ = InstructEncoder.from_pretrained(tiny_gguf).source
    assert list(own_cache.iterdir()) == []
    assert InstructEncoder.from_pretrained(tiny_gguf).encode(TEXTS).shape == (len(TEXTS), 32)


def test_the_first_of_two_processes_is_kept(
    tiny_gguf: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one finishes while this one writes."""
    from instruct_embeddings.encoder import gguf as module

    write = module._write

    def slower(file: Path, folder: Path) -> None:
        write(file, folder)
        done = own_cache / f"{file.stem}-{files._sampled(file)[:32]}"
        done.mkdir()
        for one in folder.iterdir():
            (done / one.name).write_bytes(one.read_bytes())

    monkeypatch.setattr(module, "_write", slower)
    assert InstructEncoder.from_pretrained(tiny_gguf).encode(TEXTS).shape == (len(TEXTS), 32)
    assert len(list(own_cache.iterdir())) == 1
