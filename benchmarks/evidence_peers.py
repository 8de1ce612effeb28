"""The parts of docs/evidence.md about peers: quality, and costs by size."""

from statistics import mean
from typing import Any, TypeAlias

from benchmarks.environment import load
from benchmarks.pages import Ran, Tabulate
from benchmarks.peers import LABEL_FREE, PREFIX, REENCODED
from benchmarks.peers_methods import PEERS
from benchmarks.transform import FOLDED, GENERIC, RESCORED

Results: TypeAlias = dict[str, Any]
SHOWN_N = 100_000
_LEARNS = {
    GENERIC: "nothing",
    PREFIX: "nothing",
    **dict.fromkeys(PEERS, "labels"),
    FOLDED: "labels",
    RESCORED: "labels",
    LABEL_FREE: "texts of a sample",
    REENCODED: "nothing",
}


def methods(peers: Results) -> list[str]:
    """The methods, in the order of the run."""
    return list(dict.fromkeys(row["method"] for row in peers["rows"]))


def by_task(peers: Results, method: str) -> dict[str, dict[str, Any]]:
    """The rows of a method by task."""
    return {row["task"]: row for row in peers["rows"] if row["method"] == method}


def means(peers: Results, method: str) -> tuple[float, float]:
    """Precision@10 and V-measure, means over the tasks."""
    rows = by_task(peers, method).values()
    return mean(row["precision@10"] for row in rows), mean(row["v_measure"] for row in rows)


def better(peers: Results, method: str, than: str) -> int:
    """Tasks on which a method has the higher precision@10."""
    ours = by_task(peers, than)
    return sum(
        row["precision@10"] > ours[task]["precision@10"]
        for task, row in by_task(peers, method).items()
    )


def cost(scale: Results, query: Results, method: str, n: int) -> dict[str, Any]:
    """Seconds, milliseconds and MB of a method at a size; empty where it was not measured.

    What `benchmarks.query` measured stands in where a collection is too large to be built on
    the way.
    """
    for row in scale["rows"]:
        if (row["method"], row["n"]) == (method, n):
            return dict(row)
    for result in query.get("results", ()):
        for row in result["aspects"]:
            if (result["n"], row["aspect"]) == (n, scale["aspect"]):
                if method == GENERIC:
                    return {"seconds": 0.0, "ms": row["plain ms"], "kept": True}
                if method == RESCORED:
                    return {"seconds": row["first answer s"], "ms": row["adapted ms"], "kept": True}
    return {}


def quality(tabulate: Tabulate, ran: Ran) -> list[str]:
    """Quality, and what it costs at one size."""
    peers, scale, query = load("peers"), load("peers-scale"), load("query")
    if not (peers and scale):
        return []
    generic = by_task(peers, GENERIC)
    lines = []
    for name in methods(peers):
        own = by_task(peers, name)
        worst = min(own[task]["precision@10"] - generic[task]["precision@10"] for task in own)
        spent = cost(scale, query, name, SHOWN_N)
        lines.append([name, _LEARNS[name], _both(peers, name), f"{worst:+.3f}", *_cells(spent)])
    headings = (
        "method",
        "learns from",
        "precision@10 / V-measure",
        "worst task",
        "s a new instruction",
        "ms a query (p95)",
        "MB",
    )
    return [
        "## Peers side by side",
        "`python -m benchmarks.peers --data folder` and "
        "`python -m benchmarks.peers_scale --data folder`",
        "![Quality against seconds of adaptation](images/evidence-quality.png)",
        *_how(peers, scale, ran),
        tabulate(headings, lines),
        _about_peers(peers["adapter"]),
        "By task, precision@10:",
        tabulate(("task", *methods(peers)), _task_lines(peers)),
    ]


def _how(peers: Results, scale: Results, ran: Ran) -> list[str]:
    rates = scale["texts a second"]
    return [
        f"Quality: {ran(peers['environment'])} Precision@10 / V-measure of k-means, means over "
        f"{len(by_task(peers, GENERIC))} tasks; worst task is the smallest gain in precision@10 "
        "over the generic vectors. All rank the same pools of at most 1,500 rows for the same 500 "
        "queries, and those that learn from labels get the same rows, at most 1,000. Our encoder "
        f"is {peers['model']}.",
        f"Costs at {SHOWN_N:,} stored vectors: {ran(scale['environment'])} Threads: "
        f"{scale['threads']}. A new instruction: from a loaded index, or loaded vectors, to the "
        "first query that can be answered. A query: from its generic vector to ten rows. MB: "
        "growth of the process at its peak, the index or the vectors that it searches included. "
        "Each method has a process of its own. What changes every stored vector gets them as a "
        "file; reading them out of a database comes on top. Encoding again is multiplied from "
        f"{rates[REENCODED]} (our encoder) and {rates[PREFIX]} (instruction in front) texts a "
        "second; building its index comes on top.",
        *([f"**{scale['remark']}**"] if scale.get("remark") else []),
    ]


def _about_peers(adapter: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in adapter["versions"].items())
    return (
        f"The adapter ({versions}) is trained on pairs of texts that share a label; as documented "
        f"means {_training(adapter['as documented'])}, which hardly moves it from the identity "
        f"that it starts from; trained longer means {_training(adapter['trained longer'])}, the "
        "best of three on three of these tasks. Its package is no longer maintained and runs here "
        "on newer versions than it asks for. The centroid classifier gives all queries that it "
        "takes for one label the same answer."
    )


def growth(tabulate: Tabulate) -> list[str]:
    """Costs as the number of stored vectors grows."""
    scale, query = load("peers-scale"), load("query")
    if not scale:
        return []
    sizes = sorted({row["n"] for row in scale["rows"]})
    names = [name for name in _LEARNS if cost(scale, query, name, sizes[0])]
    measured = {(row["n"], row["method"]) for row in scale["rows"]}
    missing = (
        " Empty where it was not measured: an index of a million vectors takes half an hour to "
        "build; those figures come from `make bench-query`."
    ) * any((size, name) not in measured for size in sizes for name in names)
    parts = [
        "## As a collection grows",
        "![Seconds of a new instruction and milliseconds of a query by number of "
        "vectors](images/evidence-growth.png)",
        f"{scale['vectors']:,} real vectors mixed in pairs; “{scale['instruction']}”, "
        f"at most {scale['labels']:,} labelled rows.{missing}",
    ]
    for title, place in (("s a new instruction", 0), ("ms a query (p95)", 1), ("MB", 2)):
        lines = [
            [n, *(_cells(cost(scale, query, n, size))[place] for size in sizes)] for n in names
        ]
        lines = [line for line in lines if any(line[1:])]
        parts += [f"**{title}**", tabulate(("method", *(f"{s:,}" for s in sizes)), lines)]
    return parts


def _both(peers: Results, method: str) -> str:
    precision, v_measure = means(peers, method)
    return f"{precision:.3f} / {v_measure:.3f}"


def _cells(spent: dict[str, Any]) -> list[str]:
    if not spent:
        return ["", "", ""]
    ms = spent.get("ms")
    times = f"{ms['median']} ({ms['p95']})" if ms else ""
    return [f"{spent['seconds']:,}", times, f"{spent['MB']:,}" if "MB" in spent else ""]


def _training(one: dict[str, Any]) -> str:
    return (
        f"{one['epochs']} passes over {one['partners']} pair{'s' * (one['partners'] > 1)} a text "
        f"in batches of {one['batch']} at a rate of {one['rate']:g}"
    )


def _task_lines(peers: Results) -> list[list[str]]:
    columns = [by_task(peers, name) for name in methods(peers)]
    return [
        [task, *(f"{column[task]['precision@10']:.3f}" for column in columns)]
        for task in columns[0]
    ]
