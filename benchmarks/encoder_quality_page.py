"""The part of docs/performance.md about the encoder's quality, and its figure in the README."""

from typing import Any

from benchmarks.encoder_quality_report import means, sections
from benchmarks.environment import load
from benchmarks.guides_report import sections as guide_sections
from benchmarks.pages import Ran, Tabulate
from benchmarks.reuse import THRESHOLDS, accepted
from instruct_embeddings.retrieval.reuse import DEFAULT_TEXTS

_BY_WHAT = (
    "No method sees a label. The tasks, pools and queries are those of the ranking quality above; "
    "as a guide, the encoder reads a sample of at most 1,000 texts, and the transform that learns "
    "from it ranks the stored generic vectors. Triplets: three texts of which one shares the first "
    "aspect with the anchor and one the second; embeddings that ignore the instruction are right "
    "under one of the two."
)


def quality_page(tabulate: Tabulate, ran: Ran) -> list[str]:
    """Paragraphs and tables; what was not measured is left out."""
    results = load("encoder-quality")
    parts = [
        "## The encoder's quality, without labels",
        "`make bench-encoder-quality DATA=folder`",
        f"{ran(results['environment'])} Model: {results['model']['name']}.",
        _BY_WHAT,
    ]
    *others, total = sections(results)
    for section in (total, *others):
        parts += [f"**{section.title}**", tabulate(section.headings, section.lines)]
    for further in (_guides, _reuse, _refinement, _ablation):
        parts += further(tabulate, ran)
    return parts


def quality_figures() -> list[str]:
    """The figures that the README quotes."""
    results = load("encoder-quality")
    section = means(results["rows"])
    cells = {line[0]: line[1] for line in section.lines}
    shown = ", ".join(f"{name} {figures}" for name, figures in cells.items() if "ridge" not in name)
    return [
        f"Without labels, by {results['model']['name']}, {section.title} (precision@10 / "
        f"V-measure): {shown} (`make bench-encoder-quality DATA=folder`)."
    ]


def _guides(tabulate: Tabulate, ran: Ran) -> list[str]:
    results = load("guides")
    if not results:
        return []
    parts = [
        "### Who teaches a transform, and what it costs",
        "`make bench-guides DATA=folder`",
        f"{ran(results['environment'])} Model: {results['model']}. The encoder guide and the label "
        "names run as a retriever runs them, from the collection to the transform; the encoder's "
        "sample grows while held-out agreement rises. The other rows vary one thing: the sample, "
        "what is learned from the embeddings, and labels in their place. Where there is too little "
        "to learn from, or the gain may be chance, the generic ranking is kept and counts. Times "
        "cheaper: seconds that the encoder would take for a million such texts, by those of the "
        f"guide. Threads: {results['threads']}.",
    ]
    for section in guide_sections(results):
        parts += [f"**{section.title}**", tabulate(section.headings, section.lines)]
    return parts


def _reuse(tabulate: Tabulate, ran: Ran) -> list[str]:
    results = load("reuse")
    if not results:
        return []
    rows = results["rows"]
    lines = [[str(each), *map(str, accepted(rows, each))] for each in THRESHOLDS]
    return [
        "### Instructions that mean the same",
        "`make bench-reuse DATA=folder`",
        f"{ran(results['environment'])} Model: {results['model']}. Agreement of each task's "
        f"instruction with a paraphrase and with a question about something else, on "
        f"{DEFAULT_TEXTS} texts; the highest of another question is "
        f"{max(row['other'] for row in rows):.3f}.",
        tabulate(
            ("threshold", f"of {len(rows)} paraphrases", f"of {len(rows)} other questions"), lines
        ),
    ]


def _refinement(tabulate: Tabulate, ran: Ran) -> list[str]:
    results = load("refinement")
    if not results:
        return []
    base = results["rows"][0]["milliseconds a text"]
    lines = [
        [
            str(row["steps"]),
            f"{row['precision@10']:.3f} / {row['v_measure']:.3f}",
            f"{row['milliseconds a text'] / base:.1f}",
        ]
        for row in results["rows"]
    ]
    return [
        "### Steps of refinement",
        "`make bench-refinement DATA=folder`",
        f"{ran(results['environment'])} Model: {results['model']}, trained with four steps; "
        f"everything re-encoded, pools of {results['pool']} rows, threads: {results['threads']}. "
        "K = 0 pools the input; costs are medians of rounds in which all K take turns.",
        tabulate(("K", "precision@10 / V-measure", "seconds, in those of K = 0"), lines),
    ]


def _ablation(tabulate: Tabulate, ran: Ran) -> list[str]:
    results = load("ablation")
    if not results:
        return []
    return [
        "### What the parts contribute",
        "`make bench-ablation DATA=folder`",
        f"{ran(results['environment'])} Each variant was trained for {results['steps']} steps of "
        f"{results['batch_size']} examples and measured on pools of {results['pool']} rows; "
        "precision@10 / V-measure, means over the tasks.",
        tabulate(("variant", "re-encoded", "as guide"), ablation_lines(results)),
    ]


def ablation_lines(results: dict[str, Any]) -> list[list[str]]:
    """Precision@10 / V-measure of each variant, re-encoded and as guide."""
    return [
        [
            name,
            f"{row['precision@10']:.3f} / {row['v_measure']:.3f}",
            f"{row['guide precision@10']:.3f} / {row['guide v_measure']:.3f}",
        ]
        for name, row in results["variants"].items()
    ]
