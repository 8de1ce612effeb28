"""Losses of the instant query: pure functions on moves, queries and frozen documents.

Shapes: b queries, n documents, c names of labels, d dimensions.
"""

from torch import Tensor
from torch.nn import functional


def folded(vectors: Tensor, moves: Tensor) -> Tensor:
    """Unit queries `unit(v + move)`, shapes (b, d) and (b, d) to (b, d)."""
    return functional.normalize(vectors + moves, dim=1)


def logits(queries: Tensor, documents: Tensor, allowed: Tensor, temperature: float) -> Tensor:
    """Cosines by the temperature; minus infinity, nearly, where a document is not allowed.

    Args:
        queries: Unit rows, shape (b, d).
        documents: Unit rows, shape (n, d).
        allowed: bool, shape (b, n).
        temperature: Divides the cosines.

    Returns:
        Shape (b, n).
    """
    return (queries @ documents.T / temperature).masked_fill(~allowed, -1e9)


def any_relevant(scores: Tensor, relevant: Tensor) -> Tensor:
    """Minus the log probability that a draw by the scores is relevant, shape (b, n) to (b,).

    It is low as soon as some relevant documents come first, the nearest of them, so that a query is
    not pulled to the middle of a large class (SupCon's "in" form, Khosla et al., 2020).
    """
    hit = scores.masked_fill(~relevant, -1e9).logsumexp(1)
    return scores.logsumexp(1) - hit


def all_relevant(scores: Tensor, relevant: Tensor) -> Tensor:
    """Mean over the relevant of minus their log probability, shape (b, n) to (b,) ("out" form)."""
    losses = scores.logsumexp(1, keepdim=True) - scores
    return losses.masked_fill(~relevant, 0).sum(1) / relevant.sum(1).clamp(min=1)


def kept(scores: Tensor, generic: Tensor) -> Tensor:
    """Divergence of the ranking from the generic one, KL(generic || moved), shape (b, n) to (b,).

    Args:
        scores: Of the folded queries.
        generic: Of the generic queries, at the same temperature.
    """
    wanted = generic.softmax(1)
    apart = wanted * (generic.log_softmax(1) - scores.log_softmax(1))
    return apart.sum(1)


def named(moves: Tensor, words: Tensor, word: Tensor, temperature: float) -> Tensor:
    """Cross entropy of the label that a move points to, shape (b,).

    The names of labels, as the generic model embeds them, are what lets a move generalise to
    aspects that were never trained: what they share is taken out.

    Args:
        moves: Shape (b, d).
        words: Generic vectors of the names, shape (c, d).
        word: Label of each query, shape (b,).
        temperature: Divides the cosines.
    """
    apart = functional.normalize(words - words.mean(0), dim=1)
    cosines = functional.normalize(moves, dim=1) @ apart.T
    return functional.cross_entropy(cosines / temperature, word, reduction="none")
