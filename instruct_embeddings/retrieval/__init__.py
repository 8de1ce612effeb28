"""Retrieval under an instruction, over any collection of vectors."""

from instruct_embeddings.retrieval.hits import Hit
from instruct_embeddings.retrieval.retriever import InstructRetriever
from instruct_embeddings.retrieval.sampling import sample_rows

__all__ = ["Hit", "InstructRetriever", "sample_rows"]
