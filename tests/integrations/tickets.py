"""96 short tickets for the tests of both hosts; area and kind cut across each other."""

from collections.abc import Iterator
from typing import Any

from instruct_embeddings import MetadataGuide
from instruct_embeddings.protocols import Rows
from instruct_embeddings.supervision import Supervision

AREAS = {
    "printer": "printer paper tray toner jam",
    "billing": "invoice card account month total",
    "login": "password screen session user browser",
    "shipping": "parcel courier address door tracking",
}
KINDS = {
    "refund": "refund money",
    "question": "how explain",
    "failure": "broken error",
}

KIND = "What does the customer want?"


def ticket_rows() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Id, text, metadata: eight tickets for each pair of area and kind, mostly about the area."""
    for area, subject in AREAS.items():
        for kind, verb in KINDS.items():
            for n in range(8):
                text = f"{subject} {verb} case{area}{kind}{n}"
                yield f"{area}-{kind}-{n}", text, {"area": area, "kind": kind, "n": n}


def asked_tickets() -> tuple[list[str], list[list[str]]]:
    """A ticket of each pair of area and kind, and the others of its kind in all areas."""
    rows = list(ticket_rows())
    asked = [row for row in rows if row[2]["n"] == 0]
    relevant = [
        [other for other, _, found in rows if found["kind"] == own["kind"] and other != row]
        for row, _, own in asked
    ]
    return [text for _, text, _ in asked], relevant


class CountingGuide:
    """A metadata guide that counts how often it is asked: once a fit."""

    def __init__(self, key: str = "kind") -> None:
        """Judge by one metadata key."""
        self.guide = MetadataGuide(key)
        self.asked: list[str] = []

    @property
    def key(self) -> str:
        """As the guide inside."""
        return self.guide.key

    def ids(self) -> Any:
        """As the guide inside."""
        return self.guide.ids()

    def judge(self, instruction: str, sample: Rows) -> Supervision:
        """As the guide inside; the instruction is written down."""
        self.asked.append(instruction)
        return self.guide.judge(instruction, sample)
