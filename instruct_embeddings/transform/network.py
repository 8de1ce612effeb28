"""Training of GSTransform's encoder-decoder (arXiv 2505.24754, section 3.3)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from instruct_embeddings._types import BoolArray, FloatArray
from instruct_embeddings.transform.transform import VectorEncoder


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


def contrastive_loss(embeddings: Tensor, positive: Tensor, temperature: float) -> Tensor:
    """Supervised contrastive loss (Khosla et al., 2020, equation 2) of unit rows, shape (b, p).

    The mean over the rows that have a positive, shape (b, b), besides themselves; 0 where none has.
    """
    itself = torch.eye(len(embeddings), dtype=torch.bool, device=embeddings.device)
    positive = positive & ~itself
    scores = (embeddings @ embeddings.T / temperature).masked_fill(itself, float("-inf"))  # (b, b)
    logs = scores - scores.logsumexp(1, keepdim=True)
    logs = logs.masked_fill(itself, 0.0)  # -inf * 0 is not a number
    counts = positive.sum(1)
    each = -(logs * positive).sum(1) / counts.clamp(min=1)  # (b,)
    return each[counts > 0].sum() / (counts > 0).sum().clamp(min=1)


def fit_encoder(
    vectors: FloatArray, positive: BoolArray, config: NetworkConfig, seed: int
) -> VectorEncoder:
    """Train encoder and decoder, and keep the encoder, for use without torch.

    On unit rows, shape (n, d), and whether two of them belong together, shape (n, n).
    """
    generator = torch.Generator().manual_seed(seed)
    x, same = torch.from_numpy(vectors), torch.from_numpy(positive)
    encoder = _two_layers(x.shape[1], config.width, config.size, generator)
    decoder = _two_layers(config.size, config.width, x.shape[1], generator)
    optimiser = _Adam([*encoder.parameters(), *decoder.parameters()])
    for step in range(config.steps):
        rows = torch.randperm(len(x), generator=generator)[: config.batch]
        noisy = x[rows] + config.noise * torch.randn(len(rows), x.shape[1], generator=generator)
        z = functional.normalize(encoder(noisy), dim=1)
        loss = contrastive_loss(z, same[rows][:, rows], config.temperature)
        loss = loss + config.reconstruction * (decoder(z) - x[rows]).square().sum(1).mean()
        optimiser.step(loss, config.rate * 0.5 * (1 + math.cos(math.pi * step / config.steps)))
    layers = [layer for layer in encoder if isinstance(layer, nn.Linear)]
    return VectorEncoder(tuple((_numpy(layer.weight), _numpy(layer.bias)) for layer in layers))


class _Adam:
    """Adam (Kingma and Ba, 2015, algorithm 1).

    `torch.optim` would bring torch's compiler along, a second of a first answer that takes two.
    """

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self._parameters = parameters
        self._means = [torch.zeros_like(p) for p in parameters]
        self._squares = [torch.zeros_like(p) for p in parameters]
        self._steps = 0

    def step(self, loss: Tensor, rate: float) -> None:
        self._steps += 1
        gradients = torch.autograd.grad(loss, self._parameters)
        corrections = [1 - beta**self._steps for beta in (0.9, 0.999)]
        with torch.no_grad():
            for parameter, gradient, mean, square in zip(
                self._parameters, gradients, self._means, self._squares, strict=True
            ):
                mean.lerp_(gradient, 0.1)
                square.lerp_(gradient.square(), 0.001)
                scale = (square / corrections[1]).sqrt_().add_(1e-8)
                parameter.sub_(rate / corrections[0] * mean / scale)


def _two_layers(
    inputs: int, hidden: int, outputs: int, generator: torch.Generator
) -> nn.Sequential:
    first, last = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)
    for layer in (first, last):
        bound = layer.in_features**-0.5
        with torch.no_grad():
            for parameter in (layer.weight, layer.bias):
                parameter.uniform_(-bound, bound, generator=generator)
    return nn.Sequential(first, nn.GELU(approximate="tanh"), last)


def _numpy(tensor: Tensor) -> FloatArray:
    return tensor.detach().numpy().copy()
