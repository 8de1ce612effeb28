"""What a training run learns from: a text, an instruction, the answer to give."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """One thing to learn.

    Attributes:
        text: What is embedded.
        instruction: What is asked about it.
        answer: The right answer.
        negatives: Wrong answers given with the row.
        group: Where it was drawn from, such as "clinc150/intent"; answers can be compared within a
            group only.
    """

    text: str
    instruction: str
    answer: str
    negatives: tuple[str, ...] = ()
    group: str = ""


def answer_key(answer: str) -> str:
    """The form in which answers are the same: case, spacing and end marks do not count."""
    text = " ".join(answer.casefold().split())
    return text.rstrip(" .?!") or text
