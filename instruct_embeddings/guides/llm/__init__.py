"""Labels from a language model: GSTransform's label construction."""

from instruct_embeddings.guides.llm.categories import Categories
from instruct_embeddings.guides.llm.guide import LLMGuide
from instruct_embeddings.guides.llm.report import LabellingReport

__all__ = ["Categories", "LLMGuide", "LabellingReport"]
