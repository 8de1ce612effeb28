"""What several guides need: digests for their keys, and vectors from the user's embedder."""

import json
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, TypeAlias

import numpy as np

from instruct_embeddings._redaction import safe_message
from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import GuideError, InstructEmbeddingsError

Embed: TypeAlias = Callable[[Sequence[str]], Any]
"""Embeds n texts, shape (n, d)."""


def digest(parts: object) -> str:
    """Hexadecimal digest of plain data, part of the keys of guides."""
    return sha256(json.dumps(parts).encode()).hexdigest()[:16]


def embed_all(embed: Embed, texts: Sequence[str], dimension: int | None = None) -> FloatArray:
    """Vectors of texts as float32, shape (n, d), where d is `dimension` if that is given.

    Raises:
        GuideError: The embedder failed or returned something else. Its own exception, which may
            show credentials, is quoted without them and is not chained.
    """
    try:
        vectors = np.asarray(embed(texts), dtype=np.float32)
    except InstructEmbeddingsError:
        raise
    except Exception as exc:
        problem = safe_message(exc)
    else:
        shape = (len(texts), vectors.shape[-1] if vectors.ndim and dimension is None else dimension)
        if vectors.shape == shape and np.isfinite(vectors).all():
            return vectors
        problem = f"it returned shape {vectors.shape} or numbers that are not finite"
    raise GuideError(
        f"embed() failed on {len(texts)} texts: {problem}. It has to return one vector of "
        f"numbers for each text, shape ({len(texts)}, {dimension or 'd'}). Try it on one text, and "
        "pass the function that embeds texts for this collection."
    )
