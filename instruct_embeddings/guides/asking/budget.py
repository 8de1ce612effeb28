"""Caps on what asking may cost."""

from threading import Lock

from instruct_embeddings.config import at_least
from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides.asking.cost import Cost


class Budget:
    """Counts what is spent and refuses what would exceed a cap; safe for threads."""

    def __init__(self, max_calls: int | None, max_tokens: int | None) -> None:
        """Start with nothing spent.

        Raises:
            ConfigError: A cap is negative or no whole number.
        """
        at_least("max_calls", max_calls, 0)
        at_least("max_tokens", max_tokens, 0)
        self._max_calls = max_calls
        self._max_tokens = max_tokens
        self._spent = Cost()
        self._lock = Lock()

    @property
    def spent(self) -> Cost:
        """Everything so far; calls on their way are counted at their estimate."""
        return self._spent

    def check(self, estimated: Cost) -> None:
        """Refuse an undertaking before it starts.

        Raises:
            GuideError: What is spent and the estimate exceed a cap.
        """
        cap = self._exceeded(self._spent + estimated)
        if cap is None:
            return
        spent = f" after {self._spent} spent" if self._spent.calls else ""
        raise GuideError(
            f"Asking the model would take {estimated}{spent}, more than {cap}. Raise the cap or "
            "lower the sample size."
        )

    def reserve(self, cost: Cost) -> None:
        """Count a call before it is made.

        Raises:
            GuideError: A cap is reached.
        """
        with self._lock:
            cap = self._exceeded(self._spent + cost)
            if cap is not None:
                raise GuideError(
                    f"Asking stopped: the next call would exceed {cap}; spent are {self._spent}. "
                    "Repair rounds come on top of an estimate. Answers so far are in the cache, "
                    "where there is one: raise the cap and run again to continue."
                )
            self._spent += cost

    def settle(self, reserved: Cost, actual: Cost) -> None:
        """Replace what was reserved for a call by what it cost."""
        with self._lock:
            self._spent += actual - reserved

    def _exceeded(self, cost: Cost) -> str | None:
        if self._max_calls is not None and cost.calls > self._max_calls:
            return f"max_calls={self._max_calls:,}"
        if self._max_tokens is not None and cost.tokens > self._max_tokens:
            return f"max_tokens={self._max_tokens:,}"
        return None
