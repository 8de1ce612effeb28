"""Guides: where the supervision of a transform comes from."""

from instruct_embeddings.guides.by_instruction import GuideByInstruction
from instruct_embeddings.guides.labels import LabelGuide
from instruct_embeddings.guides.metadata import MetadataGuide

__all__ = ["GuideByInstruction", "LabelGuide", "MetadataGuide"]
