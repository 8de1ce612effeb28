"""Encoders: texts in, embeddings out."""

from instruct_embeddings.encoder.encoder import (
    DEFAULT_SHARE,
    Embeddings,
    InstructEncoder,
    check_texts,
)
from instruct_embeddings.encoder.files import BASE_MODEL, DEFAULT_MODEL, folder_digest
from instruct_embeddings.encoder.fingerprint import EmbeddingRecord
from instruct_embeddings.encoder.options import EncoderArguments, EncoderOptions, option_fields

__all__ = [
    "BASE_MODEL",
    "DEFAULT_MODEL",
    "DEFAULT_SHARE",
    "EmbeddingRecord",
    "Embeddings",
    "EncoderArguments",
    "EncoderOptions",
    "InstructEncoder",
    "check_texts",
    "folder_digest",
    "option_fields",
]
