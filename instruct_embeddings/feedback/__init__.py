"""Relevance feedback: a judge reads the best candidates, and the query vector learns from it."""

from instruct_embeddings.feedback.encoder import EncoderJudge
from instruct_embeddings.feedback.judges import CrossEncoderJudge, FunctionJudge, as_judge

__all__ = ["CrossEncoderJudge", "EncoderJudge", "FunctionJudge", "as_judge"]
