import numpy as np

from instruct_embeddings.supervision import Pairs
from instruct_embeddings.transform.from_pairs import PairProblem, group_rows


def test_equal_rows_have_equal_numbers() -> None:
    rows = np.array([[1, 0], [0, 1], [1, 0], [0, 2]], dtype=np.float32)
    assert group_rows(rows).tolist() == [2, 0, 2, 1]


def test_pairs_are_grouped_by_the_direction_of_their_query() -> None:
    queries = np.array([[1, 0], [0, 1], [3, 0], [0, 1]], dtype=np.float32)
    documents = np.array([[1, 0], [0, 1], [0, 1], [1, 0]], dtype=np.float32)
    problem = PairProblem.of(Pairs(queries, documents, np.array([True, True, False, False])))
    assert problem.groups.tolist() == [1, 0, 1, 0]
    assert problem.subset(np.array([0, 2])).groups.tolist() == [0, 0]
