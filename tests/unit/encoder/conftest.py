"""A BERT of two layers built in code, with random weights and a vocabulary of a dozen words."""

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from instruct_embeddings.encoder import GenericEncoder

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [
    "the",
    "a",
    "red",
    "green",
    "blue",
    "round",
    "ball",
    "cube",
    "sits",
    "on",
    "every",
    "table",
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The saved model."""
    path = tmp_path_factory.mktemp("models") / "tiny-bert"
    path.mkdir()
    (path / "vocab.txt").write_text("\n".join(SPECIAL + WORDS), encoding="utf-8")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=16,
        # Larger than usual, so that texts of random weights differ.
        initializer_range=0.5,
    )
    BertModel(config).save_pretrained(path)
    BertTokenizerFast(str(path / "vocab.txt")).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def encoder(folder: Path) -> GenericEncoder:
    return GenericEncoder.from_pretrained(folder, device="cpu")
