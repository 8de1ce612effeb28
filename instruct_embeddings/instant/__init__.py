"""The instant query: answers under an instruction that was never seen, nothing fitted for it."""

from instruct_embeddings.instant.query import InstantQuery

__all__ = ["InstantQuery"]
