import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import v_measure_score

from instruct_embeddings.errors import MissingExtraError
from instruct_embeddings.evaluation.metrics import codes, k_means, v_measure, v_measure_of

PAIRS = np.array([[0, 0], [0, 1], [9, 9], [9, 8]], dtype=np.float32)


def test_labels_become_numbers_in_alphabetical_order() -> None:
    assert codes(["b", "a", "c", "b"]).tolist() == [1, 0, 2, 1]


def test_the_same_partition_under_other_names_agrees() -> None:
    assert v_measure(np.array([0, 0, 1, 2]), np.array([2, 2, 0, 1])) == pytest.approx(1)


def test_clusters_across_the_labels_know_nothing_of_them() -> None:
    assert v_measure(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])) == pytest.approx(0)


def test_a_value_worked_out_by_hand() -> None:
    """Of two labels with two rows each, one row lies in the wrong cluster.

    Entropies: labels ln 2 = 0.6931, clusters 0.5623, both together 1.0397; so they share 0.2158:
    homogeneity 0.3113, completeness 0.3837, harmonic mean 0.3437.
    """
    found = v_measure(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1]))
    assert found == pytest.approx(0.3437, abs=1e-4)


def test_one_label_or_one_cluster_is_half_of_the_truth() -> None:
    one, two = np.array([0, 0]), np.array([0, 1])
    assert v_measure(one, one) == 1
    assert v_measure(one, two) == v_measure(two, one) == 0


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30))
def test_it_is_what_scikit_learn_computes(pairs: list[tuple[int, int]]) -> None:
    labels, clusters = np.array(pairs).T
    assert v_measure(labels, clusters) == pytest.approx(v_measure_score(labels, clusters))


def test_as_a_statistic_it_looks_at_some_rows() -> None:
    statistic = v_measure_of(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]))
    assert statistic(np.array([0, 1, 2])) == pytest.approx(1)
    assert statistic(np.array([0, 1, 2, 3])) < 1


def test_rows_that_lie_together_share_a_cluster() -> None:
    found = k_means(PAIRS, 2, seed=0)
    assert found[0] == found[1] != found[2] == found[3]


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(MissingExtraError, match=r"instruct-embeddings\[eval\]"):
        k_means(PAIRS, 2, seed=0)
