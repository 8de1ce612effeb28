"""Retrieval under an instruction, over any collection of vectors."""

from instruct_embeddings.retrieval.drift import Drift
from instruct_embeddings.retrieval.feedback import JudgeCounts, RelevanceFeedback
from instruct_embeddings.retrieval.fitting import FitEvent, OnFit
from instruct_embeddings.retrieval.questions import Questions, Relevant
from instruct_embeddings.retrieval.ranking import Hit
from instruct_embeddings.retrieval.retriever import InstructRetriever
from instruct_embeddings.retrieval.reuse import Reuse
from instruct_embeddings.retrieval.sampling import sample_rows

__all__ = [
    "Drift",
    "FitEvent",
    "Hit",
    "InstructRetriever",
    "JudgeCounts",
    "OnFit",
    "Questions",
    "RelevanceFeedback",
    "Relevant",
    "Reuse",
    "sample_rows",
]
