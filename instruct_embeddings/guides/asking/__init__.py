"""Asking a language model: any model, in parallel, cached, within a budget."""

from instruct_embeddings.guides.asking.answer import Answer
from instruct_embeddings.guides.asking.asker import Asker
from instruct_embeddings.guides.asking.cost import Cost, estimate
from instruct_embeddings.guides.asking.models import AskedModel, Prompt, TextModel, as_model
from instruct_embeddings.guides.asking.replies import ReplyError, json_array, json_object
from instruct_embeddings.guides.asking.thoughts import spoken

__all__ = [
    "Answer",
    "AskedModel",
    "Asker",
    "Cost",
    "Prompt",
    "ReplyError",
    "TextModel",
    "as_model",
    "estimate",
    "json_array",
    "json_object",
    "spoken",
]
