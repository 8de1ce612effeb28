"""Texts with a colour, and a model that sees it."""

from collections.abc import Callable
from typing import Any

import pytest

from instruct_embeddings.guides.asking import Asker
from instruct_embeddings.guides.llm.run import Progress, Run
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


def start(model: Callable[[str], str], **options: Any) -> Run:
    """A run that asks a model, one call at a time."""
    return Run(Asker(model, concurrency=1, retries=0, **options), Progress(0, None))
