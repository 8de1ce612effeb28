"""The sample tickets of the demo and of the page, and what is asked of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from instruct_embeddings.cli.records import Reader, Record

ASPECTS = {  # key of the labels, and the instruction that asks for them
    "area": "Which part of the product is it about?",
    "problem": "What kind of problem is reported?",
    "tone": "How does the customer sound?",
}
# For each aspect a query, which is not among the tickets, and its label.
QUESTIONS = {
    "area": (
        "Thanks for the lovely product! Would you consider invoices in euros one day?",
        "billing",
    ),
    "problem": (
        "After last night's sync half of our folder has vanished. Could we have lost it for good? "
        "The audit starts in an hour.",
        "lost data",
    ),
    "tone": (
        "I am fed up. The invoice is wrong for the third time, and nobody answers!",
        "angry",
    ),
}


@dataclass(frozen=True)
class Constrained:
    """A question whose instruction says which hits are wanted, and how they are counted."""

    text: str
    topic: tuple[str, str]  # key and label of what it is about
    instruction: str
    named: tuple[str, str]  # key and label of what the instruction names
    unwanted: bool = False  # whether that is excluded

    def on_topic(self, metadata: Mapping[str, object]) -> bool:
        """Whether a row is about what was asked."""
        return metadata.get(self.topic[0]) == self.topic[1]

    def satisfied(self, metadata: Mapping[str, object]) -> bool:
        """Whether a row is as the instruction says."""
        return (metadata.get(self.named[0]) == self.named[1]) != self.unwanted

    def counts(self, **sides: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
        """Hits of each side that are as the instruction says, and that are on topic."""
        return {
            judge.__name__: {side: sum(judge(h["metadata"]) for h in sides[side]) for side in sides}
            for judge in (self.satisfied, self.on_topic)
        }


_SLOW = ("problem", "slow performance")
_REPORTS = ("area", "reports")
_HOW_TO = ("problem", "how-to question")
_PHONE = ("area", "mobile app")
_SIGN_IN = ("area", "sign-in")

# Written with the answers known: a relation, three constraints that are obeyed, one that is not.
CONSTRAINTS = (
    Constrained("I cannot sign in.", _SIGN_IN, "Find a question on how to do it.", _HOW_TO),
    Constrained("it is slow", _SLOW, "Only reports.", _REPORTS),
    Constrained("it is slow", _SLOW, "Exclude anything about reports.", _REPORTS, unwanted=True),
    Constrained("the app on my phone", _PHONE, "Only angry customers.", ("tone", "angry")),
    Constrained("invoices", ("area", "billing"), "Only how-to questions.", _HOW_TO),
)


def read_tickets() -> list[Record]:
    """The sample tickets: of the installed package, or of a checkout of the source."""
    packaged = Path(__file__).parent / "data" / "tickets.jsonl"
    checkout = Path(__file__).parents[2] / "examples" / "data" / "tickets.jsonl"
    return list(Reader().read([packaged if packaged.is_file() else checkout]))


def collection_name(records: Sequence[Record]) -> str:
    """Of the collection that holds them; it changes with the content."""
    digest = sha256()
    for record in records:
        digest.update(repr((record.id, record.text, record.metadata)).encode())
    return f"demo-tickets-{digest.hexdigest()[:8]}"
