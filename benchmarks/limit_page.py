"""The part of docs/evidence.md about the bound of LIMIT."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.environment import load
from benchmarks.limit import WORDS
from benchmarks.pages import Ran, Tabulate
from benchmarks.transform import GENERIC

_FIGURES = ("judged recall@2", "judged recall@10", "other recall@2", "other recall@10")


def section(tabulate: Tabulate, ran: Ran) -> list[str]:
    """Paragraphs and tables; nothing where it was not measured."""
    results = load("limit")
    if not results:
        return []
    return [
        "## LIMIT's bound",
        "`make bench-limit DATA=folder`",
        f"{ran(results['environment'])} Model: {results['model']}. LIMIT (arXiv 2508.21038), small "
        f"version: {results['documents']} documents, each about one person and some fifty things "
        f"that this person likes; {results['questions']:,} questions, each of which has another "
        "pair of documents for its answer. The paper's argument: vectors of a given length can "
        "bring only so many different pairs to the top.",
        "**Is it the dimensions?** Not at this size. Each way of making vectors is asked for all "
        f"pairs of {results['documents']} documents; the gap is the smallest difference in cosine "
        "between a pair and the next document. In principle four dimensions are enough for any "
        "number of documents, points on a curve, but the gap vanishes; gradient descent on the "
        f"answers themselves ({results['steps']:,} steps) needs more. {_published(results)}",
        tabulate(*_bound(results["bound"])),
        "**What do the stored vectors allow?** With all answers known: query vectors chosen freely "
        "for the generic document vectors, and the linear map of the generic question vectors that "
        "fits all answers best in least squares.",
        tabulate(*_ceilings(results["ceilings"])),
        "**What does an instruction transform make of it?** Half of the questions are judged: both "
        f"answers, and {results['irrelevant']} documents that are none. Means over "
        f"{len(results['seeds'])} halvings; recall by chance is "
        f"{' and '.join(f'{value:.3f}' for value in results['chance'].values())}. Transforms are "
        "used whether they help on their own sample or not.",
        tabulate(*_methods(results["methods"])),
        _reading(results),
    ]


def _published(results: Mapping[str, Any]) -> str:
    known = " and ".join(f"{n:,} at {int(d):,}" for d, n in results["published"].items())
    return (
        f"The paper extrapolates its own descents to {known} dimensions, which grows as the cube: "
        f"{results['critical']:,} documents at 384. Nothing here checks that figure."
    )


def _bound(rows: Sequence[Mapping[str, Any]]) -> tuple[Sequence[str], list[list[str]]]:
    lines = [
        [
            row["vectors"],
            str(row["dimension"]),
            f"{row['pairs found']:.3f}",
            str(row["smallest gap"]),
        ]
        for row in rows
    ]
    return ("vectors", "dimensions", "pairs found", "smallest gap"), lines


def _ceilings(found: Mapping[str, Mapping[str, float]]) -> tuple[Sequence[str], list[list[str]]]:
    lines = [[name, *(f"{value:.3f}" for value in row.values())] for name, row in found.items()]
    return ("answers known", "recall@2", "recall@10"), lines


def _methods(rows: Sequence[Mapping[str, Any]]) -> tuple[Sequence[str], list[list[str]]]:
    lines = [
        [row["method"], *(f"{row[key]['mean']:.3f} ±{row[key]['spread']:.3f}" for key in _FIGURES)]
        for row in rows
    ]
    return ("method", *_FIGURES), lines


def _reading(results: Mapping[str, Any]) -> str:
    """What the figures say, whatever they are."""
    by_name = {row["method"]: row for row in results["methods"]}
    base = by_name[GENERIC]["other recall@2"]["mean"]
    ours = [row for name, row in by_name.items() if name.startswith("transform")]
    best = max(row["other recall@2"]["mean"] for row in ours)
    taught = max(row["judged recall@10"]["mean"] for row in ours)
    words = by_name[WORDS]["other recall@2"]["mean"]
    how = "above" if best > base else "not above"
    return (
        f"On questions that nobody judged, the best of the transforms finds {best:.3f} of the "
        f"answers among two, {how} the generic vectors ({base:.3f}). On judged questions one "
        f"brings {taught:.3f} of the answers among ten: it can hold answers that it was told. Who "
        "likes a thing that no judgement names cannot be learned from other things, and what the "
        "one vector of a document has lost no transform turns back into view. A search by words "
        f"finds {words:.3f}: where questions name single items of a list, combine the two."
    )
