from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from instruct_embeddings import carry_over
from instruct_embeddings._types import FloatArray, Space
from instruct_embeddings.errors import CollectionMismatchError, EmptyCollectionError
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.testing import InMemoryCollection
from instruct_embeddings.transform import InstructionTransform, TransformStore
from tests.unit.conftest import COLOUR, Toys


@pytest.fixture
def store(tmp_path: Path, by_colour: InstructionTransform) -> TransformStore:
    """Knows one transform of the toys, and one of another collection."""
    found = TransformStore(tmp_path)
    found.put(by_colour)
    other = replace(by_colour.collection, id="another")
    found.put(replace(by_colour, collection=other))
    return found


def moved(
    toys: Toys, vectors: FloatArray | None = None, *, space: Space = "cosine", rows: int = 90
) -> InMemoryCollection:
    """The toys in another store, in another order."""
    kept = toys.vectors if vectors is None else vectors
    ids = [str(row) for row in reversed(range(rows))]
    return InMemoryCollection(kept[:rows][::-1], ids=ids, space=space, name="moved")


def test_the_same_answers_come_without_a_fit(toys: Toys, store: TransformStore) -> None:
    target = moved(toys)
    (key,) = carry_over(store, toys.collection(), target)
    assert len(store.keys()) == 3
    carried = store.get(key)
    assert carried is not None
    assert carried.collection == target.info()

    def answers(collection: InMemoryCollection) -> list[tuple[str, float]]:
        hits = InstructRetriever(collection, store=store).search(
            toys.vectors[0], instruction=COLOUR, k=10
        )
        return [(hit.id, pytest.approx(hit.score, abs=1e-5)) for hit in hits]

    assert answers(target) == answers(toys.collection())


def test_a_second_time_nothing_is_replaced(toys: Toys, store: TransformStore) -> None:
    carry_over(store, toys.collection(), moved(toys))
    before = {file: file.stat().st_mtime_ns for file in store.path.iterdir()}
    assert carry_over(store, toys.collection(), moved(toys)) == ()
    assert {file: file.stat().st_mtime_ns for file in store.path.iterdir()} == before


def test_lengths_are_those_of_the_target_and_count_where_they_are_compared(
    toys: Toys, store: TransformStore
) -> None:
    longer = np.float32(3) * toys.vectors
    (key,) = carry_over(store, toys.collection(), moved(toys, longer))
    carried = store.get(key)
    assert carried is not None
    assert carried.norms.mean == pytest.approx(3)
    with pytest.raises(CollectionMismatchError, match="0 are in 'moved' with the same"):
        carry_over(store, toys.collection("l2"), moved(toys, longer, space="l2"))


def test_halves_of_precision_and_a_few_new_rows_are_no_difference(
    toys: Toys, store: TransformStore
) -> None:
    halves = toys.vectors.astype(np.float16).astype(np.float32)
    halves[:4] = -halves[:4]
    assert len(carry_over(store, toys.collection(), moved(toys, halves))) == 1


@pytest.mark.parametrize("rows", [20, 80])
def test_what_holds_other_vectors_is_refused_and_nothing_written(
    toys: Toys, store: TransformStore, rows: int
) -> None:
    before = store.keys()
    source = toys.collection()
    with pytest.raises(CollectionMismatchError, match=rf"Of 90 rows of 'toys', {rows} are in 'mo"):
        carry_over(store, source, moved(toys, rows=rows))
    with pytest.raises(CollectionMismatchError, match="0 are in 'moved' with the same"):
        carry_over(store, source, moved(toys, -toys.vectors))
    elsewhere = InMemoryCollection(toys.vectors[:rows], ids=[f"x{i}" for i in range(rows)])
    with pytest.raises(CollectionMismatchError, match=f"{rows} are in 'in-memory' with the same"):
        carry_over(store, source, elsewhere)
    with pytest.raises(CollectionMismatchError, match="'cosine', those of 'moved' 16 and 'ip'"):
        carry_over(store, source, moved(toys, space="ip"))
    with pytest.raises(CollectionMismatchError, match=r"16 dimensions.* 8 and"):
        carry_over(store, source, moved(toys, toys.vectors[:, :8]))
    with pytest.raises(EmptyCollectionError):
        carry_over(store, source, InMemoryCollection())
    assert store.keys() == before


def test_a_store_that_numbers_rows_anew_is_looked_through_by_vectors(
    toys: Toys, store: TransformStore
) -> None:
    numbered = InMemoryCollection(3 * toys.vectors, ids=[f"x{i}" for i in range(90)])
    (key,) = carry_over(store, toys.collection(), numbered)
    carried = store.get(key)
    assert carried is not None
    assert carried.norms.mean == pytest.approx(3)


def test_copies_go_to_another_store_where_one_is_named(
    toys: Toys, store: TransformStore, tmp_path: Path
) -> None:
    other, before = TransformStore(tmp_path / "other"), store.keys()
    (key,) = carry_over(store, toys.collection(), moved(toys), into=other)
    assert (other.keys(), store.keys()) == ([key], before)
    assert carry_over(store, toys.collection(), moved(toys), into=other) == ()
