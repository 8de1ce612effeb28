import numpy as np
import pytest

from instruct_embeddings._types import FloatArray
from instruct_embeddings.supervision import Pairs, Targets
from instruct_embeddings.transform.problems import (
    PairProblem,
    TargetProblem,
    find_clusters,
    group_rows,
)
from instruct_embeddings.transform.regression import fit_smooth_map
from instruct_embeddings.transform.vectors import unit_rows

CORNERS = unit_rows([[1, 1], [-1, -1], [1, -1], [-1, 1]])


def problem(vectors: FloatArray, targets: list[list[float]]) -> TargetProblem:
    judged = np.ones(len(targets), dtype=np.bool_)
    return TargetProblem.of(vectors, Targets(np.array(targets, dtype=np.float32), judged))


def test_what_all_targets_have_in_common_does_not_count() -> None:
    """All point up far more than anywhere else; what remains is left or right."""
    found = problem(CORNERS, [[1, 9], [1, 9], [-1, 9], [-1, 9]])
    np.testing.assert_allclose(found.targets, [[1, 0], [1, 0], [-1, 0], [-1, 0]], atol=1e-6)
    assert found.clusters[0] == found.clusters[1] != found.clusters[2] == found.clusters[3]


def test_rows_without_a_target_are_left_out() -> None:
    targets = np.eye(6, dtype=np.float32)
    found = TargetProblem.of(targets, Targets(targets, np.arange(6) != 2))
    assert found.size == len(found.targets) == len(found.clusters) == 5


def test_the_best_rows_should_lie_in_the_cluster_of_the_query() -> None:
    """Opposite corners belong together: the generic ranking takes a neighbouring corner first."""
    found = problem(CORNERS, [[1, 0], [1, 0], [-1, 0], [-1, 0]])
    assert found.measure == "agreement@1"
    assert found.quality(lambda q, x: -(q @ x.T)).tolist() == [1, 1, 1, 1]
    assert found.quality(lambda q, x: q @ x.T).tolist() == [0, 0, 0, 0]


def test_rows_alone_in_their_cluster_are_not_judged() -> None:
    found = problem(CORNERS, [[1, 0], [1, 0], [1, 0], [-1, 0]])
    assert len(found.quality(lambda q, x: q @ x.T)) == 3


def test_a_part_keeps_the_targets_and_clusters_of_the_whole() -> None:
    whole = problem(CORNERS, [[1, 0], [1, 0], [-1, 0], [-1, 0]])
    part = whole.subset(np.array([1, 3]))
    np.testing.assert_array_equal(part.targets, whole.targets[[1, 3]])
    np.testing.assert_array_equal(part.clusters, whole.clusters[[1, 3]])


def test_the_smooth_map_bends() -> None:
    """Opposite corners have the same target, so every linear map takes all corners to zero."""
    sides = np.array([1, 1, -1, -1])
    encoder = fit_smooth_map(CORNERS, np.outer(sides, [1, 0]).astype(np.float32))
    np.testing.assert_allclose(encoder.encode(CORNERS)[:, 0], sides, atol=1e-5)
    between = unit_rows([[1.0, 0.8], [-0.8, -1.0], [1.0, -0.8], [-0.8, 1.0]])
    np.testing.assert_allclose(encoder.encode(between)[:, 0], sides, atol=1e-5)


@pytest.mark.parametrize(("rows", "units"), [(5, 5), (512, 512), (600, 512)])
def test_the_smooth_map_has_a_unit_at_each_of_at_most_512_rows(rows: int, units: int) -> None:
    vectors = unit_rows(np.random.default_rng(0).standard_normal((rows, 3)))
    ((weights, _), (out, _)) = fit_smooth_map(vectors, vectors[:, :2]).layers
    assert (weights.shape, out.shape) == ((units, 3), (2, units))


def test_the_folded_query_ranks_as_the_space_does() -> None:
    """A linear task: of four coordinates the first is asked for, the others are loud."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((300, 4)) * [0.5, 1, 1, 1]
    vectors[:, 0] = np.where(vectors[:, 0] > 0, 0.5, -0.5)
    rows, side = unit_rows(vectors), np.sign(vectors[:, 0])
    found = problem(rows[:200], [[s, 0] for s in side[:200]])
    new, same = rows[200:], side[200:, None] == side[None, 200:]
    query = found.fit_queries(1.0)
    space = found.fit_space(query, seed=0)
    for scores in (query.fold(new) @ new.T, space.score(new, new)):
        best = np.argsort(-scores, axis=1)[:, :10]
        assert np.take_along_axis(same, best, axis=1).mean() > 0.95
    best = np.argsort(-(new @ new.T), axis=1)[:, :10]
    assert np.take_along_axis(same, best, axis=1).mean() < 0.85


def test_clusters_are_those_that_anyone_sees() -> None:
    """Twenty rows around each of three directions."""
    noise = 0.05 * np.random.default_rng(0).standard_normal((60, 3))
    targets = unit_rows(np.repeat(np.eye(3), 20, axis=0) + noise)
    clusters = find_clusters(targets)
    groups = [set(clusters[start : start + 20].tolist()) for start in (0, 20, 40)]
    assert [len(group) for group in groups] == [1, 1, 1]
    assert len(set.union(*groups)) == 3
    np.testing.assert_array_equal(find_clusters(targets), clusters)


@pytest.mark.parametrize(("rows", "clusters"), [(4, 2), (59, 2), (60, 3), (400, 20), (900, 20)])
def test_there_is_a_cluster_for_every_twenty_rows_up_to_twenty(rows: int, clusters: int) -> None:
    targets = unit_rows(np.random.default_rng(0).standard_normal((rows, 8)))
    assert len(set(find_clusters(targets).tolist())) == clusters


def test_equal_targets_share_a_cluster() -> None:
    assert len(set(find_clusters(np.ones((30, 2), dtype=np.float32)).tolist())) == 1


def test_equal_rows_have_equal_numbers() -> None:
    rows = np.array([[1, 0], [0, 1], [1, 0], [0, 2]], dtype=np.float32)
    assert group_rows(rows).tolist() == [2, 0, 2, 1]


def test_pairs_are_grouped_by_the_direction_of_their_query() -> None:
    queries = np.array([[1, 0], [0, 1], [3, 0], [0, 1]], dtype=np.float32)
    documents = np.array([[1, 0], [0, 1], [0, 1], [1, 0]], dtype=np.float32)
    problem = PairProblem.of(Pairs(queries, documents, np.array([True, True, False, False])))
    assert problem.groups.tolist() == [1, 0, 1, 0]
    assert problem.subset(np.array([0, 2])).groups.tolist() == [0, 0]
