"""What a model answered to one prompt."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What came of one prompt.

    Attributes:
        value: The parsed reply; None where there is none.
        raw: The last reply as the model gave it, empty where it gave none.
        calls: Calls made for it, failed ones included.
        cached: Whether it was answered without a call of its own.
        problem: Why there is no value, or None.
        refused: Whether the model gave no reply: it refused the prompt, or failed on it to the
            end. Otherwise a problem means that its reply could not be read.
    """

    value: T | None
    raw: str
    calls: int
    cached: bool
    problem: str | None
    refused: bool = False
