"""Tiny models built in code: two layers, random weights, a vocabulary of a few dozen words."""

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import ByteLevel, Whitespace
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    BertTokenizerFast,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
)
from transformers.utils import logging

from instruct_embeddings.encoder.checkpoint import create_checkpoint
from instruct_embeddings.encoder.files import Location
from instruct_embeddings.encoder.settings import EncoderSettings
from instruct_embeddings.instant.head import HEAD_FILE, MoveHead
from instruct_embeddings.instant.query import DEFAULT_INSTANT

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = (  # noqa: SIM905
    "the a red green blue round ball cube ring sits on every table what which how many colour "
    "shape is it of in and not thank you printer paper invoice billing photo vanished lost data"
).split()
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": len(SPECIAL) + len(WORDS),
    # Larger than usual, so that texts of random weights differ.
    "initializer_range": 0.5,
}
TEXTS = [
    "the red ball sits on the table",
    "a cube",
    "",
    "every blue ball",
    "the round green cube sits on every table on the table",
    "red",
]
INSTRUCTION = "which colour is it"


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars of transformers."""
    logging.disable_progress_bar()
    yield
    logging.enable_progress_bar()


def build_model(folder: Path, kind: str, **changes: Any) -> Path:
    """Save a tiny model of a transformers architecture, with its tokenizer.

    Args:
        folder: Where to.
        kind: Model type, such as "bert", "roberta", "qwen2" or "llama".
        changes: Of its configuration.
    """
    if kind.startswith("qwen"):
        changes = {"vocab_size": 300} | changes
    causal = kind not in ("bert", "roberta", "modernbert", "distilbert", "mpnet")
    extra: dict[str, Any] = {"max_position_embeddings": 128, "pad_token_id": 0}
    if causal:
        extra |= {"num_key_value_heads": 1, "bos_token_id": 2, "eos_token_id": 3}
    if kind.startswith("gemma") or kind == "qwen3":
        extra["head_dim"] = 16
    if kind == "modernbert":
        extra |= {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
    if kind == "distilbert":
        extra |= {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **(SMALL | extra | changes))
    auto = AutoModelForCausalLM if causal else AutoModelForMaskedLM
    if kind == "bert":
        auto = AutoModel
    with quiet():
        auto.from_config(config).save_pretrained(folder)
    if kind.startswith("qwen"):
        _byte_tokenizer(folder)
    else:
        (_causal_tokenizer if causal else _pair_tokenizer)(folder)
    return folder


def _byte_tokenizer(folder: Path) -> None:
    """One token a byte, in the form that transformers rebuilds for Qwen."""
    letters = [*SPECIAL, *sorted(ByteLevel.alphabet())]
    Qwen2Tokenizer(
        vocab={letter: place for place, letter in enumerate(letters)},
        merges=[],
        unk_token="[UNK]",
        pad_token="[PAD]",
        eos_token="[SEP]",
    ).save_pretrained(folder)


def _pair_tokenizer(folder: Path) -> None:
    (folder / "vocab.txt").write_text("\n".join(SPECIAL + WORDS), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)


def _causal_tokenizer(folder: Path) -> None:
    words = {word: place for place, word in enumerate(SPECIAL + WORDS)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        eos_token="[SEP]",
    ).save_pretrained(folder)


def new_folder(name: str) -> Path:
    """A folder of this run, removed at its end."""
    parent = mkdtemp(prefix="tiny-")
    atexit.register(rmtree, parent, ignore_errors=True)
    return Path(parent) / name


@cache
def tiny(kind: str = "bert") -> Path:
    """The folder of a tiny model, built once a run in the temporary folder of the system."""
    return build_model(new_folder(f"tiny-{kind}"), kind)


@cache
def tiny_checkpoint(
    kind: str = "bert", pooling: str = "dual_anchor", soft_prompts: int = 3, refine_steps: int = 0
) -> Path:
    """The folder of an untrained checkpoint over a tiny model."""
    base = tiny(kind)
    data = EncoderSettings(str(base), max_tokens=124, generic_max_tokens=124).to_dict()
    data |= {"pooling": pooling, "soft_prompts": soft_prompts, "heads": 2, "latents": 4}
    data["refinement"]["steps"] = refine_steps
    folder = new_folder(f"{kind}-{pooling}-{soft_prompts}")
    return create_checkpoint(folder, EncoderSettings.from_dict(data), seed=1)


@cache
def tiny_instant(seed: int = 2) -> Path:
    """The folder of an untrained instant query over the tiny model, whose moves are long."""
    settings = EncoderSettings(str(tiny()), max_tokens=124, generic_max_tokens=124, soft_prompts=3)
    folder = create_checkpoint(new_folder(f"instant-{seed}"), settings, seed=seed)
    draw, width = np.random.default_rng(seed), SMALL["hidden_size"]
    shapes = [(width, width), (width,), (4, 2 * width), (4,), (5,)]
    maps = [draw.standard_normal(shape, dtype=np.float32) for shape in shapes]
    maps[-1] = np.array([0, 0, 0, 0, 3], dtype=np.float32)  # much trust in all
    (folder / HEAD_FILE).write_bytes(MoveHead(*maps, longest=1.0, space="tiny").to_bytes())
    return folder


def in_the_box(name: str, revision: str | None = None) -> Location:
    """Where the tiny model is that stands for one in the box."""
    folder = tiny_instant() if name == DEFAULT_INSTANT else tiny_checkpoint()
    return Location(name, folder, on_hub=False)
