"""Labels from a language model: GSTransform's label construction."""

from instruct_embeddings.guides.llm.categories import Categories, LabellingReport
from instruct_embeddings.guides.llm.guide import LLMGuide

__all__ = ["Categories", "LLMGuide", "LabellingReport"]
