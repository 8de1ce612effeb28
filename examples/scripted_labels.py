"""Answers the four questions of `LLMGuide` by keywords, without a language model.

It stands in where no model is configured, so that the notebook runs offline. A real model reads
the texts; this one looks for a few words in them, and misses what is said in other words.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_TEXT = re.compile(r"<text (\d+) (\w+)>\n(.*?)\n</text \1 \2>", re.DOTALL)
_CATEGORY = re.compile(r"^(\d+)\. ([^:\n]*)", re.MULTILINE)


@dataclass(frozen=True)
class KeywordModel:
    """A callable that reads the prompts of `LLMGuide` and does as they say, by keywords.

    Attributes:
        rules: Category to a pattern of the words that give it away; the first that fits counts.
        model_name: What the guide calls it, in keys and caches.
    """

    rules: Mapping[str, str]
    model_name: str = "keywords"

    def __call__(self, prompt: str) -> str:
        """The reply to one prompt, as JSON."""
        texts = [text for _, _, text in _TEXT.findall(prompt)]
        # The form of the reply tells which of the four steps it is.
        if '"numbers"' in prompt:
            return json.dumps({"categories": self._merged(texts)})
        if '"description"' in prompt:
            return json.dumps({"categories": self._named(texts)})
        answers = [self._category(text) for text in texts]
        if '"1": 2' in prompt:
            numbers = {name: int(number) for number, name in _CATEGORY.findall(prompt)}
            return _numbered([numbers.get(answer or "", 0) for answer in answers])
        return _numbered([answer and f"it is {answer}" for answer in answers])

    def _category(self, text: str) -> str | None:
        fitting = (name for name, words in self.rules.items() if re.search(words, text, re.I))
        return next(fitting, None)

    def _named(self, summaries: list[str]) -> list[dict[str, Any]]:
        names = sorted({text.removeprefix("it is ") for text in summaries})
        return [{"name": name, "description": f"It is a case of {name}."} for name in names[:3]]

    def _merged(self, candidates: list[str]) -> list[dict[str, Any]]:
        groups: dict[str, list[int]] = {}
        for number, line in enumerate(candidates, start=1):
            groups.setdefault(line.partition(":")[0], []).append(number)
        return [
            {"name": name, "description": f"It is a case of {name}.", "numbers": numbers}
            for name, numbers in groups.items()
        ]


def _numbered(values: list[Any]) -> str:
    return json.dumps({str(number): value for number, value in enumerate(values, start=1)})
