"""Tables of retrieval under instructions and of constraints; means of the sets first."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from benchmarks.encoder_quality_report import Section, show
from benchmarks.retrieval_contestants import GENERIC
from instruct_embeddings.transform.quality import signed

Row = Mapping[str, Any]
KINDS = {
    "instructed": "sets under instructions",
    "stress": "at chance for one vector a passage",
    "plain": "plain sets under instructions",
}
_WIDTH = 180
_CONSTRAINED = ("satisfied", "on topic", "both")


def print_report(results: Mapping[str, Any]) -> None:
    """All that was measured."""
    for section in sections(results):
        show(section, _WIDTH)


def sections(results: Mapping[str, Any]) -> list[Section]:
    """The tables."""
    rows, constraints = results["retrieval"], results["constraints"]
    found = [means(rows), *(one for name in distinct(rows, "set") for one in _of_set(rows, name))]
    labels = results.get("labels", [])
    found = found if rows else []
    found += constrained(constraints) if constraints else []
    return found + ([labelled(labels)] if labels else [])


def means(rows: Sequence[Row]) -> Section:
    """Means over the sets of each kind, the gain, and the worst set."""
    lines = []
    for kind in (kind for kind in KINDS if pick(rows, kind=kind)):
        for name in distinct(rows, "method"):
            own = pick(rows, kind=kind, method=name, part="all")
            gains = [row["ndcg@10"] - row["generic ndcg@10"] for row in own]
            keys = ("ndcg@10", "generic ndcg@10", "recall@100")
            figures = [f"{mean(row[key] for row in own):.3f}" for key in keys]
            shown = [signed(mean(gains)), signed(min(gains))] if name != GENERIC else ["", ""]
            lines.append([KINDS[kind], name, str(len(own)), *figures, *shown])
    # Who sits out some instructions is compared on the others.
    compared = ("generic there", "recall@100", "gain in nDCG", "worst set")
    headings = ["", "method", "sets", "nDCG@10", *compared]
    return Section("means over sets", headings, lines)


def _of_set(rows: Sequence[Row], name: str) -> list[Section]:
    whole = pick(rows, set=name, part="all")
    sizes = f"{whole[0]['queries']} queries, {whole[0]['documents']} documents"
    headings = ["method", "queries", "nDCG@10", "gain", "recall@100", "gain", "right order"]
    found = [Section(f"{name}: {sizes}", headings, [_whole(row) for row in whole])]
    methods = distinct(rows, "method")
    # Of plain sets every wording counts; sets under instructions have an aspect for several.
    part = "instruction" if whole[0]["kind"] == "plain" else "aspect"
    lines = []
    for of in distinct(pick(rows, set=name, part=part), "of"):
        own = {row["method"]: row for row in pick(rows, set=name, part=part, of=of)}
        cells = [_gained(own[method]) if method in own else "" for method in methods]
        lines.append([of, str(own[GENERIC]["queries"]), *cells])
    if lines:
        title = f"{name}: nDCG@10 (gain over generic) by {part}"
        found.append(Section(title, [part, "queries", *methods], lines))
    return found


def _whole(row: Row) -> list[str]:
    order = row.get("right order")
    return [
        row["method"],
        str(row["queries"]),
        f"{row['ndcg@10']:.3f}",
        interval(row.get("gain")),
        f"{row['recall@100']:.3f}",
        interval(row.get("recall gain")),
        "" if order is None else f"{order:.3f}",
    ]


def constrained(rows: Sequence[Row]) -> list[Section]:
    """All constraints with intervals, then by kind and by collection."""
    lines = [
        [
            row["method"],
            *(f"{row[each]:.3f} {interval(row.get(f'{each} gain'))}" for each in _CONSTRAINED),
        ]
        for row in pick(rows, part="all")
    ]
    cases = rows[0]["cases"]
    title = f"constraints: shares of the ten best and gain over generic, {cases} cases"
    found = [Section(title, ["method", *_CONSTRAINED], lines)]
    methods = distinct(rows, "method")
    for part in ("kind", "collection"):
        lines = []
        for of in distinct(pick(rows, part=part), "of"):
            own = {row["method"]: row for row in pick(rows, part=part, of=of)}
            cells = [" / ".join(f"{own[m][each]:.2f}" for each in _CONSTRAINED) for m in methods]
            lines.append([of, str(own[GENERIC]["cases"]), *cells])
        title = f"constraints by {part}: satisfied / on topic / both"
        found.append(Section(title, [part, "cases", *methods], lines))
    return found


def labelled(rows: Sequence[Row]) -> Section:
    """Precision@10 of each label task, and the means."""
    methods, tasks = distinct(rows, "method"), distinct(rows, "task")
    lines = []
    for task in tasks:
        own = {row["method"]: row for row in pick(rows, task=task)}
        lines.append([task, *(f"{own[name]['precision@10']:.3f}" for name in methods)])
    parts = [pick(rows, method=name) for name in methods]
    lines.append(["mean", *(f"{mean(row['precision@10'] for row in own):.3f}" for own in parts)])
    title = f"label tasks without a fit: precision@10, up to {rows[0]['queries']} queries a task"
    return Section(title, ["task", *methods], lines)


def interval(difference: Mapping[str, float] | None) -> str:
    """A difference with its interval; empty where there is none."""
    if difference is None:
        return ""
    value, low, high = (signed(difference[key]) for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def distinct(rows: Sequence[Row], key: str) -> list[str]:
    """Values of a key, each once, in order."""
    return list(dict.fromkeys(row[key] for row in rows))


def pick(rows: Sequence[Row], **wanted: str) -> list[Row]:
    """The rows with these values."""
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def _gained(row: Row) -> str:
    if row["method"] == GENERIC:
        return f"{row['ndcg@10']:.3f}"
    return f"{row['ndcg@10']:.3f} ({signed(row['ndcg@10'] - row['generic ndcg@10'])})"
