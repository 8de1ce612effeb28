"""Texts to encode: short, long and very long ones, and texts of an exact number of tokens."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import mean, median
from typing import Any

from tokenizers import Tokenizer

# Not from `corpora`: what that imports would count as memory of every contestant.
TICKETS = Path("examples/data/tickets.jsonl")
INSTRUCTIONS = (
    "Which part of the product is it about?",
    "What kind of problem is reported?",
    "How does the customer sound?",
    "How urgent is it?",
    "What does the writer want to be done?",
    "Which field of science or daily life is it from?",
    "Who could answer this?",
    "What role does the described thing play?",
)
_QUICK_SHARE = 100


@dataclass(frozen=True)
class TextSet:
    """Texts of one kind of length.

    Attributes:
        name: "short", "long" or "very long".
        origin: Where they are from.
        texts: The texts.
    """

    name: str
    origin: str
    texts: tuple[str, ...]

    def first(self, count: int) -> "TextSet":
        """The same with at most so many texts."""
        return TextSet(self.name, self.origin, self.texts[:count])


def read_sets(data: Path | None, quick: bool) -> list[TextSet]:
    """The three sets, from a data folder or from the shipped tickets."""
    sets = list(_tickets() if data is None else _dev(data / "dev"))
    return [s.first(max(8, len(s.texts) // _QUICK_SHARE)) for s in sets] if quick else sets


def _dev(folder: Path) -> Iterator[TextSet]:
    yield TextSet("short", "massive_en", _texts(folder / "massive_en.jsonl", 3000))
    yield TextSet("long", "debian_packages", _texts(folder / "debian_packages.jsonl", 600))
    yield TextSet("very long", "scifact", _texts(folder / "scifact" / "corpus.jsonl", 300))


def _texts(file: Path, count: int) -> tuple[str, ...]:
    if not file.is_file():
        raise SystemExit(f"{file} is missing: pass the folder that holds dev/ with --data.")
    with file.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in islice(lines, count)]
    return tuple(" ".join(filter(None, (row.get("title"), row["text"]))) for row in rows)


def _tickets() -> Iterator[TextSet]:
    """Sentences of the tickets, and tickets in rows of one to three and of seven."""
    lines = TICKETS.read_text(encoding="utf-8").splitlines()
    tickets = [json.loads(line)["text"] for line in lines]
    sentences = [part for ticket in tickets for part in re.split(r"(?<=[.!?]) ", ticket)]
    origin = "shipped tickets"
    yield TextSet("short", origin, tuple(_joined(sentences, i, 1) for i in range(3000)))
    yield TextSet("long", origin, tuple(_joined(tickets, i, 1 + i % 3) for i in range(600)))
    yield TextSet("very long", origin, tuple(_joined(tickets, i, 7) for i in range(300)))


def _joined(parts: list[str], start: int, count: int) -> str:
    # A stride prime to both numbers of parts, so that joined texts do not repeat each other.
    return " ".join(parts[(start + 101 * step) % len(parts)] for step in range(count))


def token_statistics(model: Path, texts: tuple[str, ...], limit: int | None) -> dict[str, Any]:
    """Numbers of tokens before truncation, and the share of texts that a limit cuts."""
    lengths = [len(row.ids) for row in _tokenizer(model).encode_batch(list(texts))]
    return {
        "texts": len(texts),
        "mean": round(mean(lengths), 1),
        "median": median(lengths),
        "max": max(lengths),
        "limit": limit,
        "share cut": round(mean(limit is not None and n > limit for n in lengths), 3),
    }


def texts_of_exactly(tokens: int, count: int, model: Path, source: tuple[str, ...]) -> TextSet:
    """Stretches of running text that the model's tokenizer splits into exactly so many tokens."""
    tokenizer = _tokenizer(model)
    ids = tokenizer.encode(" ".join(source)).ids
    found: list[str] = []
    for start in range(0, len(ids) - tokens, max(1, tokens // 4)):
        text = tokenizer.decode(ids[start : start + tokens], skip_special_tokens=False)
        # Cut amid a character, a stretch is read back as other tokens.
        if len(tokenizer.encode(text).ids) == tokens:
            found.append(text)
        if len(found) == count:
            return TextSet(f"{tokens}-token", "cut from the long texts", tuple(found))
    raise SystemExit(f"The texts give {len(found)} stretches of {tokens} tokens, {count} wanted.")


def _tokenizer(model: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
