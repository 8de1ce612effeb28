"""Scores from a reranker that returns the best texts, with scores or in their order alone."""

from collections.abc import Collection, Mapping


def scores_of_ranked(ranked: Mapping[int, float | None], count: int) -> list[float | None]:
    """One score a text, of what a reranker returned of so many texts.

    What it left out is worse than all that it returned. In ranks, those left out share the mean of
    the ranks that are left, as tied ranks do. Below scores in [0, 1] they get half of the least
    one: the mean of all that is lower. Below others they lie as far under the least as half of what
    the returned ones lie apart, so that they neither count as nearly good nor drown what tells the
    returned ones apart.

    Args:
        ranked: Position of each returned text to its score, best first. Without any score the order
            counts; a text without a score among others that have one was not judged.
        count: Texts that the reranker was given.

    Returns:
        Scores, higher is better; all None where nothing was returned.
    """
    if not ranked:
        return [None] * count
    given = {place: score for place, score in ranked.items() if score is not None}
    if not given:
        # From 2 up, as numbers in [0, 1] would be taken for probabilities.
        given = {place: float(count + 1 - rank) for rank, place in enumerate(ranked)}
        below = 1 + (count - len(ranked) + 1) / 2
    else:
        below = _below(given.values())
    return [given.get(place) if place in ranked else below for place in range(count)]


def _below(scores: Collection[float]) -> float:
    least, most = min(scores), max(scores)
    if least >= 0.0 and most <= 1.0:
        return least / 2
    return least - ((most - least) / 2 or 1.0)
