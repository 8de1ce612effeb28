"""Encoders: texts in, embeddings out."""

from instruct_embeddings.encoder.encoder import InstructEncoder
from instruct_embeddings.encoder.fingerprint import EmbeddingRecord
from instruct_embeddings.encoder.hub import DEFAULT_MODEL
from instruct_embeddings.encoder.options import EncoderArguments, EncoderOptions

__all__ = [
    "DEFAULT_MODEL",
    "EmbeddingRecord",
    "EncoderArguments",
    "EncoderOptions",
    "InstructEncoder",
]
