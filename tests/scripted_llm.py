"""A language model that answers the prompts of `LLMGuide` by a rule."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from tests.llm_server import Call

_TEXT = re.compile(r"<text (\d+) ([0-9a-f]{8})>\n(.*?)\n</text \1 \2>", re.DOTALL)
_CATEGORIES = re.compile(r"<categories ([0-9a-f]{8})>\n(.*?)\n</categories \1>", re.DOTALL)
_CATEGORY = re.compile(r"^(\d+)\. (.*)$", re.MULTILINE)
STEPS = {
    '"1": "summary"': "summarise",
    '"numbers"': "merge",
    '"description"': "name",
    '"1": 2': "label",
}


def step_of(prompt: str) -> str:
    """The step that a prompt belongs to."""
    return next(step for sign, step in STEPS.items() if sign in prompt)


def texts_of(prompt: str) -> list[str]:
    """The texts between the marks of a prompt, whose numbers must be 1, 2, ..."""
    found = _TEXT.findall(prompt)
    assert [int(number) for number, _, _ in found] == list(range(1, len(found) + 1))
    assert len({key for _, key, _ in found}) == 1
    return [text for _, _, text in found]


def categories_of(prompt: str) -> dict[int, str]:
    """The numbered categories of a prompt for labels."""
    [(_, block)] = _CATEGORIES.findall(prompt)
    return {int(number): line for number, line in _CATEGORY.findall(block)}


@dataclass
class ScriptedModel:
    """Knows the answer of each text to the question, by a rule, and does as it is told.

    Summaries are "it is red". A cluster of summaries gives a category for each answer in it, named
    "red" or, where the cluster holds several, "red things", so that there is something to merge.

    Attributes:
        answer: The answer of a text, one word, or None where it says nothing.
        prompts: Every prompt so far.
    """

    answer: Callable[[str], str | None]
    prompts: list[str] = field(default_factory=list)
    _lock: Any = field(default_factory=Lock)

    def __call__(self, prompt: str) -> str:
        with self._lock:
            self.prompts.append(prompt)
        reply = getattr(self, f"_{step_of(prompt)}")(prompt, texts_of(prompt))
        reply = {"categories": reply} if isinstance(reply, list) else reply
        return f"Here it is:\n```json\n{json.dumps(reply)}\n```"

    def serve(self, call: Call) -> str:
        """The same as the script of a server."""
        return self(f"{call.system}\n\n{call.user}")

    def asked(self, step: str) -> list[str]:
        """The prompts of one step."""
        return [prompt for prompt in self.prompts if step_of(prompt) == step]

    def _summarise(self, prompt: str, texts: list[str]) -> object:
        answers = [self.answer(text) for text in texts]
        return {str(n): a and f"it is {a}" for n, a in enumerate(answers, start=1)}

    def _name(self, prompt: str, texts: list[str]) -> object:
        answers = sorted({text.split()[-1] for text in texts})[:3]
        ending = " things" if len(answers) > 1 else ""
        return [{"name": a + ending, "description": f"All that is {a}."} for a in answers]

    def _merge(self, prompt: str, texts: list[str]) -> object:
        groups: dict[str, list[int]] = {}
        for number, text in enumerate(texts, start=1):
            groups.setdefault(re.split(r"\W", text)[0], []).append(number)
        return [
            {"name": name, "description": f"All that is {name}.", "numbers": numbers}
            for name, numbers in sorted(groups.items())
        ]

    def _label(self, prompt: str, texts: list[str]) -> object:
        numbers = {re.split(r"\W", line)[0]: n for n, line in categories_of(prompt).items()}
        answers = [self.answer(text) or "" for text in texts]
        return {str(n): numbers.get(a, 0) for n, a in enumerate(answers, start=1)}


def colour_of(text: str) -> str | None:
    """The first colour that a text names."""
    return next((word for word in text.split() if word in ("red", "green", "blue")), None)
