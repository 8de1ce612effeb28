"""Guides: where the supervision of a transform comes from."""

from instruct_embeddings.guides.annotations import (
    Judgement,
    JudgementGuide,
    LabelGuide,
    MetadataGuide,
)
from instruct_embeddings.guides.base import GuideByInstruction
from instruct_embeddings.guides.encoder import EncoderGuide, LabelNamesGuide
from instruct_embeddings.guides.llm import Categories, LabellingReport, LLMGuide

__all__ = [
    "Categories",
    "EncoderGuide",
    "GuideByInstruction",
    "Judgement",
    "JudgementGuide",
    "LLMGuide",
    "LabelGuide",
    "LabelNamesGuide",
    "LabellingReport",
    "MetadataGuide",
]
