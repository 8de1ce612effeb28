"""Tables of the quality of an encoder; means last."""

from collections.abc import Sequence
from statistics import mean
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.transform import GENERIC

_WIDTH = 200
Row = dict[str, Any]


class Section(NamedTuple):
    """One table."""

    title: str
    headings: Sequence[str]
    lines: Sequence[Sequence[str]]


def print_report(results: dict[str, Any]) -> None:
    """All that was measured."""
    model = results["model"]
    Console().print(f"model: {model['name']} ({model['fingerprint']})")
    for section in sections(results):
        show(section)


def show(section: Section, width: int = _WIDTH) -> None:
    """Print one table."""
    table = Table(title=section.title)
    for heading in section.headings:
        table.add_column(heading)
    for line in section.lines:
        table.add_row(*line)
    Console(width=width).print(table)


def sections(results: dict[str, Any]) -> list[Section]:
    """The tables; means last."""
    found = [_tasks(results["rows"]), _wordings(results["wordings"])]
    if "triplets" in results:
        found.append(_triplets(results["triplets"]))
    if "kept" in results:
        found.append(_kept(results["kept"]))
    return [*found, means(results["rows"])]


def _tasks(rows: list[Row]) -> Section:
    names = _distinct(rows, "method")
    lines = [
        [task, *(_both(_of(rows, task=task, method=name)) for name in names)]
        for task in _distinct(rows, "task")
    ]
    return Section("precision@10 / V-measure, no labels", ["task", *names], lines)


def _wordings(rows: list[Row]) -> Section:
    names = _distinct(rows, "method")
    tasks = [*_distinct(rows, "task"), None]
    lines = []
    for task in tasks:
        line = [task or "mean"]
        for name in names:
            own = _of(rows, method=name) if task is None else _of(rows, task=task, method=name)
            line.extend(_wording(own, kind) for kind in ("paraphrase", "other"))
        lines.append(line)
    kinds = [f"{name}: {kind}" for name in names for kind in ("paraphrase", "another question")]
    title = "overlap@10 / cosine with the instruction as given (gain in precision@10 over it)"
    return Section(title, ["task", *kinds], lines)


def _wording(rows: list[Row], kind: str) -> str:
    overlap, cosine, found, right = (
        mean(row[key] for row in rows)
        for key in (f"{kind} overlap@10", f"{kind} cosine", f"{kind} precision@10", "precision@10")
    )
    return f"{overlap:.2f} / {cosine:.2f} ({found - right:+.3f})"


def _triplets(rows: list[Row]) -> Section:
    names = _distinct(rows, "method")
    lines = []
    for pair in _distinct(rows, "pair"):
        own = [_of(rows, pair=pair, method=name)[0] for name in names]
        lines.append([pair, str(own[0]["triplets"]), *(_triplet([row]) for row in own)])
    total = sum(row["triplets"] for row in _of(rows, method=names[0]))
    lines.append(["mean", str(total), *(_triplet(_of(rows, method=name)) for name in names)])
    title = "triplet accuracy: under the first, under the second aspect, mean (both right)"
    return Section(title, ["pair of aspects", "triplets", *names], lines)


def _triplet(rows: list[Row]) -> str:
    keys = ("under the first", "under the second", "accuracy", "both right")
    first, second, accuracy, both = (mean(row[key] for row in rows) for key in keys)
    return f"{first:.2f} {second:.2f} {accuracy:.3f} ({both:.2f})"


def _kept(rows: list[Row]) -> Section:
    lines = [
        [row["method"], f"{row['stsb_spearman']:.4f}", f"{row['scifact_ndcg@10']:.4f}"]
        for row in rows
    ]
    sizes = f"{rows[0]['pairs']} pairs; {rows[0]['queries']} queries, {rows[0]['documents']} texts"
    title = f"without an instruction ({sizes})"
    return Section(title, ["method", "STS-B Spearman", "SciFact nDCG@10"], lines)


def means(rows: list[Row]) -> Section:
    """Means over the tasks, and gains over the generic vectors."""
    generic = _of(rows, method=GENERIC)
    lines = []
    for name in _distinct(rows, "method"):
        own = _of(rows, method=name)
        gains = [
            [row[key] - base[key] for row, base in zip(own, generic, strict=True)]
            for key in ("precision@10", "v_measure")
        ]
        shown = [f"{mean(gain):+.3f}" for gain in gains]
        lines.append([name, _both(own), *shown, f"{min(gains[0]):+.3f}"])
    gained = ("gain in precision", "gain in V", "worst precision")
    headings = ["method", "precision@10 / V-measure", *gained]
    return Section(f"means over {len(generic)} tasks", headings, lines)


def _both(rows: list[Row]) -> str:
    found = (mean(row[key] for row in rows) for key in ("precision@10", "v_measure"))
    return " / ".join(f"{figure:.3f}" for figure in found)


def _distinct(rows: list[Row], key: str) -> list[str]:
    return list(dict.fromkeys(row[key] for row in rows))


def _of(rows: list[Row], **wanted: str) -> list[Row]:
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]
