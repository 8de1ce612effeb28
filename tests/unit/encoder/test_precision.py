import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.encoder.options import Precision
from instruct_embeddings.encoder.precision import binary_search, float_rows, quantise
from instruct_embeddings.errors import ConfigError, InvalidVectorsError
from tests.unit.conftest import small_rows


def unit(rows: FloatArray) -> FloatArray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def topics(n: int, d: int, seed: int = 0) -> FloatArray:
    """Unit rows like those of a text encoder.

    They lie around a hundred themes, nearer or farther; numbers are correlated, for a few
    directions hold most of the variance.
    """
    rng, shared = np.random.default_rng(seed), np.random.default_rng(99)
    themes, turn = shared.standard_normal((100, d)), np.linalg.qr(shared.standard_normal((d, d)))[0]
    near = rng.uniform(0, 1, (n, 1))
    rows = near * themes[rng.integers(0, 100, n)]
    rows += np.sqrt(1 - near**2) * rng.standard_normal((n, d))
    return unit((rows / np.sqrt(np.arange(1, d + 1))) @ turn)


def recall(found: IntArray, exact: IntArray) -> float:
    return float(
        np.mean([len(set(f) & set(e)) / len(e) for f, e in zip(found, exact, strict=True)])
    )


EIGHT = np.array([[0.5, -0.25, 0.0, 1.0, -1.0, 0.1, -0.1, 0.004]], dtype=np.float32)


def test_float32_is_left_as_it_is() -> None:
    assert quantise(EIGHT, "float32") is EIGHT
    assert float_rows(EIGHT, "float32") is EIGHT


def test_float16_rounds_to_eleven_bits() -> None:
    stored = quantise(np.array([[0.5, 1 + 2**-11, 1 + 2**-10]], np.float32), "float16")
    assert stored.dtype == np.float16
    np.testing.assert_array_equal(float_rows(stored, "float16"), [[0.5, 1, 1 + 2**-10]])


def test_int8_scales_each_row_by_its_largest_number() -> None:
    rows = np.array([[2.0, -1.0, 0.0], [0.0, 0.0, 0.0], [-0.01, 0.001, 0.0]], np.float32)
    stored = quantise(rows, "int8")
    assert stored.dtype == np.int8
    # 127 * (1, -1/2, 0), rounded to even; a zero row stays zero; 127 * (-1, 1/10, 0)
    np.testing.assert_array_equal(stored, [[127, -64, 0], [0, 0, 0], [-127, 13, 0]])
    np.testing.assert_array_equal(float_rows(stored, "int8")[0], [127, -64, 0])


def test_binary_packs_the_signs_first_dimension_first() -> None:
    stored = quantise(EIGHT, "binary")
    np.testing.assert_array_equal(stored, [[0b10010101]])
    assert stored.dtype == np.uint8
    signs = float_rows(stored, "binary")
    np.testing.assert_array_equal(signs, [[1, -1, -1, 1, -1, 1, -1, 1]])
    assert signs.dtype == np.float32


@pytest.mark.parametrize(
    ("name", "shape"),
    [("float32", (0, 16)), ("float16", (0, 16)), ("int8", (0, 16)), ("binary", (0, 2))],
)
def test_no_embeddings_stay_none(name: Precision, shape: tuple[int, int]) -> None:
    stored = quantise(np.empty((0, 16), np.float32), name)
    assert stored.shape == shape
    assert float_rows(stored, name).shape == (0, 16)


def test_binary_of_seven_dimensions_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"7 dimensions .* multiple of 8"):
        quantise(EIGHT[:, :7], "binary")


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'int4' is not known.*'int8'"):
        quantise(EIGHT, "int4")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["float16", "int8", "binary"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused_with_their_row(
    name: Precision, value: float
) -> None:
    rows = np.ones((3, 8), np.float32)
    rows[1, 2] = value
    with pytest.raises(InvalidVectorsError, match="Embedding 1 holds NaN"):
        quantise(rows, name)


def test_numbers_too_large_for_float16_are_refused() -> None:
    with pytest.raises(InvalidVectorsError, match="too large for float16"):
        quantise(np.full((1, 2), 70000.0, np.float32), "float16")


def test_numbers_of_another_type_are_refused() -> None:
    with pytest.raises(ConfigError, match="Got int64"):
        quantise(np.ones((2, 8), np.int64), "int8")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"of shape \(8,\)"):
        quantise(EIGHT[0], "int8")


@given(rows=small_rows(5, 8))
def test_the_cosine_after_int8_is_within_its_bound(rows: FloatArray) -> None:
    """Each number moves by at most half a step of 127: a row turns by at most sqrt(d) / 254."""
    back = float_rows(quantise(rows, "int8"), "int8")
    cosines = (unit(rows) * unit(back)).sum(1)
    assert (cosines >= 1 - (8**0.5 / 254) ** 2).all()


def test_int8_and_float16_keep_the_cosines_of_embeddings() -> None:
    rows = topics(200, 64)
    exact = rows @ rows.T
    for name, error in (("float16", 5e-4), ("int8", 0.01)):
        back = unit(float_rows(quantise(rows, name), name))  # type: ignore[arg-type]
        assert np.abs(back @ back.T - exact).max() < error


def test_search_rescores_the_candidates_with_the_full_query() -> None:
    """All documents differ from the query in one sign; the smaller the number there, the better."""
    query = np.array([[4, 3, 2, 1, 8, 8, 8, 8]], np.float32)
    signs = np.ones((4, 8), np.float32)
    signs[np.arange(4), np.arange(4)] = -1
    rows, scores = binary_search(query, quantise(signs, "binary"), k=2, oversample=2)
    np.testing.assert_array_equal(rows, [[3, 2]])
    np.testing.assert_array_equal(scores, [[42 - 2 * 1, 42 - 2 * 2]])
    assert (rows.dtype, scores.dtype) == (np.int64, np.float32)


def test_the_prefetch_bounds_what_rescoring_can_find() -> None:
    """The second document has the better score but the larger distance."""
    query = np.array([[9, 1, 1, 1, 1, 1, 1, 1]], np.float32)
    signs = np.array([[-1, 1, 1, 1, 1, 1, 1, 1], [1, -1, -1, 1, 1, 1, 1, 1]], np.float32)
    documents = quantise(signs, "binary")
    assert binary_search(query, documents, k=1, oversample=1)[0].tolist() == [[0]]
    assert binary_search(query, documents, k=1, oversample=2)[0].tolist() == [[1]]


@given(
    queries=small_rows(2, 16),
    documents=small_rows(9, 16),
    k=st.integers(1, 12),
    oversample=st.integers(1, 4),
)
def test_search_equals_two_plain_sorts(
    queries: FloatArray, documents: FloatArray, k: int, oversample: int
) -> None:
    """Whole numbers: ties abound, and go to the lower row in prefetch and rescoring."""
    rows, scores = binary_search(queries, quantise(documents, "binary"), k=k, oversample=oversample)
    signs = np.where(documents > 0, 1, -1)
    for query, found, score in zip(queries, rows, scores, strict=True):
        near = sorted(
            range(9), key=lambda n: (int((signs[n] != np.where(query > 0, 1, -1)).sum()), n)
        )
        best = sorted(near[: k * oversample], key=lambda n: (-(query @ signs[n]), n))[:k]
        assert found.tolist() == best
        np.testing.assert_array_equal(score, query @ signs[best].T)


def test_with_every_document_a_candidate_the_ranking_is_exact() -> None:
    queries, documents = topics(20, 64, seed=3), quantise(topics(50, 64, seed=4), "binary")
    rows, scores = binary_search(queries, documents, k=10, oversample=50)
    exact = queries @ float_rows(documents, "binary").T
    np.testing.assert_array_equal(rows, np.argsort(-exact, axis=1)[:, :10])
    np.testing.assert_allclose(scores, -np.sort(-exact, axis=1)[:, :10], rtol=1e-5)


def test_equal_documents_are_returned_in_their_order() -> None:
    query = topics(1, 64, seed=5)
    documents = np.repeat(quantise(query, "binary"), 101, axis=0)
    rows, scores = binary_search(query, documents, k=7, oversample=3)
    assert rows.tolist() == [[0, 1, 2, 3, 4, 5, 6]]
    assert len(set(scores[0].tolist())) == 1


def test_one_query_is_answered_as_in_a_batch() -> None:
    queries, documents = topics(6, 64, seed=6), quantise(topics(300, 64, seed=7), "binary")
    rows, scores = binary_search(queries, documents, k=5)
    for i in (3, 0, 5):
        row, score = binary_search(queries[i : i + 1], documents, k=5)
        np.testing.assert_array_equal(row[0], rows[i])
        np.testing.assert_array_equal(score[0], scores[i])


def test_rescoring_brings_back_most_of_what_signs_lose() -> None:
    queries, documents = topics(100, 128, seed=8), topics(3000, 128, seed=9)
    exact = np.argsort(-(queries @ documents.T), axis=1)[:, :10]
    packed = quantise(documents, "binary")
    signs = float_rows(quantise(queries, "binary"), "binary")
    agreement = signs @ float_rows(packed, "binary").T
    signs_alone = np.argsort(-agreement, axis=1, kind="stable")
    plain = recall(signs_alone[:, :10], exact)
    rescored = recall(binary_search(queries, packed, k=10, oversample=4)[0], exact)
    assert rescored > plain + 0.1


def test_fewer_documents_than_asked_are_all_returned() -> None:
    documents = quantise(topics(3, 8, seed=1), "binary")
    rows, scores = binary_search(topics(2, 8), documents, k=10)
    assert rows.shape == scores.shape == (2, 3)
    assert {frozenset(row) for row in rows.tolist()} == {frozenset({0, 1, 2})}


def test_no_documents_and_no_queries_give_empty_results() -> None:
    none = np.empty((0, 8), np.uint8)
    assert binary_search(topics(2, 64), none, k=3)[0].shape == (2, 0)
    assert binary_search(np.empty((0, 64), np.float32), none[:0], k=3)[1].shape == (0, 0)


@pytest.mark.parametrize("name", ["k", "oversample"])
@pytest.mark.parametrize("value", [0, -2, 1.5, True])
def test_counts_below_one_are_refused(name: str, value: int) -> None:
    counts = {"k": 1, "oversample": 1} | {name: value}
    with pytest.raises(ConfigError, match=rf"{name} must be an integer >= 1.*got {value}"):
        binary_search(EIGHT, quantise(EIGHT, "binary"), **counts)


def test_documents_of_another_dimension_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"documents .*\(1, 1\); uint8 of shape \(n, 2\)"):
        binary_search(topics(1, 16), quantise(EIGHT, "binary"), k=1)


def test_documents_that_are_not_packed_are_refused() -> None:
    with pytest.raises(ConfigError, match="documents is an array of float32"):
        binary_search(EIGHT, EIGHT, k=1)  # type: ignore[arg-type]


def test_a_query_of_nan_is_refused() -> None:
    with pytest.raises(InvalidVectorsError, match="Embedding 0"):
        binary_search(EIGHT * np.nan, quantise(EIGHT, "binary"), k=1)
