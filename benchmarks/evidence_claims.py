"""The parts of docs/evidence.md that re-examine what papers claim."""

from typing import Any

from benchmarks.encoder_quality_page import ablation_lines
from benchmarks.environment import load
from benchmarks.evidence_peers import cost
from benchmarks.pages import Ran, Tabulate
from benchmarks.peers import REENCODED
from benchmarks.peers_scale import SAMPLED
from benchmarks.transform import GSTRANSFORM, RESCORED


def ratios(tabulate: Tabulate) -> list[str]:
    """GSTransform's speed against re-encoding, by size of collection and sample."""
    scale, query, guides = load("peers-scale"), load("query"), load("guides")
    if not scale:
        return []
    sizes = sorted({row["n"] for row in scale["rows"]})
    rate = scale["texts a second"][REENCODED]
    lines = []
    for one in scale["samples"]:
        seconds = [one["seconds"]] * len(sizes)
        name = f"ours without labels, at most {one['at most']:,} texts ({one['read']:,} read)"
        quality = _of_sample(guides, one["at most"])
        lines.append([name, quality, *_times(sizes, seconds, rate)])
    for name in (RESCORED, GSTRANSFORM):
        seconds = [cost(scale, query, name, n).get("seconds") for n in sizes]
        lines.append([f"{name}, labels at hand", "", *_times(sizes, seconds, rate)])
    return [
        "## GSTransform: “6 to 300 times faster than re-encoding”",
        "Seconds of encoding all texts again with our encoder, by those of a new instruction. The "
        "ratio is no property of a method: it grows with the collection, and falls with the "
        "sample. Below 1, encoding everything is faster. Seconds of the rows without labels were "
        f"measured at {SAMPLED:,} vectors; reading a sample hardly depends on the size. "
        "Precision@10: means over the tasks when exactly so many texts are read "
        "(`make bench-guides`).",
        tabulate(("way", "precision@10", *(f"{n:,} vectors" for n in sizes)), lines),
    ]


def _of_sample(guides: dict[str, Any], size: int) -> str:
    found = [
        row["precision@10"]
        for row in guides.get("rows", ())
        if row["method"] == f"encoder, {size:,} texts"
    ]
    return f"{sum(found) / len(found):.3f}" if found else ""


def _times(sizes: list[int], seconds: list[float | None], rate: float) -> list[str]:
    return [
        "" if own is None else f"{n / rate / own:,.{1 if n / rate / own < 10 else 0}f}"
        for n, own in zip(sizes, seconds, strict=True)
    ]


def ablation(tabulate: Tabulate, ran: Ran) -> list[str]:
    """InstEmb: what anchors, distillation and soft prompts contribute."""
    results = load("ablation")
    if not results:
        return []
    headings = ("variant", "re-encoded, precision@10 / V-measure", "as guide")
    return [
        "## InstEmb's ablation: anchors, distillation, number of soft prompts",
        "`make bench-ablation DATA=folder` (over two hours; not part of `make evidence`)",
        f"{ran(results['environment'])} Each variant differs from the shipped recipe in one thing, "
        f"and was trained for {results['steps']} steps of {results['batch_size']} examples; the "
        f"shipped encoder was trained far longer. Pools of {results['pool']} rows, means over the "
        "tasks, one seed. " + _told_apart(results["variants"]),
        tabulate(headings, ablation_lines(results)),
    ]


def _told_apart(variants: dict[str, dict[str, float]]) -> str:
    base = variants["generic"]["precision@10"]
    trained = [row["precision@10"] for name, row in variants.items() if name != "generic"]
    low, high = min(trained), max(trained)
    found = (
        f"Everything trained lies between {low:.3f} and {high:.3f} when all is re-encoded, generic "
        f"vectors at {base:.3f}."
    )
    if 3 * (high - low) < high - base:
        found += (
            " Next to what training gives, the parts hardly differ: this neither confirms nor "
            "refutes what the paper finds for anchors, distillation and soft prompts in longer "
            "training of larger models."
        )
    return found


def refinement(tabulate: Tabulate, ran: Ran) -> list[str]:
    """GIRCSE: quality and cost against steps."""
    results = load("refinement")
    if not results:
        return []
    rows = results["rows"]
    base, precisions = rows[0], [row["precision@10"] for row in rows]
    lines = [
        [
            str(row["steps"]),
            f"{row['precision@10']:.3f} / {row['v_measure']:.3f}",
            f"{row['milliseconds a text']:.1f}",
            f"{row['milliseconds a text'] / base['milliseconds a text']:.1f}",
        ]
        for row in rows
    ]
    gained = max(precisions[1:]) - precisions[0]
    return [
        "## GIRCSE's test-time scaling: quality and cost against steps",
        "`make bench-refinement DATA=folder` (an hour; not part of `make evidence`)",
        f"{ran(results['environment'])} Model: {results['model']}; everything re-encoded, pools of "
        f"{results['pool']} rows, threads: {results['threads']}. K = 0 pools the input. The best "
        f"number of steps changes precision@10 by {gained:+.4f} against none, and "
        f"{rows[-1]['steps']} steps cost {_by(rows)} times as much. On a backbone of this size, "
        "trained this briefly, we do not see the scaling that the paper reports for models of "
        "billions of parameters; the default encoder takes no steps.",
        tabulate(("K", "precision@10 / V-measure", "ms a text", "in those of K = 0"), lines),
    ]


def _by(rows: list[dict[str, Any]]) -> str:
    return f"{rows[-1]['milliseconds a text'] / rows[0]['milliseconds a text']:.1f}"
