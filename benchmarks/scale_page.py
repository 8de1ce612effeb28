"""The part of docs/performance.md about a million vectors, load, and what lies beyond."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.environment import load
from benchmarks.load_report import JUDGE_SECONDS, JUDGED_SHARE, stalls
from benchmarks.pages import Ran, Tabulate

PROJECTED = 100_000_000
_GB = 1e9
# hnswlib, with Chroma's default of 16 links a row, 32 on the lowest layer: four bytes each, and
# lists of higher layers for one row in sixteen.
LINK_BYTES = 4 * (32 + 16 / 15)
_LONG = 10_000.0
_ALIKE = "share of hits that are alike"
_SHOWN = {
    "plain": "only queries Chroma",
    "adapted": "adapts and searches",
    "exact": "adapts and searches with `exact`",
    "adapt and query": "the command line, `adapt` and `query`",
}


def section(tabulate: Tabulate, ran: Ran) -> list[str]:
    """Paragraphs and tables; what was not measured is left out."""
    parts: list[str] = []
    for results, describe in ((load("scale"), _scale), (load("load"), _load)):
        if results:
            parts += describe(results, tabulate, ran)
    query = load("query")
    if parts and query:
        parts += _projection(query, tabulate)
    return parts


def _scale(results: dict[str, Any], tabulate: Tabulate, ran: Ran) -> list[str]:
    indexing, searching = results["indexing"], results["searching"]
    kills = sum(run["killed"] for run in indexing["runs"])
    runs = [
        [
            f"{run['rows before']:,} to {run['rows after']:,}",
            "yes" if run["killed"] else "no",
            f"{run['seconds']:,.0f}",
            _seconds(run["seconds to the first new row"]),
            "yes" if run["made the index anew"] else "no",
            f"{run['peak MB']:,.0f}",
        ]
        for run in indexing["runs"]
    ]
    base = searching["plain"]["peak MB"]
    memory = [
        [_SHOWN[kind], f"{one['peak MB']:,.0f}", f"{one['peak MB'] - base:+,.0f}", _times(one)]
        for kind, one in searching.items()
    ]
    return [
        f"## {results['size']:,} rows through the command line",
        "`python -m benchmarks.scale`",
        f"{ran(results['environment'])} Texts are words drawn at random and the encoder is a tiny "
        f"one built in code, with {results['dimension']} dimensions: reading, resuming, Chroma's "
        f"writing and memory are measured, not encoding. `index` was killed {kills} times with "
        "SIGKILL at random moments and started again. At the end "
        f"{indexing['rows']:,} rows were there, {indexing['duplicates']} of them twice, "
        f"{indexing['lost']} lost; of {indexing['checked']:,} looked at, "
        f"{indexing['wrong text, metadata or vector']} had a wrong text, metadata or vector, and "
        f"{indexing['found again by the index']:,} came first when asked for by their vectors "
        "(the index is approximate). Indexing ran beside other work on the same machine (load "
        "average "
        f"{indexing['load of the machine at the end']}).",
        "Chroma writes its index in place; where that was cut off, all texts were embedded again "
        "(`index --rebuild`; at the commit above, the next run did it by itself).",
        tabulate(
            ("rows", "killed", "seconds", "until the first new row", "index anew", "peak MB"), runs
        ),
        "Peak memory of one process each, and how much that is over Chroma alone:",
        tabulate(("a process that", "peak MB", "over Chroma, MB", "what it did"), memory),
        "Nothing here tells how good results are: among a million texts of so few words every text "
        "has near copies, which agree in everything. The share of hits of the right colour is "
        f"{searching['plain'][_ALIKE]} without a transform, {searching['adapted'][_ALIKE]} with.",
    ]


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f} s"


def _times(one: dict[str, Any]) -> str:
    if "seconds of adapt" in one:
        return f"`adapt` {one['seconds of adapt']} s, `query` {one['seconds of query']} s"
    fit = f"fit {one['seconds to fit']} s, " if "seconds to fit" in one else ""
    each = one["ms of the others"]
    further = f"{each} ms" if each < _LONG else f"{each / 1e3:.0f} s"
    return f"{fit}first search {one['seconds of the first search']} s, further ones {further}"


def _load(results: dict[str, Any], tabulate: Tabulate, ran: Ran) -> list[str]:
    frozen = (
        " The process called `gc.freeze()` before it served: otherwise a full garbage collection, "
        "which stops all threads of Python, may be the longest stall."
    )
    judged = (
        f" In the phase with a judge, {JUDGED_SHARE:.0%} of the searches ask one that takes "
        f"{JUDGE_SECONDS:g} s; its answers are not compared, as its influence changes with what it "
        "says."
    )
    places = results["results"].values()
    asked = any("judged" in phase["kinds"] for place in places for phase in place["phases"])
    parts = [
        "## Under load",
        "`make bench-load DATA=folder`",
        f"{ran(results['environment'])} {results['size']:,} vectors. All callers share one "
        "LangChain retriever; new instructions are fitted while known ones are asked for, and "
        "each answer is compared afterwards with that of a quiet retriever."
        + judged * asked
        + frozen * bool(results.get("frozen")),
    ]
    for place, result in results["results"].items():
        lines = []
        for phase in result["phases"]:
            whole = [str(phase["searches a second"]), *map(str, stalls(phase))]
            for kind, figures in sorted(phase["kinds"].items()):
                lines.append([phase["phase"], kind, *map(str, figures.values()), *whole])
                whole = [""] * len(whole)
        parts += [
            f"**{place}**: {result['callers']} asynchronous callers and {result['threads']} "
            f"threads; {result['new instructions']} new instructions, fits of each: "
            f"{', '.join(map(str, result['fits of each']))}; wrong answers: "
            f"{result['wrong answers']}.",
            tabulate(
                (
                    "phase",
                    "instructions",
                    "searches",
                    "p50 ms",
                    "p99 ms",
                    "searches/s",
                    "longest stall of the event loop, ms",
                    "longest garbage collection, ms",
                ),
                lines,
            ),
        ]
    return parts


def _projection(query: dict[str, Any], tabulate: Tabulate) -> list[str]:
    """The measured curve, and where its last step leads if it goes on."""
    points = curve(query)
    (_, _, _, quick), *_, (n2, _, _, slow) = points
    plain, adapted = projected(points, PROJECTED)
    # What the smallest collection takes too is the fit, and the rest the reading of the sample.
    first = quick + max(0.0, slow - quick) * PROJECTED / n2
    lines = [
        [f"{n:,}", f"{p:.1f}", f"{a:.1f}", f"{f:.1f}", f"{gigabytes(n):,.2f}"]
        for n, p, a, f in points
    ]
    lines.append(
        [
            f"{PROJECTED:,} (projected)",
            f"{plain:.1f}",
            f"{adapted:.1f}",
            f"{first:,.0f}",
            f"{gigabytes(PROJECTED):,.2f}",
        ]
    )
    return [
        f"## On paper: {PROJECTED:,} vectors",
        "Nothing of this size was measured. Means over the instructions of the latency table, and "
        "the last line by these assumptions: an HNSW search visits a number of rows that grows "
        "with the logarithm of n, so each tenfold adds what the last one added; folding and "
        "rescoring do not depend on n; the prefetch stays as it is, and what recall it then has is "
        "not claimed; a fit takes as long as in the smallest collection, and reading its sample "
        "grows in proportion, since the store counts rows up to an offset; and the index stays "
        "in memory, at four bytes a number and Chroma's default number of links. Where the last "
        "column exceeds the memory of one machine, the collection has to be split or served from "
        "disk, and nothing here tells how fast that is.",
        tabulate(
            ("vectors", "plain ms", "adapted ms", "first answer s", "index in memory, GB"), lines
        ),
    ]


def curve(query: dict[str, Any]) -> list[tuple[int, float, float, float]]:
    """Rows, plain ms, adapted ms and seconds to the first answer; means over the instructions."""
    return [
        (
            result["n"],
            _mean(row["plain ms"]["median"] for row in result["aspects"]),
            _mean(row["adapted ms"]["median"] for row in result["aspects"]),
            _mean(row["first answer s"] for row in result["aspects"]),
        )
        for result in query["results"]
    ]


def projected(points: Sequence[tuple[int, float, float, float]], n: int) -> tuple[float, float]:
    """Plain and adapted ms at n rows, where each tenfold adds what the last one added."""
    (n1, plain1, adapted1, _), (n2, plain2, adapted2, _) = points[-2:]
    tenfolds = math.log10(n / n2) / math.log10(n2 / n1)
    return (
        plain2 + tenfolds * max(0.0, plain2 - plain1),
        adapted2 + tenfolds * max(0.0, adapted2 - adapted1),
    )


def gigabytes(n: int, dimension: int = 384, size: int = 4) -> float:
    """Of an index: vectors of numbers of so many bytes, and links."""
    return n * (dimension * size + LINK_BYTES) / _GB


def _mean(values: Iterable[float]) -> float:
    kept = list(values)
    return sum(kept) / len(kept)
