"""Texts with a colour, and a model that sees it."""

from collections.abc import Callable
from functools import partial

import pytest

from instruct_embeddings.guides.base import Embed
from instruct_embeddings.guides.chat import ChatClient
from instruct_embeddings.guides.llm.categories import Categories
from instruct_embeddings.guides.llm.steps import Labelling
from instruct_embeddings.testing import TinyEncoder
from tests.scripted_llm import ScriptedModel, colour_of

COLOUR = "What colour is it?"
EMBED = TinyEncoder().encode


@pytest.fixture
def model() -> ScriptedModel:
    """Knows colours."""
    return ScriptedModel(colour_of)


def things(count: int) -> list[str]:
    """Different texts: red, green and blue things in turn."""
    return [f"a {('red', 'green', 'blue')[i % 3]} thing, number {i}" for i in range(count)]


def start(
    model: Callable[[str], str],
    per_call: int = 4,
    *,
    categories: Categories | None = None,
    embed: Embed = EMBED,
) -> Labelling:
    """A labelling by colour, one call at a time."""
    client = partial(ChatClient, model, concurrency=1, retries=0)
    return Labelling(COLOUR, categories, embed, client, per_call, seed=0)
