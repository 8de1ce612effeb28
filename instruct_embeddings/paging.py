"""Samples and scans of stores that skip to an offset."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from instruct_embeddings._types import Where
from instruct_embeddings.protocols import Capabilities, Rows

# Stores skip to an offset by counting rows, so a read costs more the larger the collection; fewer
# offsets are read there. At a million rows 6 reads take about a second.
_READS = (6, 64)
_ROWS_SKIPPED = 3_000_000
_PAGE = 2000


class PagedCollection(ABC):
    """What a `VectorCollection` has for nothing where its store can skip to an offset."""

    capabilities = Capabilities()

    @abstractmethod
    def count(self) -> int:
        """Number of rows now."""

    @abstractmethod
    def page(
        self,
        *,
        limit: int,
        offset: int,
        where: Where | None = None,
        where_document: Where | None = None,
        vectors: bool = False,
        records: bool = False,
    ) -> Rows:
        """One page of rows in the store's own stable order; past the end short or empty."""

    def sample(self, size: int, *, seed: int) -> Rows:
        """At most `size` rows with vectors, texts and metadata, in the order of the store.

        Blocks of neighbouring rows are read at random offsets, one in each equal part of the
        collection: 64 of them, down to 6 in a collection of a million rows. So little is read,
        whatever the size, and rows that were stored together (chunks of one document) do not crowd
        out the rest. A collection of at most `size` rows is taken whole. The same seed and the same
        collection give the same rows.
        """
        rng = np.random.default_rng(seed)
        total = self.count()
        reads = int(np.clip(2 * _ROWS_SKIPPED // max(1, total), *_READS))
        blocks = min(reads, size)
        length = -(-size // blocks)
        if total <= size or total < 2 * blocks * length:
            rows = Rows.joined(list(self.scan(vectors=True, records=True)))
        else:
            edges = np.linspace(0, total, blocks + 1).astype(int)
            starts = [int(rng.integers(a, max(a + 1, b - length + 1))) for a, b in pairwise(edges)]
            rows = Rows.joined(
                [self.page(limit=length, offset=s, vectors=True, records=True) for s in starts]
            )
        # The blocks hold a few rows too many: any are left out, not those of the last blocks.
        return rows.take(np.sort(rng.permutation(len(rows))[:size]))

    def scan(
        self,
        *,
        where: Where | None = None,
        where_document: Where | None = None,
        vectors: bool = False,
        records: bool = False,
    ) -> Iterator[Rows]:
        """All rows that pass the filters, page by page, each once, in the order of the store.

        Where rows are deleted meanwhile, those behind them move up, past the next offset. So a page
        begins with a row of the one before: if it does not, it is read again from further back.
        """
        known: set[str] = set()
        offset = overlap = 0
        while True:
            start = max(0, offset - overlap)
            page = self.page(
                limit=_PAGE,
                offset=start,
                where=where,
                where_document=where_document,
                vectors=vectors,
                records=records,
            )
            if start and not (page.ids and page.ids[0] in known):
                overlap *= 2
                continue
            new = [position for position, row in enumerate(page.ids) if row not in known]
            yield page if len(new) == len(page) else page.take(new)
            known.update(page.ids)
            offset, overlap = start + len(page), 1
            if len(page) < _PAGE:
                return

    def state(self) -> str:
        """Number of rows and id of the last: it changes where new rows come at the end."""
        rows = self.count()
        last = self.page(limit=1, offset=rows - 1).ids if rows else ()
        return " ".join([str(rows), *last])
