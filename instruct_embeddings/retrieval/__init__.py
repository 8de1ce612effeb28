"""Retrieval under an instruction, over any collection of vectors."""

from instruct_embeddings.retrieval.carrying import carry_over
from instruct_embeddings.retrieval.drift import Drift
from instruct_embeddings.retrieval.feedback import JudgeCounts, JudgeQuestion, RelevanceFeedback
from instruct_embeddings.retrieval.fitting import FitEvent, OnFit
from instruct_embeddings.retrieval.judging import AskJudge, JudgeWatcher, judge_watched
from instruct_embeddings.retrieval.questions import Questions, Relevant
from instruct_embeddings.retrieval.ranking import Hit
from instruct_embeddings.retrieval.retriever import InstructRetriever
from instruct_embeddings.retrieval.reuse import Reuse
from instruct_embeddings.retrieval.sampling import sample_rows

__all__ = [
    "AskJudge",
    "Drift",
    "FitEvent",
    "Hit",
    "InstructRetriever",
    "JudgeCounts",
    "JudgeQuestion",
    "JudgeWatcher",
    "OnFit",
    "Questions",
    "RelevanceFeedback",
    "Relevant",
    "Reuse",
    "carry_over",
    "judge_watched",
    "sample_rows",
]
