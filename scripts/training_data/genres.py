"""Texts of many kinds in one set."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from scripts.training_data.sets import fewrel_text, plain, task
from scripts.training_data.source import Row, Source

PER_KIND = 600


class Genre(NamedTuple):
    """A kind of text: its set and part of it, and the labels, empty where there is no telling."""

    name: str
    part: str
    genre: str
    author: str
    field: str


MEDICINE, FOOD, MONEY = "medicine and biology", "food and restaurants", "money and banking"
GENRES = (
    Genre("argkp", "", "argument in a debate", "debater", "politics and society"),
    Genre("banking77", "", "question to customer support", "customer", MONEY),
    Genre("clinc150", "", "request to a voice assistant", "user of an assistant", ""),
    Genre("csabstruct", "", "scientific abstract", "scientist", "computer science"),
    Genre("fairytaleqa", "", "fairy tale", "storyteller", "folklore and literature"),
    Genre("fewrel_val", "wiki", "encyclopedia", "editor of an encyclopedia", ""),
    Genre("fewrel_val", "nyt", "newspaper article", "journalist", ""),
    Genre("fewrel_val", "pubmed", "medical research paper", "medical researcher", MEDICINE),
    Genre("goemotions", "", "social media comment", "internet user", ""),
    Genre("mams_acsa", "", "restaurant review", "customer", FOOD),
    Genre("nlupp", "hotels", "question to customer support", "customer", "travel and hotels"),
    Genre("policyqa", "", "privacy policy", "lawyer", "law and privacy"),
    Genre("pubmedqa", "", "medical research paper", "medical researcher", MEDICINE),
    Genre("xquad_en", "", "encyclopedia", "editor of an encyclopedia", ""),
    Genre("natinst", "task080", "everyday problem to solve", "", "household and crafts"),
    Genre("natinst", "task219", "short story of everyday life", "storyteller", "everyday life"),
    Genre("natinst", "task305", "quiz clue", "quiz master", ""),
    Genre("natinst", "task572", "cooking recipe", "cook", FOOD),
    Genre("natinst", "task591", "exam question", "teacher", "natural science"),
    Genre("natinst", "task613", "political statement", "politician", "politics and society"),
    Genre("natinst", "task619", "medical research paper", "medical researcher", MEDICINE),
    Genre("natinst", "task743", "legal act", "lawyer", "law and privacy"),
    Genre("natinst", "task868", "arithmetic problem", "teacher", "mathematics"),
    Genre("natinst", "task874", "technical manual", "engineer", "ships and the sea"),
    Genre("natinst", "task898", "quiz clue", "quiz master", ""),
    Genre("natinst", "task906", "dialogue of a television series", "screenwriter", ""),
    Genre("natinst", "task926", "conversation", "", "films"),
    Genre("natinst", "task958", "advertisement", "advertiser", FOOD),
    Genre("natinst", "task1342", "product review", "customer", "shopping"),
    Genre("natinst", "task1358", "news headline or summary", "journalist", ""),
    Genre("natinst", "task1441", "forum post", "internet user", "films"),
    Genre("natinst", "task1452", "tweet", "internet user", ""),
    Genre("natinst", "task1540", "scientific abstract", "scientist", "computer science"),
)
SETS = tuple(dict.fromkeys(kind.name for kind in GENRES))


def genre(source: Source) -> Iterator[Row]:
    """Texts of many kinds: the genre, who wrote it, and the field."""
    for kind in GENRES:
        for row in source.sample(kind.name, PER_KIND, belongs(kind.part), purpose=kind.part):
            found = {"genre": kind.genre, "author": kind.author, "field": kind.field}
            text = plain(fewrel_text(row))
            yield {"text": text, "labels": {a: value for a, value in found.items() if value}}


def belongs(part: str) -> Callable[[Row], bool]:
    """Whether a row is of this part of its set: a label or a task."""

    def keep(row: Row) -> bool:
        return part in ("", task(row), *row.get("labels", {}).values())

    return keep
