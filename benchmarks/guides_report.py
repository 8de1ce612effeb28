"""Tables of `benchmarks.guides`, for the screen and for docs/performance.md."""

from statistics import mean, median
from typing import Any

from benchmarks.encoder_quality_report import Section, show
from benchmarks.transform import GENERIC

_DOCUMENTS = 1_000_000


def print_report(results: dict[str, Any]) -> None:
    """All sections."""
    for section in sections(results):
        show(section)


def sections(results: dict[str, Any]) -> list[Section]:
    """Means over the tasks, and the tasks one by one."""
    rows = results["rows"]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    whole = [method for method in methods if any("seconds" in r for r in _of(rows, method))]
    base = {row["task"]: row["precision@10"] for row in _of(rows, GENERIC)}
    lines = [_summary(method, _of(rows, method), base) for method in methods]
    headings = (
        "method",
        "precision@10 / V-measure",
        "worst task",
        "texts read",
        "seconds",
        "times cheaper than a million texts",
    )
    shown = [method for method in methods if method in (GENERIC, methods[1], *whole)]
    by_task = [[task, *(_cell(rows, task, method) for method in shown)] for task in tasks]
    return [
        Section(f"means over {len(tasks)} tasks", headings, lines),
        Section("by task", ("task", *shown), by_task),
    ]


def _of(rows: list[dict[str, Any]], method: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["method"] == method]


def _summary(method: str, own: list[dict[str, Any]], base: dict[str, float]) -> list[str]:
    precision = mean(row["precision@10"] for row in own)
    v_measure = mean(row["v_measure"] for row in own)
    worst = min(row["precision@10"] - base[row["task"]] for row in own)
    cells = [method, f"{precision:.3f} / {v_measure:.3f}", f"{worst:+.3f}"]
    timed = [row for row in own if "seconds" in row]
    if not timed:
        return [*cells, "", "", ""]
    cheaper = [_DOCUMENTS / row["texts_a_second"] / row["seconds"] for row in timed]
    return [
        *cells,
        f"{median(row['sample'] for row in timed):,.0f}",
        f"{median(row['seconds'] for row in timed):.1f}",
        f"{median(cheaper):,.0f} ({min(cheaper):,.0f} at least)",
    ]


def _cell(rows: list[dict[str, Any]], task: str, method: str) -> str:
    own = [row for row in rows if row["task"] == task and row["method"] == method]
    if not own:
        return ""
    kept = "" if own[0].get("adapted", True) else ", generic kept"
    return f"{own[0]['precision@10']:.3f} / {own[0]['v_measure']:.3f}{kept}"
