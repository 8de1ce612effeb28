"""What is asked on the page, read from its fields."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from instruct_embeddings.cli.evaluate import JudgedQuestions, read_questions
from instruct_embeddings.config import check_instructions
from instruct_embeddings.errors import ConfigError, DataError
from instruct_embeddings.filters import parse_where

_LINE = "it ate my photos | ticket-17, ticket-3"
_FILTER = 'area = billing, one a line, or JSON such as {"year": {"$gte": 2020}}'
_TABLES = (".jsonl", ".ndjson", ".csv", ".tsv")


@dataclass(frozen=True)
class Asked:
    """One question, under no, one or two instructions whose weights add up to 1."""

    query: str
    weights: Mapping[str, float] = field(default_factory=dict)
    where: dict[str, Any] | None = None
    k: int = 10
    blend: float = 1.0
    judged: bool = False

    @classmethod
    def of(
        cls,
        query: str,
        first: str,
        second: str,
        share: float,
        where: str,
        k: float,
        blend: float,
        judged: bool,
    ) -> "Asked":
        """What the fields of the page say; `share` is the weight of the second instruction.

        Raises:
            ConfigError: The query is empty, or an instruction or the filter is malformed.
        """
        if not query.strip():
            raise ConfigError(
                f"There is nothing to look for: the query is {query!r:.60}. Any text is allowed. "
                "Write what you look for, such as: it ate my photos"
            )
        given = {first.strip(): 1.0 - share, second.strip(): share}
        texts = {text: weight for text, weight in given.items() if text}
        alone = dict.fromkeys(texts, 1.0) if len(texts) == 1 else texts
        weights = check_instructions(alone) if alone else {}
        return cls(query, weights, read_where(where), int(k), float(blend), judged)

    @property
    def instruction(self) -> str | dict[str, float] | None:
        """As the retrievers take it."""
        return next(iter(self.weights), None) if len(self.weights) < 2 else dict(self.weights)


def read_where(text: str) -> dict[str, Any] | None:
    """A filter on metadata, written as JSON or as lines of `key = value`; None where there is none.

    Raises:
        ConfigError: It is malformed.
    """
    text = text.strip()
    if not text:
        return None
    try:
        found = json.loads(text) if text.startswith("{") else dict(map(_pair, text.splitlines()))
    except ValueError as exc:
        raise ConfigError(
            f"The filter cannot be read ({exc}), got {text!r:.200}. A filter is {_FILTER}. "
            "Correct it, or leave it empty."
        ) from exc
    parse_where(found)
    return dict(found) or None


def _pair(line: str) -> tuple[str, Any]:
    key, equals, value = (part.strip() for part in line.partition("="))
    if not (key and equals and value):
        raise ValueError(f"no key = value in {line!r:.60}")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def read_pasted(text: str) -> JudgedQuestions:
    """Judged questions, one a line: the question, `|` or a tab, and the ids that answer it.

    Raises:
        DataError: A line is something else, or there is none.
    """
    found = JudgedQuestions()
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        question, _, answers = line.replace("\t", "|").rpartition("|")
        ids = [one.strip() for one in answers.split(",") if one.strip()]
        if not question.strip() or not ids:
            raise DataError(
                f"Line {number} is {line!r:.100}. Each line is a question, a | and the ids of the "
                f"rows that answer it, such as: {_LINE}. Correct it."
            )
        found.texts[str(number)] = question.strip()
        found.grades[str(number)] = dict.fromkeys(ids, 1.0)
    if not found.texts:
        raise DataError(
            f"No question is there, got {text!r:.60}. At least one line is needed, such as: "
            f"{_LINE}. Paste some, or upload a file."
        )
    return found


def read_uploaded(file: Path) -> JudgedQuestions:
    """Judged questions of a file: JSONL or CSV as for `evaluate`, or lines as they are pasted."""
    if file.suffix.lower() in _TABLES:
        return read_questions(file)
    return read_pasted(file.read_text(encoding="utf-8-sig", errors="replace"))
