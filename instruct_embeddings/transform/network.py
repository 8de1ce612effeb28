"""Training of GSTransform's encoder-decoder (arXiv 2505.24754, section 3.3).

In numpy: the matrices are so small that importing torch would take longer than the training, and
a process that only ranks would carry it along for good.
"""

import math
from dataclasses import dataclass

import numpy as np

from instruct_embeddings._types import BoolArray, FloatArray
from instruct_embeddings.transform.transform import VectorEncoder, gelu, gelu_slope


@dataclass(frozen=True)
class NetworkConfig:
    """How the encoder-decoder is trained."""

    width: int = 128  # hidden units of encoder and decoder
    size: int = 64  # dimensions of the new space
    temperature: float = 0.1  # of the contrastive loss
    reconstruction: float = 1.0  # weight of the reconstruction loss
    # Standard deviation of Gaussian noise added to the input. A sample of a thousand vectors is
    # small: without noise the encoder memorises it and ranks held-out rows worse
    # (`make bench-transform` shows both).
    noise: float = 0.03
    batch: int = 256
    steps: int = 40
    rate: float = 8e-3  # highest learning rate; it falls to zero along a cosine


def contrastive_loss(
    embeddings: FloatArray, positive: BoolArray, temperature: float
) -> tuple[float, FloatArray]:
    """Supervised contrastive loss (Khosla et al., 2020, equation 2) of unit rows, shape (b, p).

    The mean over the rows that have a positive, shape (b, b), besides themselves; 0 where none has.
    The gradient, shape (b, p), comes with it.
    """
    wanted = np.array(positive, dtype=np.float32)
    np.fill_diagonal(wanted, 0.0)
    counts = wanted.sum(1, keepdims=True)
    counted = counts > 0
    if not counted.any():
        return 0.0, np.zeros_like(embeddings)
    scores = embeddings @ embeddings.T / np.float32(temperature)  # (b, b)
    np.fill_diagonal(scores, -np.inf)
    scores -= scores.max(axis=1, keepdims=True)
    found = np.exp(scores)
    sums = found.sum(1, keepdims=True)
    found /= sums
    wanted /= np.maximum(counts, 1.0)
    np.fill_diagonal(scores, 0.0)  # -inf * 0 is not a number
    loss = (np.log(sums) - (scores * wanted).sum(1, keepdims=True))[counted].mean()
    slopes = (found - wanted) * counted / np.float32(counted.sum() * temperature)  # (b, b)
    return float(loss), (slopes + slopes.T) @ embeddings


def fit_encoder(
    vectors: FloatArray, positive: BoolArray, config: NetworkConfig, seed: int
) -> VectorEncoder:
    """Train encoder and decoder, and keep the encoder.

    On unit rows, shape (n, d), and whether two of them belong together, shape (n, n).
    """
    rng, dimension = np.random.default_rng(seed), vectors.shape[1]
    parameters = [
        *_two_layers(dimension, config.width, config.size, rng),
        *_two_layers(config.size, config.width, dimension, rng),
    ]
    optimiser = _Adam(parameters)
    for step in range(config.steps):
        rows = rng.permutation(len(vectors))[: config.batch]
        x = vectors[rows]
        noise = rng.standard_normal(x.shape, dtype=np.float32)
        noisy = x + np.float32(config.noise) * noise
        slopes = _gradients(parameters, noisy, x, positive[np.ix_(rows, rows)], config)
        optimiser.step(slopes, config.rate * 0.5 * (1 + math.cos(math.pi * step / config.steps)))
    return VectorEncoder(((parameters[0], parameters[1]), (parameters[2], parameters[3])))


def _gradients(
    parameters: list[FloatArray],
    noisy: FloatArray,
    x: FloatArray,
    same: BoolArray,
    config: NetworkConfig,
) -> list[FloatArray]:
    """Gradients of both losses by each parameter, for a batch of shape (b, d)."""
    encoder, decoder = parameters[:4], parameters[4:]
    hidden, activated, raw = _forward(encoder, noisy)
    length = np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), np.float32(1e-12))
    z = raw / length
    inner, bent, made = _forward(decoder, z)
    error = np.float32(2 * config.reconstruction / len(x)) * (made - x)
    of_decoder, by_z = _backward(decoder, z, inner, bent, error)
    by_z += contrastive_loss(z, same, config.temperature)[1]
    by_raw = (by_z - z * (z * by_z).sum(1, keepdims=True)) / length
    of_encoder, _ = _backward(encoder, noisy, hidden, activated, by_raw)
    return [*of_encoder, *of_decoder]


def _forward(layers: list[FloatArray], x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Before and after the units, and the output."""
    first, bias, second, last = layers
    hidden = x @ first.T + bias
    activated = gelu(hidden)
    return hidden, activated, activated @ second.T + last


def _backward(
    layers: list[FloatArray],
    x: FloatArray,
    hidden: FloatArray,
    activated: FloatArray,
    slopes: FloatArray,
) -> tuple[list[FloatArray], FloatArray]:
    """Gradients of two layers and of their input, from those of their output, shape (b, out)."""
    before = (slopes @ layers[2]) * gelu_slope(hidden)
    own = [before.T @ x, before.sum(0), slopes.T @ activated, slopes.sum(0)]
    return own, np.asarray(before @ layers[0], dtype=np.float32)


class _Adam:
    """Adam (Kingma and Ba, 2015, algorithm 1), in place."""

    def __init__(self, parameters: list[FloatArray]) -> None:
        self._parameters = parameters
        self._means = [np.zeros_like(p) for p in parameters]
        self._squares = [np.zeros_like(p) for p in parameters]
        self._steps = 0

    def step(self, gradients: list[FloatArray], rate: float) -> None:
        self._steps += 1
        first, second = (1 - beta**self._steps for beta in (0.9, 0.999))
        for parameter, gradient, mean, square in zip(
            self._parameters, gradients, self._means, self._squares, strict=True
        ):
            mean += np.float32(0.1) * (gradient - mean)
            square += np.float32(0.001) * (gradient * gradient - square)
            scale = np.sqrt(square * np.float32(1 / second)) + np.float32(1e-8)
            parameter -= np.float32(rate / first) * mean / scale


def _two_layers(
    inputs: int, hidden: int, outputs: int, rng: np.random.Generator
) -> list[FloatArray]:
    """Weights and bias of two layers, uniform within the inverse root of their inputs."""

    def drawn(size: int, *shape: int) -> FloatArray:
        return rng.uniform(-(size**-0.5), size**-0.5, shape).astype(np.float32)

    first = [drawn(inputs, hidden, inputs), drawn(inputs, hidden)]
    return [*first, drawn(hidden, outputs, hidden), drawn(hidden, outputs)]
