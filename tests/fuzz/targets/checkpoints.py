"""Folders of models: each example is a whole one of which one file is damaged."""

import json
import shutil
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import peft
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from transformers import AutoModel

from instruct_embeddings.encoder import InstructEncoder
from instruct_embeddings.encoder.source import SETTINGS_FILE, WEIGHTS_FILE
from tests.fuzz.damage import damaged, damaged_json, damaged_safetensors
from tests.fuzz.target import Target, expect
from tests.models import INSTRUCTION, TEXTS, new_folder, quiet, tiny, tiny_checkpoint

_BACKBONE = "backbone"
_OWN = (SETTINGS_FILE, WEIGHTS_FILE)


@cache
def _checkpoint() -> Path:
    """A checkpoint that brings its backbone."""
    folder = new_folder("whole")
    with InstructEncoder.from_pretrained(
        tiny_checkpoint("bert", "latent_attention"), device="cpu"
    ) as encoder:
        return encoder.save_pretrained(folder, backbone=True)


@cache
def _adapter() -> Path:
    folder = new_folder("adapter")
    config = peft.LoraConfig(r=2, target_modules=["query"], init_lora_weights=False)
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of what peft uses of transformers
        peft.get_peft_model(AutoModel.from_pretrained(tiny()), config).save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    return folder


@st.composite
def _one_file(draw: DrawFn, folder: Path) -> tuple[str, bytes]:
    names = sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())
    # What we read ourselves twice as often.
    name = draw(st.sampled_from(names + [name for name in names if name in _OWN]))
    return name, draw(_damage((folder / name).read_bytes(), name))


def _damage(data: bytes, name: str) -> SearchStrategy[bytes]:
    if name.endswith(".safetensors"):
        return damaged_safetensors(data)
    return damaged_json(json.loads(data)) if name.endswith(".json") else damaged(data)


def _copy(source: Path, target: Path, example: tuple[str, bytes]) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    (target / example[0]).write_bytes(example[1])
    return target


def _encode(model: Path, name: str, **options: Any) -> None:
    with (
        warnings.catch_warnings(),
        InstructEncoder.from_pretrained(
            model, device="cpu", local_files_only=True, **options
        ) as encoder,
    ):
        warnings.simplefilter("ignore")  # whatever the libraries have to say about the file
        for instruction in (None, INSTRUCTION):
            rows = encoder.encode(TEXTS, instruction=instruction)
            expect(rows.shape == (len(TEXTS), encoder.dimension), "an embedding for each text")
            # Looking through the billions of a backbone costs too much, and large numbers overflow.
            damaged_weights = name.endswith("model.safetensors")
            expect(damaged_weights or np.isfinite(rows).all(), "finite embeddings")


def _check_checkpoint(example: tuple[str, bytes], folder: Path) -> None:
    _encode(_copy(_checkpoint(), folder / "checkpoint", example), example[0])


def _check_adapter(example: tuple[str, bytes], folder: Path) -> None:
    adapter = _copy(_adapter(), folder / "adapter", example)
    _encode(tiny(), example[0], adapter=str(adapter))


CHECKPOINTS = Target(
    "checkpoint", st.deferred(lambda: _one_file(_checkpoint())), _check_checkpoint, few=25
)
ADAPTERS = Target("adapter", st.deferred(lambda: _one_file(_adapter())), _check_adapter, few=15)
