"""What a query bridge keeps of the old model's ranking, measured on held-out texts."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from instruct_embeddings._printable import printed
from instruct_embeddings.transform.quality import exceeds_chance

_NO_NUMBERS = ("method", "tried")
_OPTIONAL = ("strength", "unbridged", "unbridged_cosine")


@dataclass(frozen=True)
class BridgeReport:
    """How well mapped queries find what queries of the old model found.

    Each text of the sample was a query once, mapped by a bridge that was fitted without it, and
    ranked all other texts by their old vectors. Agreement is the share of the best `k` that the
    query's own old vector ranks there too: 1 where nothing is lost.

    Attributes:
        rows: Texts of the sample that were used.
        k: Results compared.
        method: What maps: `identity`, `procrustes` (a rotation) or `ridge` (any linear map).
        strength: Inverse penalty of ridge regression; None for the other two.
        agreement: Mean agreement.
        agreement_error: Its standard error.
        cosine: Mean cosine of mapped queries and their old vectors.
        unbridged: Mean agreement of the new vectors as they are; None where the models differ in
            dimension, so that a query without a bridge finds nothing at all.
        unbridged_cosine: Their mean cosine with the old vectors, or None.
        gain_error: Standard error of `agreement - unbridged`; 0 where there is none.
        tried: Mean agreement of each map that was tried.
        seconds: Wall time, embedding included.
    """

    rows: int
    k: int
    method: str
    strength: float | None
    agreement: float
    agreement_error: float
    cosine: float
    unbridged: float | None
    unbridged_cosine: float | None
    gain_error: float
    tried: Mapping[str, float]
    seconds: float

    @property
    def lost(self) -> float:
        """Share of the old results that are replaced by others."""
        return 1.0 - self.agreement

    @property
    def gains(self) -> bool:
        """Whether it beats queries without a bridge by more than chance would give."""
        if self.unbridged is None:
            return True
        return exceeds_chance(self.agreement - self.unbridged, self.gain_error)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "BridgeReport":
        """The reverse of `to_dict`."""
        return cls(**data)

    def check(self) -> None:
        """Refuse a report that was read and cannot be shown, or carried on as JSON.

        Raises:
            ValueError, TypeError, AttributeError: A field has the wrong form.
        """
        numbers = {name: value for name, value in asdict(self).items() if name not in _NO_NUMBERS}
        optional = [numbers.pop(name) for name in _OPTIONAL]
        given = [value for value in optional if value is not None]
        if not all(map(math.isfinite, [*numbers.values(), *given, *self.tried.values()])):
            raise ValueError("its report holds numbers that are not finite")
        if not all(isinstance(name, str) for name in (self.method, *self.tried)):
            raise ValueError("names of maps are text")

    @printed
    def __str__(self) -> str:
        """Three readable lines."""
        if self.unbridged is None:
            without = "without a bridge nothing, since the dimensions differ"
        else:
            without = f"without a bridge {self.unbridged:.3f}"
        strength = "" if self.strength is None else f", strength {self.strength:g}"
        map_ = f"{self.method}{strength}"
        return (
            f"agreement@{self.k} with the ranking of the old model on held-out texts: "
            f"{self.agreement:.3f} (standard error {self.agreement_error:.3f}), {without}\n"
            f"lost: {self.lost:.1%} of the results; mean cosine with the old vectors "
            f"{self.cosine:.3f}\n"
            f"learned from {self.rows:,} texts in {self.seconds:.1f} s; map: {map_}"
        )
