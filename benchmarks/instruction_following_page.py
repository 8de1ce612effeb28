"""The part of docs/evidence.md about instruction following."""

from collections.abc import Sequence
from statistics import mean
from typing import Any, TypeAlias

from benchmarks.environment import load
from benchmarks.pages import Ran, Tabulate

Figure: TypeAlias = dict[str, Any]
SIGNIFICANT = 0.05
_KINDS = {
    "clustering": "**Clusters**: V-measure of k-means under the instruction against the labels "
    "that it asks for.",
    "triplets": "**Triplets**: of two texts, each like a third in one respect, is the one closer "
    "that the instruction asks for? Who ignores instructions is right in exactly half.",
    "similarity": "**Conditioned similarity**: Spearman correlation of cosines with agreement in "
    "what is asked. Who ignores instructions has exactly 0.",
}


def section(tabulate: Tabulate, ran: Ran) -> list[str]:
    """Paragraphs and tables; nothing where it was not measured."""
    results = load("instruction-following")
    if not results:
        return []
    sizes, figures = results["sizes"], results["figures"]
    sets = len({figure["set"] for figure in figures})
    parts = [
        "## Do embeddings obey their instruction?",
        "`make bench-instruction-following DATA=folder`",
        f"{ran(results['environment'])} Model: {results['model']['name']}. No method sees a label. "
        f"{sets} sets with labels in several respects, at most {results['texts']} texts of each; "
        f"every aspect is asked for in {results['wordings']} wordings, which count alike. Each of "
        f"{len(results['seeds'])} seeds draws {sizes['rows']} rows to cluster and "
        f"{sizes['triplets']} triplets. ± is the standard deviation over seeds. Labels of fewer "
        "than ten texts are left out, and with them aspects in which the rest do not differ; the "
        f"transform of `ours as guide` is learned from {results['sample']} of the texts.",
        "Means over sets and aspects. In brackets: on how many of them the method is better and "
        f"worse than the generic vectors with p < {SIGNIFICANT} under every single seed (paired "
        f"bootstrap, {sizes['rounds']:,} rounds).",
        tabulate(*_means(figures)),
    ]
    for kind, title in _KINDS.items():
        parts += [title, tabulate(*_by_subject([f for f in figures if f["kind"] == kind]))]
    return parts


def _means(figures: Sequence[Figure]) -> tuple[Sequence[str], list[list[str]]]:
    methods = dict.fromkeys(figure["method"] for figure in figures)
    lines = [
        [
            method,
            *(_mean([f for f in _of(figures, kind) if f["method"] == method]) for kind in _KINDS),
        ]
        for method in methods
    ]
    headings = [f"{kind} ({len(_subjects(_of(figures, kind)))})" for kind in _KINDS]
    return ("method", *headings), lines


def _mean(figures: Sequence[Figure]) -> str:
    value = f"{mean(figure['mean'] for figure in figures):.3f}"
    sure = [f["gain"] for f in figures if f["gain"] is not None and f["p_value"] < SIGNIFICANT]
    if all(figure["gain"] is None for figure in figures):
        return value
    return (
        f"{value} ({sum(gain > 0 for gain in sure)} better, {sum(gain < 0 for gain in sure)} worse)"
    )


def _by_subject(figures: Sequence[Figure]) -> tuple[Sequence[str], list[list[str]]]:
    methods = list(dict.fromkeys(figure["method"] for figure in figures))
    cells = {(f["set"], f["subject"], f["method"]): _cell(f) for f in figures}
    lines = [
        [f"{name}: {subject}", *(cells[name, subject, method] for method in methods)]
        for name, subject in _subjects(figures)
    ]
    return ("texts and aspects", *methods), lines


def _cell(figure: Figure) -> str:
    return f"{figure['mean']:.3f} ±{figure['spread']:.3f}"


def _of(figures: Sequence[Figure], kind: str) -> list[Figure]:
    return [figure for figure in figures if figure["kind"] == kind]


def _subjects(figures: Sequence[Figure]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((figure["set"], figure["subject"]) for figure in figures))
