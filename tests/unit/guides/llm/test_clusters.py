import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings._types import FloatArray
from instruct_embeddings.guides.llm.clusters import cluster_count, cluster_rows, pick_members
from tests.unit.conftest import small_rows


@pytest.mark.parametrize(("rows", "count"), [(1, 2), (4, 2), (100, 10), (900, 30), (5000, 30)])
def test_there_are_as_many_clusters_as_the_square_root_of_the_rows(rows: int, count: int) -> None:
    assert cluster_count(rows) == count


def test_three_directions_are_three_clusters_nearest_to_the_centre_first() -> None:
    rows = np.array(
        [[9, 0, 0], [0, 5, 0], [0, 5, 1], [0, 5, -1], [0, 0, 7], [1, 0, 7], [2, 0, 0]],
        dtype=np.float32,
    )
    found = sorted(sorted(cluster) for cluster in map(list, cluster_rows(rows, 3, 0)))
    assert found == [[0, 6], [1, 2, 3], [4, 5]]
    middle = next(cluster for cluster in cluster_rows(rows, 3, 0) if 1 in cluster)
    assert middle[0] == 1  # (0, 5, 0) lies between its neighbours


@given(small_rows(8, 2), st.integers(1, 6), st.integers(0, 5))
def test_each_row_is_in_one_cluster_and_none_is_empty(
    rows: FloatArray, count: int, seed: int
) -> None:
    clusters = cluster_rows(rows, count, seed)
    assert sorted(np.concatenate(clusters).tolist()) == list(range(8))
    assert 1 <= len(clusters) <= count
    again = cluster_rows(rows, count, seed)
    assert all((a == b).all() for a, b in zip(clusters, again, strict=True))


def test_equal_rows_are_one_cluster() -> None:
    assert [len(c) for c in cluster_rows(np.ones((5, 2), dtype=np.float32), 3, 0)] == [5]


def test_members_are_different_the_first_and_some_of_the_rest() -> None:
    members = ["a", "a", "b", "c", "b", "d", "e"]
    found = pick_members(members, nearest=2, others=2, seed=0)
    assert found[:2] == ["a", "b"]
    assert len(found) == 4
    assert set(found[2:]) < {"c", "d", "e"}
    assert pick_members(["x", "x"], nearest=2, others=2, seed=0) == ["x"]
