"""Array and filter aliases shared by every layer (numpy only)."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32]
BoolArray: TypeAlias = NDArray[np.bool_]
IntArray: TypeAlias = NDArray[np.int64]

Metadata: TypeAlias = Mapping[str, Any]
Where: TypeAlias = Mapping[str, Any]

Space: TypeAlias = Literal["cosine", "ip", "l2"]
