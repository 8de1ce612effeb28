"""How far one machine goes, and what more rows cost: the figures of docs/growing.md.

    python -m benchmarks.growing [--rows 30000000] [--dimension 1024] [--machines 8]

Nothing is measured here. What `bench-query`, `bench-scale`, `bench-load` and
`benchmarks.quantisation` have measured is shown, and multiplied by numbers of rows, with the
arithmetic beside it. `benchmarks.report` writes it into the page.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import quantisation
from benchmarks.environment import load
from benchmarks.pages import Tabulate, with_figures
from benchmarks.scale_page import LINK_BYTES, curve, gigabytes, projected
from instruct_embeddings.transform.transform import DEFAULT_PREFETCH

PAGE = Path(__file__).parents[1] / "docs" / "growing.md"
ROWS = (1_000_000, 10_000_000, 100_000_000)
DIMENSION = 384
MACHINES = 8
SAMPLE = 1000
_MACHINE, _FOR_THE_INDEX = 64, 48  # GB
_BYTES = {"float32": 4, "float16": 2, "int8": 1}
_GB, _MB, _HOUR = 1e9, 1e6, 3600


@dataclass(frozen=True)
class Asked:
    """A collection whose costs are worked out.

    Attributes:
        rows: Numbers of rows.
        dimension: Length of the vectors.
        machines: How many encode.
        seconds: That one of them takes for a text; None for what was measured.
    """

    rows: Sequence[int] = ROWS
    dimension: int = DIMENSION
    machines: int = MACHINES
    seconds: float | None = None


def main() -> None:
    """Print the costs of a collection of one's own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="*", default=list(ROWS))
    parser.add_argument("--dimension", type=int, default=DIMENSION, help="length of the vectors")
    parser.add_argument("--machines", type=int, default=MACHINES, help="how many encode")
    parser.add_argument("--seconds", type=float, help="that one of them takes for a text")
    given = parser.parse_args()
    asked = Asked(given.rows, given.dimension, given.machines, given.seconds)
    headings, lines = costs(asked)
    widths = [max(map(len, column)) for column in zip(headings, *lines, strict=True)]
    for line in (headings, *lines):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))


def filled(page: str, tabulate: Tabulate) -> str:
    """The page with its three parts that are made from results replaced."""
    made = (one_machine(tabulate), quantisation.section(tabulate), on_paper(tabulate))
    return with_figures(page, *(f"{text}\n" for text in made))


def one_machine(tabulate: Tabulate) -> str:
    """What was measured, by size."""
    query, scale = load("query"), load("scale")
    lines = [
        [
            f"{n:,}",
            f"{plain:.1f}",
            f"{adapted:.1f}",
            f"{first:.1f}",
            f"{_hours(n):.2f}",
            f"{gigabytes(n, DIMENSION):.2f}",
        ]
        for n, plain, adapted, first in curve(query)
    ]
    headings = (
        *("rows", "plain search, ms", "under a known instruction, ms"),
        *("first answer of a transform, fit included, s", "encoding, hours", "index, GB"),
    )
    searching, size = scale["searching"], load("load")["size"]
    alone, served = _known("embedded"), _known("server")
    return "\n\n".join(
        (
            f"Measured on {query['environment']['cores']} cores with Chroma in the process and "
            f"vectors of {DIMENSION} numbers (`make bench-query DATA=folder`):",
            tabulate(headings, lines),
            f"With {scale['size']:,} rows a process that adapts and searches took at most "
            f"{searching['adapted']['peak MB']:,.0f} MB, one that only queries Chroma "
            f"{searching['plain']['peak MB']:,.0f} MB "
            f"(`make bench-scale`). With {size:,} rows one answered {alone:g} searches a second "
            f"under known instructions, {served:g} where Chroma was a server beside it "
            "(`make bench-load`).",
        )
    )


def on_paper(tabulate: Tabulate) -> str:
    """What more rows cost."""
    load_of, query = load("load"), load("query")
    return "\n\n".join(
        (
            tabulate(*costs(Asked())),
            f"Measured are: seconds of encoding, on a machine of {query['environment']['cores']} "
            "cores; the milliseconds up to a million rows; the seconds of a fit, with labels as "
            "guide (an encoder or a language model reads the same rows, longer); and searches a "
            f"second at {load_of['size']:,} rows, on {load_of['environment']['cores']} cores that "
            "the callers share. All else is multiplication. Two assumptions are in it: an HNSW "
            "search takes as much longer at each tenfold as at the last one that was measured, and "
            "the index stays in memory.",
        )
    )


def costs(asked: Asked) -> tuple[Sequence[str], list[list[str]]]:
    """Headings and lines; each line tells how it is reckoned."""
    query = load("query")
    points = curve(query)
    step = points[-1][2] - points[-2][2]
    fit, at = points[0][3], points[-1]
    reading = at[3] - fit
    base = next(adapted for n, _, adapted, _ in points if n == load("load")["size"])
    known, dimension = _known("embedded"), asked.dimension
    # Transforms measure their own; a search under a filter asks for the default number.
    prefetch = query["results"][-1].get("prefetch", DEFAULT_PREFETCH)
    apart = asked.seconds or _seconds()
    along = prefetch * dimension * 4 / _MB

    def adapted(n: int) -> float:
        return projected(points, n)[1]

    def replica(n: int) -> float:
        return known * base / adapted(n)

    def machines(n: int, size: int) -> int:
        return math.ceil(gigabytes(n, dimension, size) / _FOR_THE_INDEX)

    table: list[tuple[str, str, Callable[[int], str]]] = [
        *(
            (
                f"vectors in {name}, GB",
                f"rows x {dimension} x {size} bytes",
                lambda n, size=size: _number(n * dimension * size / _GB),
            )
            for name, size in _BYTES.items()
        ),
        (
            "links of HNSW, GB",
            "rows x (2 x 16 + 16 / 15) x 4 bytes",
            lambda n: _number(n * LINK_BYTES / _GB),
        ),
        (
            "index in float32, GB",
            "vectors + links",
            lambda n: _number(gigabytes(n, dimension)),
        ),
        (
            f"machines of {_MACHINE} GB that hold it, in float32 / float16 / int8",
            f"(vectors + links) / {_FOR_THE_INDEX} GB, rounded up",
            lambda n: " / ".join(str(machines(n, size)) for size in _BYTES.values()),
        ),
        (
            "encoding on one machine, hours",
            f"rows x {apart:.4f} s / {_HOUR:,}",
            lambda n: _number(n * apart / _HOUR),
        ),
        (
            f"encoding on {asked.machines}, hours",
            f"/ {asked.machines}",
            lambda n: _number(n * apart / _HOUR / asked.machines),
        ),
        (
            "fit of an instruction, s",
            f"{SAMPLE:,} rows, whatever the collection has",
            lambda n: _number(fit),
        ),
        (
            "reading these rows in Chroma, s",
            f"{reading:.1f} s x rows / {at[0]:,}",
            lambda n: _number(reading * n / at[0]),
        ),
        (
            "search under a known instruction, ms",
            f"{at[2]:.1f} + {step:.1f} a tenfold",
            lambda n: _number(adapted(n)),
        ),
        (
            "searches a second of a replica",
            f"{known:g} x {base:.1f} ms / ms of a search",
            lambda n: f"{replica(n):,.0f}",
        ),
        (
            f"vectors that come along, MB a search, with {prefetch} candidates",
            f"{prefetch} x {dimension} x 4 bytes",
            lambda n: _number(along),
        ),
        (
            "and MB a second, at so many searches",
            "product of the two",
            lambda n: f"{along * replica(n):,.0f}",
        ),
    ]
    headings = ("", "reckoned", *(f"{n:,} rows" for n in asked.rows))
    return headings, [[name, how, *map(value, asked.rows)] for name, how, value in table]


def _known(place: str) -> float:
    """Searches a second under known instructions."""
    phases: list[dict[str, Any]] = load("load")["results"][place]["phases"]
    return float(next(one for one in phases if one["phase"] == "known")["searches a second"])


def _seconds() -> float:
    """That encoding a text took."""
    largest = load("query")["results"][-1]
    return float(largest["re-encoding seconds"] / largest["n"])


def _hours(n: int) -> float:
    return n * _seconds() / _HOUR


def _number(value: float) -> str:
    return f"{value:,.1f}" if value >= 1 else f"{value:.2f}"


if __name__ == "__main__":
    main()
