"""Encoders: texts in, unit vectors out."""

from instruct_embeddings.encoder.generic import DEFAULT_MODEL, GenericEncoder

__all__ = ["DEFAULT_MODEL", "GenericEncoder"]
