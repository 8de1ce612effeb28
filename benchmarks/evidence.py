"""Rerun what docs/evidence.md shows, and write the page and its pictures.

    python -m benchmarks.evidence --data FOLDER [--quick] [--output FOLDER]
    python -m benchmarks.evidence --page-only

Peers, their costs as a collection grows, the map, LIMIT, mteb and instruction following are
measured; of ablation, refinement, guides, judges and query latency, which take long, the kept
results are shown. With --quick everything is measured on few texts, its tables are printed, no
results are kept, and the page is written to the output folder from the results kept before. A test
compares the page with what this module makes of `results/`.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from tempfile import mkdtemp

from rich.console import Console

from benchmarks import causal_page, instruction_following_page, judge_page, limit_page, mteb_page
from benchmarks.environment import load
from benchmarks.evidence_claims import ablation, ratios, refinement
from benchmarks.evidence_losses import losses
from benchmarks.evidence_peers import growth, quality
from benchmarks.evidence_plots import draw_all
from benchmarks.report import ROOT, ran, tabulate

PAGE = ROOT / "docs" / "evidence.md"
# Each in a process of its own, so that none leaves memory or threads to the next.
PARTS = ("peers", "peers_scale", "limit", "mteb_local", "instruction_following")


def main() -> int:
    """Measure unless only the page is wanted, then write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder that holds dev/")
    parser.add_argument("--quick", action="store_true", help="few texts; keeps nothing")
    parser.add_argument("--page-only", action="store_true", help="from the kept results")
    parser.add_argument("--output", type=Path, help="folder of the page; docs/, or a new one")
    arguments = parser.parse_args()
    if not arguments.page_only:
        if arguments.data is None:
            parser.error("measuring needs --data, the folder that holds dev/; or --page-only")
        measure(arguments.data, quick=arguments.quick)
    aside = Path(mkdtemp(prefix="evidence-")) if arguments.quick else PAGE.parent
    folder = arguments.output or aside
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / PAGE.name
    file.write_text(page(), encoding="utf-8")
    draw_all(folder / "images")
    Console().print(f"written to {file}")
    return 0


def measure(data: Path, *, quick: bool) -> None:
    """Run the parts; the first that fails ends it."""
    for name in (*PARTS, *(() if quick else ("evidence_map",))):
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        if name in PARTS:
            command += ["--data", str(data.resolve()), *(["--quick"] if quick else [])]
        started = time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True)
        Console(stderr=True).print(f"{name}: {time.perf_counter() - started:.0f} s")


def page() -> str:
    """The whole of docs/evidence.md."""
    parts = [
        "# Evidence",
        "Made from `benchmarks/results/` by `python -m benchmarks.evidence "
        "--page-only`. `make evidence DATA=folder` measures again what takes minutes; sections "
        "that take hours name their own command. DATA is a folder of public labelled texts, "
        "described in [benchmarks](../benchmarks/README.md). More tables: "
        "[performance](performance.md).",
        *losses(),
        *quality(tabulate, ran),
        *growth(tabulate),
        *ratios(tabulate),
        *_map(),
        *ablation(tabulate, ran),
        *refinement(tabulate, ran),
        *causal_page.section(tabulate, ran),
        *limit_page.section(tabulate, ran),
        *mteb_page.section(tabulate, ran),
        *instruction_following_page.section(tabulate, ran),
        *judge_page.section(tabulate, ran),
    ]
    return "\n\n".join(parts) + "\n"


def _map() -> list[str]:
    results = load("evidence-map")
    if not results:
        return []
    lines = [
        [one["instruction"], *(f"{value:.3f}" for value in one["precision@10"])]
        for one in results["aspects"]
    ]
    return [
        "## One corpus under three instructions",
        "![The sample tickets as stored, and under three instructions, coloured by their "
        "labels](images/evidence-map.png)",
        f"`python -m benchmarks.evidence_map`. {ran(results['environment'])} The sample "
        f"tickets, {len(results['stored'])} of them, adapted without labels by {results['model']}; "
        "labels only colour the points and measure precision@10. The texts were written for this "
        "package, each with a label of every kind: a demonstration, no benchmark.",
        tabulate(("instruction", "precision@10 as stored", "under the instruction"), lines),
    ]


if __name__ == "__main__":
    sys.exit(main())
