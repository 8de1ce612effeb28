"""The instant query: answers under an instruction that was never seen, nothing fitted for it."""

from instruct_embeddings._types import UNSET, Unset
from instruct_embeddings.instant.query import InstantQuery
from instruct_embeddings.instant.two_sided import SharedEncoder, TwoSided, TwoSidedEncoder

__all__ = ["UNSET", "InstantQuery", "SharedEncoder", "TwoSided", "TwoSidedEncoder", "Unset"]
