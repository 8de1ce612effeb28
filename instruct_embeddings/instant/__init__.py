"""The instant query: answers under an instruction that was never seen, nothing fitted for it."""

from instruct_embeddings.instant.query import InstantQuery
from instruct_embeddings.instant.two_sided import SharedEncoder, TwoSided, TwoSidedEncoder

__all__ = ["InstantQuery", "SharedEncoder", "TwoSided", "TwoSidedEncoder"]
