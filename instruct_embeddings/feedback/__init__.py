"""Relevance feedback: a judge reads the best candidates, and the query vector learns from it."""

from instruct_embeddings.feedback.chat import ChatJudge
from instruct_embeddings.feedback.encoder import EncoderJudge
from instruct_embeddings.feedback.form import QueryForm
from instruct_embeddings.feedback.judges import CrossEncoderJudge, FunctionJudge, as_judge
from instruct_embeddings.feedback.memory import JudgementMemory
from instruct_embeddings.feedback.ranked import scores_of_ranked

__all__ = [
    "ChatJudge",
    "CrossEncoderJudge",
    "EncoderJudge",
    "FunctionJudge",
    "JudgementMemory",
    "QueryForm",
    "as_judge",
    "scores_of_ranked",
]
