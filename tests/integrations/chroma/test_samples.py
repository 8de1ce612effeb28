from collections import Counter
from pathlib import Path

import chromadb
import numpy as np
import pytest
from chromadb import Collection

from chroma_instruct_embeddings import ChromaVectors
from chroma_instruct_embeddings import samples as samples_module
from chroma_instruct_embeddings.samples import sample_ids

ROWS, SIZE = 600, 100


@pytest.fixture
def stored(tmp_path: Path) -> Collection:
    """A collection beside another one, with a gap of deleted rows."""
    client = chromadb.PersistentClient(str(tmp_path))
    made = [client.create_collection(name, embedding_function=None) for name in ("other", "own")]
    vectors = np.random.default_rng(0).standard_normal((ROWS, 4), dtype=np.float32)
    for start in range(0, ROWS, 100):
        part = range(start, start + 100)
        for name, collection in zip("xr", made, strict=True):
            collection.add([f"{name}{row}" for row in part], embeddings=vectors[part])
    made[1].delete([f"r{row}" for row in range(200, 260)])
    return made[1]


def test_ids_come_from_all_over_the_collection_in_its_order(stored: Collection) -> None:
    ids = sample_ids(stored, SIZE, seed=0)
    numbers = [int(row.removeprefix("r")) for row in ids]
    assert len(set(numbers)) == SIZE
    assert numbers == sorted(numbers)
    assert not set(numbers) & set(range(200, 260))
    thirds = Counter(number // 200 for number in numbers)
    assert min(thirds.values()) > SIZE / 6
    assert ids == sample_ids(stored, SIZE, seed=0) != sample_ids(stored, SIZE, seed=1)


def test_a_sample_skips_to_no_offset(stored: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = ChromaVectors(stored)
    monkeypatch.setattr(ChromaVectors, "page", lambda *_, **__: pytest.fail("an offset"))
    rows = collection.sample(SIZE, seed=0)
    assert rows.ids == tuple(sample_ids(stored, SIZE, seed=0))
    assert rows.vectors.shape == (SIZE, 4)
    assert len(rows.texts) == SIZE


def test_blocks_are_read_where_the_database_is_another(
    stored: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples_module, "_folder", lambda _: Path("nowhere"))
    assert sample_ids(stored, SIZE, seed=0) == []
    assert len(ChromaVectors(stored).sample(SIZE, seed=0)) == SIZE


def test_a_collection_in_memory_has_no_folder() -> None:
    collection = chromadb.EphemeralClient().create_collection("in-memory", embedding_function=None)
    collection.add(["a"], embeddings=np.ones((1, 2), dtype=np.float32))
    assert sample_ids(collection, 1, seed=0) == []
