"""Encoders: texts in, embeddings out."""

from instruct_embeddings.encoder.encoder import InstructEncoder
from instruct_embeddings.encoder.files import BASE_MODEL, DEFAULT_MODEL
from instruct_embeddings.encoder.fingerprint import EmbeddingRecord
from instruct_embeddings.encoder.options import EncoderArguments, EncoderOptions

__all__ = [
    "BASE_MODEL",
    "DEFAULT_MODEL",
    "EmbeddingRecord",
    "EncoderArguments",
    "EncoderOptions",
    "InstructEncoder",
]
