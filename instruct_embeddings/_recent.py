"""A bounded cache: the least recently used value is dropped first."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from instruct_embeddings._threads import make_anew_after_fork

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The values that were put or got last, at most `most`. Threads may use one together."""

    def __init__(self, most: int) -> None:
        """Nothing is kept yet."""
        self._most = most
        self._kept: OrderedDict[K, V] = OrderedDict()
        self.make_anew()
        make_anew_after_fork(self)

    def make_anew(self) -> None:
        """A lock of its own, after a fork; what is kept stays."""
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """The value of a key, which is then the last one used; None where it is not kept."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key]

    def put(self, key: K, value: V) -> V:
        """Keep a value, and drop the least recently used where there are too many."""
        with self._lock:
            self._kept[key] = value
            self._kept.move_to_end(key)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return value

    def values(self) -> list[V]:
        """All that is kept; none of it counts as used."""
        with self._lock:
            return list(self._kept.values())

    def __contains__(self, key: object) -> bool:
        return key in self._kept

    def __len__(self) -> int:
        return len(self._kept)
