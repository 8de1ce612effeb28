from dataclasses import replace

import numpy as np
import pytest

from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import GuideError
from instruct_embeddings.protocols import CollectionInfo
from instruct_embeddings.supervision import Labels, Pairs, Targets


def test_single_labels_are_sets_of_one_or_none() -> None:
    labels = Labels.single(["a", None, "b", "a"])
    assert labels.rows == (frozenset("a"), frozenset(), frozenset("b"), frozenset("a"))
    np.testing.assert_array_equal(labels.judged, [True, False, True, True])


def test_counts_are_rows_a_label_most_frequent_first() -> None:
    labels = Labels((frozenset("ab"), frozenset("b"), frozenset(), frozenset("cb")))
    assert list(labels.counts().items()) == [("b", 3), ("a", 1), ("c", 1)]


def test_no_rows_at_all() -> None:
    assert Labels(()).judged.shape == (0,)
    assert Labels(()).judged.dtype == np.bool_
    assert Labels(()).counts() == {}


def zeros(*shape: int) -> FloatArray:
    return np.zeros(shape, dtype=np.float32)


@pytest.mark.parametrize(
    ("queries", "documents", "relevant", "message"),
    [
        ((3, 2), (3, 4), 3, r"\(3, 2\) and \(3, 4\)"),
        ((3, 2), (2, 2), 3, r"\(3, 2\) and \(2, 2\)"),
        ((3,), (3,), 3, r"\(3,\) and \(3,\)"),
        ((3, 2), (3, 2), 2, r"shape \(3,\), got \(2,\)"),
    ],
)
def test_pairs_need_both_sides_and_one_relevance_each(
    queries: tuple[int, ...], documents: tuple[int, ...], relevant: int, message: str
) -> None:
    with pytest.raises(GuideError, match=message):
        Pairs(zeros(*queries), zeros(*documents), np.ones(relevant, dtype=np.bool_))


@pytest.mark.parametrize(("shape", "judged"), [((3, 2), 2), ((3,), 3)])
def test_targets_need_one_row_each(shape: tuple[int, ...], judged: int) -> None:
    with pytest.raises(GuideError, match="Targets need vectors of shape"):
        Targets(zeros(*shape), np.ones(judged, dtype=np.bool_))


def test_targets_are_joined_with_their_labels() -> None:
    def targets(*labels: str | None) -> Targets:
        return Targets(zeros(len(labels), 2), zeros(len(labels)) == 0, Labels.single(labels))

    both = targets("a", None).joined(targets("b"))
    assert both.labels == Labels.single(["a", None, "b"])
    assert len(both.vectors) == len(both.judged) == 3
    assert targets("a").joined(replace(targets("b"), labels=None)).labels is None


def test_labels_of_targets_are_one_set_a_row() -> None:
    with pytest.raises(GuideError, match="Targets of 3 rows came with labels of 2"):
        Targets(zeros(3, 2), zeros(3) == 0, Labels.single(["a", "b"]))


def test_a_collection_is_known_by_all_its_fields_but_its_name() -> None:
    info = CollectionInfo("name", "id", 2, "cosine")
    others = [{"id": "i"}, {"dimension": 3}, {"space": "ip"}]
    prints = {info.fingerprint, *(replace(info, **other).fingerprint for other in others)}
    assert len(prints) == 4
    assert all(replace(info, **other) != info for other in others)
    renamed = replace(info, name="n")
    assert (renamed, renamed.fingerprint) == (info, info.fingerprint)
    assert info.fingerprint == CollectionInfo("name", "id", 2, "cosine").fingerprint
    assert len(info.fingerprint) == 32
