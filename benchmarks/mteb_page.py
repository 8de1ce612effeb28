"""The part of docs/evidence.md about mteb's own tasks on local texts."""

from collections.abc import Sequence
from typing import Any

from benchmarks.environment import load
from benchmarks.pages import Ran, Tabulate

_SAME = 0.0005  # what tables do not show
_KINDS = {
    "InstructionReranking": "**Obeying a changed instruction.** p-MRR, in hundredths; the same "
    "queries and candidates under two instructions, one aspect of the texts each. Who ignores the "
    "instruction has 0; it is negative where documents that only the first instruction asks for "
    "rise under the second. In brackets nDCG@10 under the first and under the second instruction: "
    "what obedience is worth. mteb reads a corpus once, so `encoder` compares queries under an "
    "instruction with documents under none; `transform` adapts both.",
    "Retrieval": "**Retrieval**, nDCG@10: plain questions to scientific abstracts, which generic "
    "models are made for, under an instruction that asks for nothing else.",
    "Clustering": "**Clustering**, V-measure. `transform` ranks documents and has no clusters.",
    "STS": "**Similarity of sentences**, Spearman correlation, no instruction.",
}


def section(tabulate: Tabulate, ran: Ran) -> list[str]:
    """Paragraphs and tables; nothing where it was not measured."""
    results = load("mteb")
    if not results:
        return []
    sizes = results["sizes"]
    parts = [
        "## mteb: its tasks, metrics and runner on texts at hand",
        "`make bench-mteb DATA=folder`",
        f"{ran(results['environment'])} Model: {results['model']}; `generic` is "
        f"{results['generic']}, which reads no instruction. Sets are cut at random with that seed: "
        f"{sizes['texts']} texts with labels, {sizes['pairs']} queries with {sizes['candidates']} "
        f"candidates under two instructions, {sizes['queries']} queries to {sizes['documents']} "
        "documents (more where more than that answer a query), "
        f"{sizes['sentences']:,} pairs of sentences; all where a set has fewer. Figures of full "
        "benchmarks are others.",
    ]
    for kind, title in _KINDS.items():
        scores = [row for row in results["scores"] if row["kind"] == kind]
        if scores:
            parts += [title, tabulate(*_table(scores)), _reading(scores)]
    return parts


def _reading(scores: Sequence[dict[str, Any]]) -> str:
    """On how many tasks a method is above and below the generic vectors."""
    by_task = {(row["task"], row["method"]): row["score"] for row in scores}
    told = []
    for method in dict.fromkeys(row["method"] for row in scores):
        gains = [
            score - by_task[task, "generic"]
            for (task, own), score in by_task.items()
            if own == method != "generic" and score is not None
        ]
        above, below = sum(gain > _SAME for gain in gains), sum(gain < -_SAME for gain in gains)
        told += [f"`{method}` is above `generic` on {above}, below on {below}"] if gains else []
    return f"Of {len({task for task, _ in by_task})}: {'; '.join(told)}."


def _table(scores: Sequence[dict[str, Any]]) -> tuple[Sequence[str], list[list[str]]]:
    """Headings, and a line for each task."""
    methods = list(dict.fromkeys(row["method"] for row in scores))
    lines: dict[str, list[str]] = {}
    for row in scores:
        head = [row["task"], "; ".join(row["instructions"]) or "none"]
        lines.setdefault(row["task"], head).append(_cell(row))
    return ("task", "instructions", *methods), list(lines.values())


def _cell(row: dict[str, Any]) -> str:
    if row["score"] is None:
        return "-"
    if row["measure"] != "p-MRR":
        return f"{row['score']:.3f}"
    return f"{100 * row['score']:+.1f} ({row['before']:.3f}, {row['after']:.3f})"
