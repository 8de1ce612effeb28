"""Embedders that are given to guides: somebody else's code, perhaps somebody else's server."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from instruct_embeddings._redaction import said
from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import GuideError, InstructEmbeddingsError


def embed_all(embed: Callable[[Sequence[str]], Any], texts: Sequence[str]) -> FloatArray:
    """What an embedder makes of texts, as float32 of whatever shape.

    Raises:
        GuideError: It failed, or what it gave are no numbers. What it said is told without
            credentials, and its own error is not chained, as tracebacks show all of it.
    """
    try:
        return np.asarray(embed(texts), dtype=np.float32)
    except InstructEmbeddingsError:
        raise
    except Exception as exc:
        problem = said(exc)
    raise GuideError(
        f"embed() failed on {len(texts)} texts: {problem}. It has to return one vector of numbers "
        "for each text, shape (n, d). Try it on one text by hand."
    )
