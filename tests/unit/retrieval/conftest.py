"""Collections and guides that count, wait or fail when told to."""

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides import MetadataGuide
from instruct_embeddings.protocols import Guide, Neighbours, Rows
from instruct_embeddings.supervision import Supervision
from instruct_embeddings.testing import InMemoryCollection


class CountingCollection(InMemoryCollection):
    """Counts its calls and the rows it hands out.

    Attributes:
        calls: Number of calls of each method.
        handed_out: Rows of all pages.
        fetched: Rows asked for by id, call by call.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.calls: Counter[str] = Counter()
        self.handed_out = 0
        self.fetched: list[int] = []
        super().__init__(*arguments, **options)

    def page(self, **options: Any) -> Rows:
        self.calls["page"] += 1
        rows = super().page(**options)
        self.handed_out += len(rows)
        return rows

    def search(self, vector: FloatArray, *, k: int, **options: Any) -> Neighbours:
        self.calls["search"] += 1
        return super().search(vector, k=k, **options)

    def fetch(self, ids: Sequence[str], **options: Any) -> Rows:
        self.calls["fetch"] += 1
        self.fetched.append(len(ids))
        return super().fetch(ids, **options)


class CountingGuide:
    """A metadata guide that counts how often it is asked: once a fit."""

    def __init__(self, metadata_key: str = "colour") -> None:
        self.guide: Guide = MetadataGuide(metadata_key)
        self.asked: list[str] = []

    @property
    def key(self) -> str:
        return self.guide.key

    def ids(self) -> Sequence[str] | None:
        return None

    def judge(self, instruction: str, sample: Rows) -> Supervision:
        self.asked.append(instruction)
        return self.guide.judge(instruction, sample)


class BlockingGuide(CountingGuide):
    """Waits in the middle of a fit until it is let go.

    Attributes:
        reached: Set when a fit has arrived.
        go: Lets it go on.
    """

    def __init__(self, metadata_key: str = "colour") -> None:
        super().__init__(metadata_key)
        self.reached, self.go = threading.Event(), threading.Event()

    def judge(self, instruction: str, sample: Rows) -> Supervision:
        self.reached.set()
        assert self.go.wait(30)
        return super().judge(instruction, sample)


class FailingGuide(CountingGuide):
    """Fails the first `times` fits."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def judge(self, instruction: str, sample: Rows) -> Supervision:
        supervision = super().judge(instruction, sample)
        if len(self.asked) <= self.times:
            raise GuideError("the guide is out of order")
        return supervision
