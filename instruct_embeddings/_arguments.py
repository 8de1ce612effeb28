"""Telling an argument that was left out from one that is `None`."""

from enum import Enum
from typing import Final, Literal, TypeVar

T = TypeVar("T")


class Unset(Enum):
    """Type of `UNSET`, the default of call arguments whose `None` has a meaning of its own."""

    UNSET = "unset"

    def __repr__(self) -> str:
        """The name under which it is exported."""
        return self.name


UNSET: Final[Literal[Unset.UNSET]] = Unset.UNSET


def given(value: T | Unset, default: T) -> T:
    """The value of a call argument, or the default where the argument was left out."""
    return default if isinstance(value, Unset) else value
