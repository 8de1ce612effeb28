"""Pictures of docs/evidence.md; each carries the digest of the results that it shows."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.environment import load
from benchmarks.evidence_peers import SHOWN_N, cost, means, methods
from benchmarks.peers import LABEL_FREE, REENCODED
from benchmarks.peers_methods import LDA, PEERS
from benchmarks.transform import FOLDED, GENERIC, GSTRANSFORM, POSTERIOR, RESCORED

Data = dict[str, Any]
_DPI = 120
_INK, _PALE, _FRAME = "#1F2328", "#59636E", "#D8DEE4"
# Told apart with any colour vision (Okabe and Ito).
_OURS, _PEER, _TEXTS = "#0072B2", "#E69F00", "#009E73"
_SIX = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
_GROWING = {
    GENERIC: _PALE,
    RESCORED: _OURS,
    LABEL_FREE: "#56B4E9",
    GSTRANSFORM: "#E69F00",
    LDA: "#CC79A7",
    POSTERIOR: "#D55E00",
    REENCODED: _TEXTS,
}


def pictures() -> dict[str, Data]:
    """What each picture shows, by its name; pictures without results are left out."""
    found = {"evidence-quality": _quality(), "evidence-growth": _growth(), "evidence-map": _map()}
    return {name: data for name, data in found.items() if data}


def digest(data: Data) -> str:
    """Tells whether a picture shows these data."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def draw_all(folder: Path) -> list[Path]:
    """Draw the pictures; nothing in them depends on the day."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, data in pictures().items():
        file = folder / f"{name}.png"
        about = {"Software": None, "Description": digest(data)}
        _DRAWN[name](data).savefig(file, dpi=_DPI, metadata=about)
        files.append(file)
    return files


def _quality() -> Data:
    """Precision@10 and seconds of a new instruction of each method."""
    peers, scale, query = load("peers"), load("peers-scale"), load("query")
    if not (peers and scale):
        return {}
    points = [
        {
            "method": name,
            "precision": round(means(peers, name)[0], 3),
            "seconds": spent["seconds"],
        }
        for name in methods(peers)
        # The folded query alone is taught together with what rescores it.
        if (spent := cost(scale, query, RESCORED if name == FOLDED else name, SHOWN_N))
    ]
    return {"n": SHOWN_N, "points": points}


def _growth() -> Data:
    """Seconds and milliseconds by number of vectors."""
    scale, query = load("peers-scale"), load("query")
    if not scale:
        return {}
    sizes = sorted({row["n"] for row in scale["rows"]})
    spent = {name: [(n, cost(scale, query, name, n)) for n in sizes] for name in _GROWING}
    return {
        "seconds": {k: [[n, c["seconds"]] for n, c in v if c] for k, v in spent.items()},
        "ms": {k: [[n, c["ms"]["median"]] for n, c in v if "ms" in c] for k, v in spent.items()},
    }


def _map() -> Data:
    results = load("evidence-map")
    return {name: results[name] for name in ("stored", "aspects")} if results else {}


def _draw_quality(data: Data) -> Figure:
    figure = Figure(figsize=(10, 5), facecolor="white", layout="constrained")
    axes = figure.subplots()
    # Nothing to adapt has no place on a scale of logarithms: it stands at the left edge.
    lowest = min(p["seconds"] for p in data["points"] if p["seconds"] > 0) / 3
    for number, point in enumerate(data["points"], start=1):
        at = (max(point["seconds"], lowest), point["precision"])
        label = f"{number}  {point['method']}"
        axes.plot(*at, "o", ms=15, color=_colour(point["method"]), mec="white", label=label)
        axes.annotate(str(number), at, ha="center", va="center", color="white", fontsize=8)
    axes.set_xscale("log")
    _frame(
        axes,
        "Precision@10, mean over the tasks",
        f"seconds of a new instruction, {data['n']:,} vectors",
    )
    figure.legend(loc="outside right center", frameon=False, fontsize=9, markerscale=0.5)
    return figure


def _colour(method: str) -> str:
    if method in (FOLDED, RESCORED, LABEL_FREE):
        return _OURS
    return _PEER if method in PEERS else _TEXTS if method == REENCODED else _PALE


def _draw_growth(data: Data) -> Figure:
    figure = Figure(figsize=(11, 4.6), facecolor="white", layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, kind, title in (
        (left, "seconds", "Seconds of a new instruction"),
        (right, "ms", "Milliseconds of a query, median"),
    ):
        for name, line in data[kind].items():
            points = [(n, value) for n, value in line if value > 0]
            if points:
                label = name if axes is left or not data["seconds"][name] else None
                xs, ys = zip(*points, strict=True)
                axes.plot(xs, ys, "o-", color=_GROWING[name], label=label)
        axes.set_xscale("log")
        axes.set_yscale("log")
        _frame(axes, title, "stored vectors")
    handles = {}
    for axes in (left, right):
        for line in axes.get_lines():
            handles.setdefault(line.get_color(), line)
    names = [name for name, colour in _GROWING.items() if colour in handles]
    lines = [handles[_GROWING[name]] for name in names]
    figure.legend(lines, names, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def _draw_map(data: Data) -> Figure:
    figure = Figure(figsize=(12, 8), facecolor="white", layout="constrained")
    rows = figure.subplots(2, len(data["aspects"]))
    for column, one in enumerate(data["aspects"]):
        names = sorted(set(one["labels"]))
        colours = [_SIX[names.index(label)] for label in one["labels"]]
        before, after = one["precision@10"]
        heads = (
            f"As stored, by {one['aspect']}: precision@10 {before:.2f}",
            f"{one['instruction']} {after:.2f}",
        )
        for axes, points, head in zip(
            rows[:, column], (data["stored"], one["points"]), heads, strict=True
        ):
            axes.scatter(*zip(*points, strict=True), s=16, c=colours, ec="white", lw=0.3)
            axes.set_title(head, loc="left", fontsize=10, color=_INK)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_color(_FRAME)
        for name, colour in zip(names, _SIX, strict=False):
            rows[1, column].plot([], [], "o", color=colour, label=name)
        rows[1, column].legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=3, frameon=False, fontsize=8
        )
    return figure


def _frame(axes: Axes, title: str, under: str) -> None:
    axes.set_title(title, loc="left", color=_INK, fontsize=11)
    axes.set_xlabel(under, color=_PALE)
    axes.grid(color=_FRAME)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, colors=_INK)


_DRAWN: dict[str, Callable[[Data], Figure]] = {
    "evidence-quality": _draw_quality,
    "evidence-growth": _draw_growth,
    "evidence-map": _draw_map,
}
