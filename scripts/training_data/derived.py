"""Training sets whose labels follow from the public sets with certainty."""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from scripts.training_data import rules
from scripts.training_data.sets import fewrel_text, plain, task
from scripts.training_data.source import Row, Source, plain_text

PER_SOURCE = 2000
RARE = 300
FEWEST = 5  # rows of a label
# Tasks of natural-instructions whose texts are questions, or hold some.
QUESTIONS = {
    "task344": r"(.*)",
    "task382": r"following question: (.*)",
    "task444": r"['\"]([^'\"\]]+\?)['\"]",
    "task582": r"(.*)",
    "task591": r"(.*)",
    "task615": r"(.*)",
    "task674": r"([^\n]+)",
    "task820": r"(.*)",
    "task898": r"(.*)",
    "task1293": r"(.*)",
    "task1327": r"Question : (.*)",
    "task1412": r"(.*)",
}


def argkp_sides(source: Source) -> Iterator[Row]:
    """Arguments, and whether they are for or against a proposal that the instruction names."""
    for row in source.rows("argkp"):
        proposal, stance = row["labels"]["topic"], row["labels"]["stance"]
        yield {
            "text": row["text"],
            "instruction": f"Is the speaker for or against this: {proposal}?",
            "answer": "for the proposal" if stance == "pro" else "against the proposal",
        }


def csabstruct_study(source: Source) -> Iterator[Row]:
    """Sentences of abstracts with the sentence that states the aim of the same paper."""
    rows = source.rows("csabstruct")
    for _, sentences in groupby(rows, lambda row: row["labels"]["paper"]):
        paper = list(sentences)
        aims = [row["text"] for row in paper if row["labels"]["role"] == "objective"]
        for row in paper:
            if aims and row["text"] != aims[0] and "|" not in aims[0] and len(row["text"]) > 60:
                yield {"text": row["text"], "labels": {"aim": aims[0]}}


def asked(source: Source) -> Iterator[str]:
    """The questions of several sets."""
    for name in ("xquad_en", "fairytaleqa", "policyqa"):
        yield from (row["instruction"] for row in source.rows(name))
    for row in source.rows("natinst"):
        if pattern := QUESTIONS.get(task(row)):
            yield from re.findall(pattern, row["text"])


def question_type(source: Source) -> Iterator[Row]:
    """Questions with the kind of answer they want, where enough questions want it."""
    found = {text.strip(): rules.question(text) for text in asked(source)}
    kinds = Counter(wanted.kind for wanted in found.values() if wanted)
    details = Counter(wanted.detail for wanted in found.values() if wanted)
    for text, wanted in found.items():
        if wanted and plain_text(text) not in source.without and kinds[wanted.kind] >= FEWEST:
            labels = {"answer": wanted.kind}
            if details[wanted.detail] >= FEWEST:
                labels["detail"] = wanted.detail
            yield {"text": text, "labels": labels}


FORMAL = ("argkp", "csabstruct", "fewrel_val", "goemotions", "mams_acsa")
FORMS = ("banking77", "clinc150", *FORMAL)


def form(source: Source) -> Iterator[Row]:
    """Texts with what can be seen of their form: speech act, person, numbers, dates, manners."""
    for name in FORMS:
        ordinary = source.sample(name, PER_SOURCE, purpose="form")
        rare = source.sample(name, RARE, lambda row: bool(rules.MONEY.search(row["text"].lower())))
        for text in dict.fromkeys(fewrel_text(row) for row in (*ordinary, *rare)):
            labels: dict[str, str | None] = {**rules.mentions(text)}
            labels |= {"person": rules.person(text), "form": rules.form(text)}
            if labels["form"] == "request":
                labels["polite"] = rules.polite(text)
                if name in FORMAL:
                    labels["form"] = None  # "Set theory ..." is no order
            if kept := {aspect: value for aspect, value in labels.items() if value}:
                yield {"text": text, "labels": kept}


FEATURES = {
    "area": "area",
    "customer rating": "rating",
    "eatType": "kind",
    "familyFriendly": "children",
    "food": "cuisine",
    "name": "name",
    "near": "near",
    "priceRange": "price",
}


def restaurants(source: Source) -> Iterator[Row]:
    """Descriptions of restaurants with their features."""
    for row in source.rows("natinst"):
        if task(row) == "task958":
            named = re.findall(r"([\w ]+)\[([^\]|]+)\]", row["answer"])
            values = {FEATURES[k.strip()]: v.lower() for k, v in named if k.strip() in FEATURES}
            yield {"text": row["text"], "labels": values}


def reviews(source: Source) -> Iterator[Row]:
    """Reviews of products; their titles tell whether they praise."""
    for row in source.rows("natinst"):
        if task(row) == "task1342" and (polarity := rules.verdict(row["answer"])):
            yield {"text": plain(row["text"]), "labels": {"polarity": polarity}}


def policies(source: Source) -> Iterator[Row]:
    """Paragraphs of privacy policies: the practice, data and purpose where there is one only."""
    named: dict[str, dict[str, set[str]]] = {}
    aspects = {"Personal Information Type": "information", "Purpose": "purpose"}
    for row in source.rows("policyqa"):
        practice, attribute, value = (*row["type"].split("|||"), "", "")[:3]
        found = named.setdefault(row["text"], {})
        found.setdefault("practice", set()).add(practice)
        if attribute in aspects:
            found.setdefault(aspects[attribute], set()).add(value.lower())
    for text, found in named.items():
        one = {aspect: min(values) for aspect, values in found.items() if len(values) == 1}
        if kept := {a: v.replace("/", " or ") for a, v in one.items() if v not in ("", "other")}:
            yield {"text": text, "labels": kept}


def pubmedqa(source: Source) -> Iterator[Row]:
    """Abstracts with the question that the study asks."""
    for row in source.rows("pubmedqa"):
        yield {"text": plain(row["text"]), "labels": {"question": row["instruction"]}}
