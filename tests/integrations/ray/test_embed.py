"""Batches in every format, in this process."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from threadpoolctl import threadpool_info

from instruct_embeddings import InstructEncoder
from instruct_embeddings.errors import ConfigError
from ray_instruct_embeddings import EmbedTexts, batches, embed

TEXTS = ["a red ball", "a blue cube that is larger", "", "the printer"]
ASKED = ["What colour is it?", None, "What is its shape?", "What colour is it?"]
COLUMNS: dict[str, list[Any]] = {"text": TEXTS, "asked": ASKED, "id": [1, 2, 3, 4]}
FORMATS: dict[str, Callable[[dict[str, list[Any]]], Any]] = {
    "numpy": lambda columns: {
        name: np.array(values, dtype=None if name == "id" else object)
        for name, values in columns.items()
    },
    "pandas": pd.DataFrame,
    "pyarrow": pa.table,
}


@pytest.fixture(params=FORMATS)
def batch(request: pytest.FixtureRequest) -> Any:
    return FORMATS[request.param](COLUMNS)


def vectors(batch: Any, name: str = "embedding") -> Any:
    return batches.vectors(batch, name)


def test_a_batch_keeps_its_format_and_gets_a_column(
    batch: Any, folder: Path, encoder: InstructEncoder
) -> None:
    found = EmbedTexts(folder, instruction=ASKED[0])(batch)
    assert type(found) is type(batch)
    assert batches.names(found) == ["text", "asked", "id", "embedding"]
    assert batches.names(batch) == ["text", "asked", "id"]
    expected = encoder.encode(TEXTS, instruction=ASKED[0])
    np.testing.assert_allclose(vectors(found), expected, atol=1e-6)


def test_instructions_of_a_column_are_read_row_by_row(
    batch: Any, folder: Path, encoder: InstructEncoder
) -> None:
    found = EmbedTexts(folder, instruction_column="asked", vector_column="v")(batch)
    expected = [
        encoder.encode([text], instruction=asked)[0]
        for text, asked in zip(TEXTS, ASKED, strict=True)
    ]
    np.testing.assert_allclose(vectors(found, "v"), expected, atol=1e-6)


def test_a_column_of_that_name_is_replaced(batch: Any, folder: Path) -> None:
    embedder = EmbedTexts(folder)
    once = embedder(batch)
    np.testing.assert_array_equal(vectors(embedder(once)), vectors(once))


def test_a_batch_without_rows_stays_one(folder: Path) -> None:
    empty = pa.table({"text": pa.array([], pa.string()), "asked": pa.array([], pa.string())})
    for embedder in (EmbedTexts(folder), EmbedTexts(folder, instruction_column="asked")):
        assert embedder(empty).num_rows == 0
        assert embedder({"text": np.array([]), "asked": np.array([])})["embedding"].shape == (0, 32)


def test_settings_can_be_pickled_and_nothing_is_loaded_before_a_batch(
    folder: Path, nothing_loaded: None
) -> None:
    embedder = EmbedTexts("no/such/folder", threads=1)
    copy = pickle.loads(pickle.dumps(EmbedTexts(folder, instruction=ASKED[0], max_tokens=20)))
    assert copy.encoder.options == EmbedTexts(folder, max_tokens=20).encoder.options
    with pytest.raises(OSError, match="no/such/folder"):
        embedder({"text": np.array(["x"])})


def test_threads_are_pinned_at_the_first_batch(folder: Path) -> None:
    before = torch.get_num_threads()
    limits = [one["num_threads"] for one in threadpool_info()]
    try:
        embedder = EmbedTexts(folder, threads=2)
        assert torch.get_num_threads() == before
        embedder({"text": np.array(["x"])})
        assert torch.get_num_threads() == 2
        assert {one["num_threads"] for one in threadpool_info()} == {2}
    finally:
        embed._pin(before)
    assert limits


def test_outside_of_an_actor_threads_are_left_alone(folder: Path) -> None:
    assert embed.cpus_of_actor() is None
    before = torch.get_num_threads()
    EmbedTexts(folder)({"text": np.array(["x"])})
    assert torch.get_num_threads() == before


def test_what_cannot_be_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="both given"):
        EmbedTexts(folder, instruction="x", instruction_column="y")
    with pytest.raises(ConfigError, match="threads"):
        EmbedTexts(folder, threads=0)
    with pytest.raises(ConfigError, match="no column 'text', only 'body'"):
        EmbedTexts(folder)({"body": np.array(["x"])})
    with pytest.raises(TypeError, match="Text 1 is of type NoneType"):
        EmbedTexts(folder)(pa.table({"text": ["x", None]}))
