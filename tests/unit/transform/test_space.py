import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings._types import FloatArray
from instruct_embeddings.transform.transform import Classifier, SpaceTransform, VectorEncoder, gelu
from instruct_embeddings.transform.vectors import unit_rows
from tests.unit.conftest import small_rows

ROWS = small_rows(4, 3).map(unit_rows)
WEIGHTS = st.sampled_from([0.0, 0.3, 1.0])


def space(weight: float) -> SpaceTransform:
    """Two layers, 3 -> 4 -> 2, beside a classifier of three labels."""
    rng = np.random.default_rng(0)
    first, last, labels = (
        rng.standard_normal(s).astype(np.float32) for s in [(4, 3), (2, 4), (3, 3)]
    )
    encoder = VectorEncoder(((first, np.ones(4, np.float32)), (last, np.ones(2, np.float32))))
    return SpaceTransform(encoder, Classifier(3 * labels, labels[0]), weight)


def test_a_single_layer_is_a_linear_map_scaled_to_unit_length() -> None:
    layer = np.array([[1, 0], [0, 2]], np.float32), np.array([2, 0], np.float32)
    encoded = VectorEncoder((layer,)).encode(np.array([[1, 0], [0, 1]], np.float32))
    # (1 + 2, 0) and (0 + 2, 2)
    np.testing.assert_allclose(encoded, [[1, 0], [0.5**0.5, 0.5**0.5]], atol=1e-6)


def test_the_hidden_layer_goes_through_gelu() -> None:
    identity = np.eye(2, dtype=np.float32), np.zeros(2, np.float32)
    encoded = VectorEncoder((identity, identity)).encode(np.array([[3, -1]], np.float32))
    hidden = torch.nn.functional.gelu(torch.tensor([[3.0, -1.0]]), approximate="tanh")
    np.testing.assert_allclose(encoded, unit_rows(hidden.numpy()), atol=1e-6)


def test_gelu_is_that_of_torch() -> None:
    values = np.linspace(-6, 6, 101, dtype=np.float32)
    expected = torch.nn.functional.gelu(torch.from_numpy(values), approximate="tanh")
    np.testing.assert_allclose(gelu(values), expected.numpy(), atol=1e-6)
    assert gelu(np.array([0.0], np.float32)) == 0


def test_without_labels_the_score_is_the_cosine_of_the_encoded_vectors() -> None:
    turn = np.array([[0, 1], [1, 0]], np.float32), np.zeros(2, np.float32)
    scores = SpaceTransform(VectorEncoder((turn,)), None, 0.0).score(
        np.array([[1, 0]], np.float32), np.array([[0.6, 0.8], [-1, 0]], np.float32)
    )
    np.testing.assert_allclose(scores, [[0.6, -1]], atol=1e-6)


def test_certain_labels_count_fully_and_even_ones_by_half() -> None:
    """Label 0 for the query; certain, excluded and even for the documents."""
    nothing = np.zeros((1, 2), np.float32), np.ones(1, np.float32)
    labels = Classifier(np.array([[40, 0], [-40, 0]], np.float32), np.zeros(2, np.float32))
    documents = np.array([[1, 0], [-1, 0], [0, 1]], np.float32)
    scores = SpaceTransform(VectorEncoder((nothing,)), labels, 0.5).score(documents[:1], documents)
    # Half of the cosine of constants, which is 1, and half of 1, 0 and 1/2.
    np.testing.assert_allclose(scores, [[1, 0.5, 0.75]], atol=1e-6)


@given(queries=ROWS, documents=ROWS, weight=WEIGHTS)
def test_the_score_is_the_formula_of_the_docstring(
    queries: FloatArray, documents: FloatArray, weight: float
) -> None:
    transform = space(weight)
    assert transform.classifier is not None
    for q, row in zip(queries, transform.score(queries, documents), strict=True):
        for x, score in zip(documents, row, strict=True):
            f_q, f_x = (transform.encoder.encode(v[None])[0] for v in (q, x))
            p_q, p_x = (transform.classifier.probabilities(v[None])[0] for v in (q, x))
            cosine = f_q @ f_x / np.linalg.norm(f_q) / np.linalg.norm(f_x)
            same = sum(a * b for a, b in zip(p_q, p_x, strict=True))
            assert abs(score - ((1 - weight) * cosine + weight * same)) < 1e-5


@given(vectors=ROWS, weight=WEIGHTS)
def test_scores_are_similarities_and_symmetric(vectors: FloatArray, weight: float) -> None:
    scores = space(weight).score(vectors, vectors)
    assert np.abs(scores).max() <= 1 + 1e-5
    np.testing.assert_allclose(scores, scores.T, atol=1e-5)
