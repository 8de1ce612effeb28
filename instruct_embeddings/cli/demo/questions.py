"""What the demo asks of the sample corpus."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Aspect:
    """One respect in which texts are compared.

    Attributes:
        key: Metadata key that holds its labels; None where there are none.
        instruction: The plain sentence that asks for it.
        separator: What separates several labels of one row, or None.
    """

    key: str | None
    instruction: str
    separator: str | None = None

    def labels(self, metadata: Mapping[str, object]) -> frozenset[str]:
        """The labels of a row."""
        value = None if self.key is None else metadata.get(self.key)
        if value is None:
            return frozenset()
        parts = str(value).split(self.separator) if self.separator else [str(value)]
        return frozenset(part.strip() for part in parts)


@dataclass(frozen=True)
class Question:
    """A query whose own labels are known, so that a reader can judge the answers.

    Attributes:
        text: What is asked.
        metadata: Its labels by key.
    """

    text: str
    metadata: Mapping[str, object]


@dataclass(frozen=True)
class Constrained:
    """A question whose instruction states a constraint, and how a hit is judged.

    Attributes:
        text: What is asked.
        topic: Key and label of what it is about.
        instruction: The constraint.
        named: Key and label of what the constraint names.
        unwanted: Whether that is excluded.
    """

    text: str
    topic: tuple[str, str]
    instruction: str
    named: tuple[str, str]
    unwanted: bool = False

    def on_topic(self, metadata: Mapping[str, object]) -> bool:
        """Whether a row is about what was asked."""
        return metadata.get(self.topic[0]) == self.topic[1]

    def satisfied(self, metadata: Mapping[str, object]) -> bool:
        """Whether a row obeys the constraint."""
        return (metadata.get(self.named[0]) == self.named[1]) != self.unwanted


INSTRUCTIONS = {
    "area": "Which part of the product is it about?",
    "problem": "What kind of problem is reported?",
    "tone": "How does the customer sound?",
    "urgency": "How soon is an answer needed?",
}

TICKET_QUESTIONS = (
    Question(
        "Thanks for the lovely product! Would you consider invoices in euros one day?",
        {
            "area": "billing",
            "problem": "feature request",
            "tone": "friendly",
            "urgency": "can wait",
        },
    ),
    Question(
        "After last night's sync half of our folder has vanished. Could we have lost it for good? "
        "The audit starts in an hour.",
        {
            "area": "file sync",
            "problem": "lost data",
            "tone": "worried",
            "urgency": "right now",
        },
    ),
    Question(
        "The app on my phone takes ages to open a board, and I have had enough of it!",
        {
            "area": "mobile app",
            "problem": "slow performance",
            "tone": "angry",
            "urgency": "can wait",
        },
    ),
)

# Written with the answers known; the last one is there because it is not obeyed.
TICKET_CONSTRAINTS = (
    Constrained(
        "it is slow", ("problem", "slow performance"), "Only reports.", ("area", "reports")
    ),
    Constrained(
        "it is slow",
        ("problem", "slow performance"),
        "Exclude anything about reports.",
        ("area", "reports"),
        unwanted=True,
    ),
    Constrained(
        "the app on my phone", ("area", "mobile app"), "Only angry customers.", ("tone", "angry")
    ),
    Constrained(
        "invoices", ("area", "billing"), "Only how-to questions.", ("problem", "how-to question")
    ),
)


def instruction_for(key: str) -> str:
    """The instruction of a key: the written one, or one made of the key."""
    words = key.rpartition(".")[2].replace("_", " ").replace("-", " ")
    return INSTRUCTIONS.get(key, f"What is its {words}?")
