"""Calling chat models: any model, in parallel, with retries, cached, within a budget."""

from instruct_embeddings.guides.chat.client import Answer, ChatClient
from instruct_embeddings.guides.chat.costs import Cost, estimate
from instruct_embeddings.guides.chat.models import ChatModel, Prompt, as_model
from instruct_embeddings.guides.chat.replies import (
    ReplyError,
    json_object,
    without_thoughts,
)

__all__ = [
    "Answer",
    "ChatClient",
    "ChatModel",
    "Cost",
    "Prompt",
    "ReplyError",
    "as_model",
    "estimate",
    "json_object",
    "without_thoughts",
]
