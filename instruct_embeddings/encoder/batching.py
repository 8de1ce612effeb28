"""Batches that waste little padding."""

from collections.abc import Iterator, Sequence


def length_sorted_batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Group texts of similar length under a budget of padded tokens.

    Longest first, so that memory runs out in the first batch or never.

    Args:
        lengths: Tokens of each text.
        batch_tokens: Upper bound of rows times longest row; a longer text gets a batch of its own.

    Yields:
        Positions of the texts of one batch.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        rows = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + rows]
        start += rows
