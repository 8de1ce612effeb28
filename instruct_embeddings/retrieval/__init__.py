"""Retrieval under an instruction, over any collection of vectors."""

from instruct_embeddings.retrieval.drift import Drift
from instruct_embeddings.retrieval.hits import Hit
from instruct_embeddings.retrieval.progress import FitEvent
from instruct_embeddings.retrieval.questions import Questions
from instruct_embeddings.retrieval.retriever import InstructRetriever
from instruct_embeddings.retrieval.reuse import Reuse
from instruct_embeddings.retrieval.sampling import sample_rows

__all__ = [
    "Drift",
    "FitEvent",
    "Hit",
    "InstructRetriever",
    "Questions",
    "Reuse",
    "sample_rows",
]
