"""Array and filter aliases, and the default of arguments whose None means something."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32]
BoolArray: TypeAlias = NDArray[np.bool_]
IntArray: TypeAlias = NDArray[np.int64]

Metadata: TypeAlias = Mapping[str, Any]
Where: TypeAlias = Mapping[str, Any]

Space: TypeAlias = Literal["cosine", "ip", "l2"]

T = TypeVar("T")


class Unset(Enum):
    """Type of `UNSET`, the default of arguments whose `None` has a meaning of its own."""

    UNSET = "unset"

    def __repr__(self) -> str:
        """The name under which it is exported."""
        return self.name


UNSET: Final[Literal[Unset.UNSET]] = Unset.UNSET


def given(value: T | Unset, default: T) -> T:
    """The value of an argument, or the default where the argument was left out."""
    return default if isinstance(value, Unset) else value
