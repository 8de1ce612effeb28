"""Rewrite docs/performance.md, and the figures of other pages, from the kept results.

    python -m benchmarks.report

A test compares all with what this module makes of `results/`, so that no figure can be
quoted that the results do not hold.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks import (
    blend,
    chance,
    examples,
    growing,
    judge_page,
    retrieval_page,
    scale_page,
    situated,
    stores_page,
    ui,
)
from benchmarks.encode_report import encoding_figures, encoding_page
from benchmarks.encoder_quality_page import quality_figures, quality_page
from benchmarks.environment import load
from benchmarks.gpu import gpu_page
from benchmarks.live import live_page
from benchmarks.pages import with_figures
from benchmarks.transform import FOLDED, GENERIC, GSTRANSFORM, POSTERIOR, RESCORED, SIZES
from instruct_embeddings.encoder import DEFAULT_MODEL

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
README = ROOT / "README.md"
WHICH = ROOT / "docs" / "which.md"
CHUNKS = ROOT / "docs" / "how-to" / "chunks.md"
INSTANT = ROOT / "docs" / "instant.md"
CARD = ROOT / "instruct_embeddings" / "weights" / DEFAULT_MODEL / "README.md"
_SHOWN = (GENERIC, POSTERIOR, GSTRANSFORM, FOLDED, RESCORED)


def main() -> None:
    """Write the files."""
    for file, text in pages().items():
        file.write_text(text, encoding="utf-8")


def pages() -> dict[Path, str]:
    """What the files should hold."""
    files = (README, CARD, growing.PAGE, WHICH, CHUNKS, INSTANT)
    readme, card, grown, which, chunks, instant = (file.read_text("utf-8") for file in files)
    return {
        PAGE: performance_page(),
        README: with_figures(readme, readme_figures()),
        CARD: with_figures(card, "".join(f"- {line}\n" for line in quality_figures())),
        WHICH: with_figures(which, blend.section(tabulate, ran)),
        CHUNKS: with_figures(chunks, situated.section(tabulate, ran)),
        INSTANT: with_figures(instant, examples.section(tabulate, ran)),
        growing.PAGE: growing.filled(grown, tabulate),
    }


def performance_page() -> str:
    """The whole of docs/performance.md."""
    quality, query = load("transform"), load("query")
    largest = query["results"][-1]
    parts = [
        "# Performance",
        "Made from `benchmarks/results/` by `python -m benchmarks.report`. The "
        "commands rerun the measurements; DATA is a folder of public labelled texts, described in "
        "[benchmarks](../benchmarks/README.md).",
        "## Ranking quality",
        "`make bench-transform DATA=folder`",
        ran(quality["environment"]),
        "Every method ranks the same pool of at most 1,500 rows, apart from the labelled ones, for "
        "500 queries of that pool. Cells are precision@10 / V-measure of k-means, means over "
        f"{len(_tasks(quality))} tasks; the last column is the smallest gain in precision@10 over "
        "the generic vectors on any single task with up to 1,000 labels. Rescoring moves no "
        "vector: its V-measure here is that of the folded vectors, and in [evidence](evidence.md) "
        "that of the space that it rescores in.",
        tabulate(
            ("method", *(f"{size:,} labels" for size in SIZES), "worst task"), _means(quality)
        ),
        "By task with up to 1,000 labels. The posterior of a plain logistic regression is the "
        "strongest peer there and ahead on several tasks; it has to score every stored vector, and "
        "with 100 labels it falls behind the generic vectors:",
        tabulate(("task", *_SHOWN), _by_task(quality)),
        "## Latency and recall",
        "`make bench-query DATA=folder`",
        ran(query["environment"])
        + f" Collections hold {query['vectors']:,} real vectors ({query['base']}) mixed in pairs "
        "and jittered, in a persistent Chroma with its default index settings.",
        "Plain is `collection.query` for ten rows with texts and metadata; adapted is a search "
        "under a known instruction for the same, prefetch and rescoring included; the two "
        "alternate in one loop. Recall compares the search with the same search over an exact "
        "index. First answer is the first search under a new instruction: sampling, fitting, "
        "searching.",
        tabulate(
            (
                "vectors",
                "instruction asks for",
                "plain ms (p95)",
                "adapted ms (p95)",
                "ratio",
                "recall@10",
                "first answer s",
            ),
            _latencies(query),
        ),
        *_whole(query),
        "### By prefetch",
        f"Recall@10 of the folded query alone, and milliseconds of that index query, at "
        f"{largest['n']:,} vectors. {_prefetches(query)}",
        tabulate(*_curve(largest)),
        "### Against re-encoding",
        "Encoding the whole collection again with the same encoder, measured on a slice and "
        "scaled, beside the median first answer:",
        tabulate(
            ("vectors", "re-encoding s", "first answer s", "times faster"), _reencoding(query)
        ),
        *stores_page.section(tabulate, ran),
        *ui.section(tabulate, ran),
        *retrieval_page.section(tabulate, ran),
        *chance_page(),
        *quality_page(tabulate, ran),
        *encoding_page(tabulate, ran),
        *gpu_page(tabulate, ran),
        *live_page(tabulate, ran),
        *scale_page.section(tabulate, ran),
    ]
    return "\n\n".join(parts) + "\n"


def spaces_figures() -> list[str]:
    """What is left of the instant query in another model's space, in one line."""
    results = load("spaces")
    if not results:
        return []
    rows = [row for row in results["rows"] if row["model"] == "multilingual-e5-small"]
    shown = ", ".join(
        f"{row['set']} {row['generic ndcg@10']:.3f} to {row['instant ndcg@10']:.3f}" for row in rows
    )
    return [
        "The instant query over collections that multilingual-e5-small has filled, by a map fitted "
        f"to 400 of their texts, nDCG@10: {shown} (`make bench-spaces DATA=folder`).",
    ]


def drop_in_figures() -> list[str]:
    """What a query instruction does to the drop-in class, in one line; none without results."""
    results = load("drop-in")
    if not results:
        return []
    asked = "; ".join(
        f"“{instruction}” by {label} {before:.3f} to {after:.3f}"
        for instruction, label, before, after in results["asked"]
    )
    return [
        "Drop-in class with a query instruction over generic vectors, precision@10 on "
        f"{results['rows']} sample tickets: {asked} (`make bench-drop-in`).",
    ]


def chance_page() -> list[str]:
    """Gains that are chance; nothing where it was not measured."""
    results = load("chance")
    if not results:
        return []
    sizes = results["sizes"]
    parts = [
        "## Gains that are chance",
        "`make bench-chance DATA=folder`",
        f"{ran(results['environment'])} Noise: labels drawn at random for the texts of "
        f"{sizes['tasks']} public tasks, {sizes['seeds']} seeds of each number of rows and "
        "classes. True gains: fits on true labels that raise precision@10 on further rows. A "
        "transform ranks where its gain exceeds two standard errors.",
    ]
    for one in chance.sections(results):
        parts += [f"**{one.title}**", tabulate(one.headings, one.lines)]
    return parts


def readme_figures() -> str:
    """The figures that the README quotes."""
    quality, query = load("transform"), load("query")
    largest = query["results"][-1]
    cells = {row[0]: row[-2] for row in _means(quality)}
    ratios = [row["ratio of medians"] for row in largest["aspects"]]
    recalls = [row["recall@10 of the search"] for row in largest["aspects"]]
    first = [row["first answer s"] for row in largest["aspects"]]
    adapted = [row["adapted ms"]["median"] for row in largest["aspects"]]
    lines = [
        f"Precision@10 / V-measure, means over {len(_tasks(quality))} public tasks with up to "
        f"1,000 labels: generic {cells[GENERIC]}, GSTransform's encoder-decoder "
        f"{cells[GSTRANSFORM]}, ours folded {cells[FOLDED]}, ours folded and rescored "
        f"{cells[RESCORED]} (`make bench-transform DATA=folder`).",
        f"At {largest['n']:,} stored vectors on {query['environment']['cores']} cores: "
        f"{min(adapted)} to {max(adapted)} ms a query, {min(ratios)} to {max(ratios)} times a "
        f"plain Chroma query, recall@10 {min(recalls)} to {max(recalls)}; first answer under a new "
        f"instruction {min(first)} to {max(first)} s (`make bench-query DATA=folder`).",
        *retrieval_figures(),
        *judge_page.figures(),
        *spaces_figures(),
        *drop_in_figures(),
        *quality_figures(),
        *encoding_figures(),
        "Hardware, versions, every task, what is lost where: [performance](docs/performance.md). "
        "Beside peers and the claims of papers: [evidence](docs/evidence.md).",
    ]
    return "\n".join(f"- {line}" for line in lines) + "\n"


def retrieval_figures() -> list[str]:
    """What the instant query reaches beside generic vectors, in one line; none without results."""
    results = load("retrieval")
    if not results:
        return []
    whole = [row for row in results["retrieval"] if row["part"] == "all"]

    def mean(kind: str, method: str) -> str:
        found = [r["ndcg@10"] for r in whole if (r["kind"], r["method"]) == (kind, method)]
        return f"{sum(found) / len(found):.3f}"

    kept = {row["method"]: row for row in results["constraints"] if row["part"] == "all"}

    def shares(method: str) -> str:
        return f"{kept[method]['satisfied']:.3f} / {kept[method]['on topic']:.3f}"

    front, instant = "instruction in front of the query", "instant query"

    def labelled(method: str) -> str:
        found = [r["precision@10"] for r in results["labels"] if r["method"] == method]
        return f"{sum(found) / len(found):.3f}"

    return [
        "Questions under instructions, nothing fitted, nDCG@10: generic "
        f"{mean('instructed', GENERIC)}, {front} {mean('instructed', front)}, {instant} "
        f"{mean('instructed', instant)}; plain questions under instructions that ask for nothing "
        f"else or for an aspect: generic {mean('plain', GENERIC)}, {instant} "
        f"{mean('plain', instant)}. Precision@10 on label tasks: {labelled(GENERIC)} and "
        f"{labelled(instant)}. Constraints, satisfied / on topic among ten: generic "
        f"{shares(GENERIC)}, {instant} {shares(instant)} (`make bench-retrieval DATA=folder`).",
    ]


def ran(environment: dict[str, Any]) -> str:
    """When and where something was measured, as pages say it."""
    versions = ", ".join(f"{name} {number}" for name, number in environment["versions"].items())
    return (
        f"Ran on {environment['date']} at commit {environment['commit']}, seed "
        f"{environment['seed']}: {environment['processor']}, {environment['cores']} cores, Python "
        f"{environment['python']}, {versions}."
    )


def _tasks(quality: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(row["task"] for row in quality["rows"]))


def _pick(quality: dict[str, Any], method: str, size: int) -> dict[str, dict[str, float]]:
    return {
        row["task"]: row
        for row in quality["rows"]
        if row["method"] == method and row["labels"] == size
    }


def _means(quality: dict[str, Any]) -> list[list[str]]:
    generic = _pick(quality, GENERIC, SIZES[-1])
    lines = []
    for method in dict.fromkeys(row["method"] for row in quality["rows"]):
        by_size = [_pick(quality, method, size) for size in SIZES]
        last = by_size[-1]
        worst = min(last[t]["precision@10"] - generic[t]["precision@10"] for t in last)
        lines.append([method, *(_both(rows.values()) for rows in by_size), f"{worst:+.3f}"])
    return lines


def _both(rows: Iterable[dict[str, float]]) -> str:
    kept = list(rows)
    precision = mean(row["precision@10"] for row in kept)
    return f"{precision:.3f} / {mean(row['v_measure'] for row in kept):.3f}"


def _by_task(quality: dict[str, Any]) -> list[list[str]]:
    methods = [_pick(quality, method, SIZES[-1]) for method in _SHOWN]
    return [[task, *(_both([rows[task]]) for rows in methods)] for task in _tasks(quality)]


def _latencies(query: dict[str, Any]) -> list[list[str]]:
    return [
        [
            f"{result['n']:,}",
            row["aspect"],
            f"{row['plain ms']['median']} ({row['plain ms']['p95']})",
            f"{row['adapted ms']['median']} ({row['adapted ms']['p95']})",
            str(row["ratio of medians"]),
            str(row["recall@10 of the search"]),
            str(row["first answer s"]),
        ]
        for result in query["results"]
        for row in result["aspects"]
    ]


def _whole(query: dict[str, Any]) -> list[str]:
    """Of each size: what was measured under one of the instructions only."""
    headings = (
        "vectors",
        "first answer without labels s",
        "first exact search s",
        "slowest further s",
    )
    lines = [
        [
            f"{result['n']:,}",
            str(result["first answer without labels s"]),
            *map(str, result["exact"].values()),
        ]
        for result in query["results"]
        if "exact" in result
    ]
    if not lines:
        return []
    about = (
        "Under the last of these instructions: a first answer that the encoder in the box teaches, "
        "loading it included, and searches that score every row. The first of those copies the "
        "collection, where it is large to disk."
    )
    return [about, tabulate(headings, lines)]


def _prefetches(query: dict[str, Any]) -> str:
    """What searches of these results asked the index for."""
    largest = query["results"][-1]
    if "prefetch" in largest:  # of all, before each transform measured its own
        return f"These searches asked for {largest['prefetch']}."
    learned = ", ".join(str(row["prefetch"]) for row in largest["aspects"])
    return f"The transforms have measured that they need {learned}."


def _curve(result: dict[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    name = "folded by prefetch: recall@10, ms"
    prefetches = list(result["aspects"][0][name])
    lines = [
        [row["aspect"], *(f"{recall} ({ms})" for recall, ms in row[name].values())]
        for row in result["aspects"]
    ]
    return ("instruction asks for", *prefetches), lines


def _reencoding(query: dict[str, Any]) -> list[list[str]]:
    lines = []
    for result in query["results"]:
        firsts = sorted(row["first answer s"] for row in result["aspects"])
        first, again = firsts[len(firsts) // 2], result["re-encoding seconds"]
        lines.append([f"{result['n']:,}", f"{again:,.0f}", str(first), f"{again / first:,.0f}"])
    return lines


def tabulate(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
