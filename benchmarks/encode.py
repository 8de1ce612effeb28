"""Texts per second and peak memory of our encoder beside its peers: same weights, texts and cores.

    python -m benchmarks.encode [--data FOLDER] [--device cpu|cuda] [--parts minilm causal]

Each contestant runs in a fresh process of its own with its defaults; all are loaded before the
clock starts and take turns. Three parts: all-MiniLM-L6-v2; a causal backbone with random weights;
eight instructions at once beside eight passes. Results are kept by device and part.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.encode_contestants import (
    BFLOAT16,
    GRID,
    OUR_OWN,
    PASSES,
    PEERS,
    Contestant,
    Job,
)
from benchmarks.encode_hardware import accelerator, fast_bfloat16, usable_cores
from benchmarks.encode_models import (
    HALF_BILLION,
    SMALL,
    Shape,
    build_causal,
    minilm,
    saved_limit,
)
from benchmarks.encode_rounds import compare, run_apart
from benchmarks.encode_texts import INSTRUCTIONS, TextSet, read_sets, texts_of_exactly
from benchmarks.encode_texts import token_statistics as tokens
from benchmarks.environment import environment, load, save

PARTS = ("minilm", "causal", "grid")
SETS = ("short", "long", "very long")
ROUNDS = 5
GRID_TOKENS = 200
_CAUSAL_TEXTS_ON_CPU = {"short": 128, "long": 24}
_GRID_TEXTS = {"cpu": 32, "cuda": 256}
_GRID_TEXTS_FULL_ON_CPU = 8

_err = Console(stderr=True)


def main() -> None:
    """Measure, print, keep."""
    arguments = read_arguments()
    # For the processes to come; torch is told again by each.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = str(arguments.threads)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sets = read_sets(arguments.data, arguments.quick)
    run = {"minilm": run_minilm, "causal": run_causal, "grid": run_grid}
    for part in arguments.parts:
        with TemporaryDirectory() as folder:
            # The grid cuts its texts from the long ones.
            chosen = sets if part == "grid" else [s for s in sets if s.name in arguments.sets]
            result = run[part](chosen, Path(folder), arguments)
        for comparison in result["comparisons"]:
            show(result["model"], comparison)
        if arguments.quick:
            Console().print("a quick run: not kept")
        else:
            Console().print(f"kept in {keep(part, result, arguments)}")


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder that holds dev/; the tickets without it")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--sets", nargs="*", choices=SETS, default=SETS)
    parser.add_argument("--rounds", type=int, help=f"at least {ROUNDS}, the default; 2 if quick")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="of every contestant")
    parser.add_argument("--full", action="store_true", help="0.5B parameters in the grid on a CPU")
    parser.add_argument("--quick", action="store_true", help="few texts, a small causal backbone")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (2 if arguments.quick else ROUNDS)
    if arguments.rounds < ROUNDS and not arguments.quick:
        parser.error(f"--rounds {arguments.rounds} is less than {ROUNDS}: add --quick")
    return arguments


def run_minilm(sets: list[TextSet], _: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """All-MiniLM-L6-v2: every peer, and ours in two types."""
    contestants = (*PEERS, BFLOAT16, *OUR_OWN)
    found = [measure(contestants, texts, minilm(), arguments) for texts in sets]
    return as_part("all-MiniLM-L6-v2", found, arguments)


def run_causal(sets: list[TextSet], folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """A causal backbone: sentence-transformers and ours, in two types each."""
    shape = SMALL if arguments.quick else HALF_BILLION
    model = build(folder, shape, sets, arguments.seed)
    contestants = (PEERS[0], BFLOAT16, *OUR_OWN)
    if arguments.device == "cpu":
        sets = [s.first(_CAUSAL_TEXTS_ON_CPU[s.name]) for s in sets if s.name != "very long"]
    found = [measure(contestants, texts, model, arguments) for texts in sets]
    return as_part(f"{shape}; last token, unit length", found, arguments)


def run_grid(sets: list[TextSet], folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Several instructions at once beside a pass for each, in two types."""
    whole = arguments.device == "cuda" or arguments.full
    shape = HALF_BILLION if whole and not arguments.quick else SMALL
    model = build(folder, shape, sets, arguments.seed)
    texts = texts_of_exactly(GRID_TOKENS, grid_size(arguments), model, sets[1].texts)
    found = [
        measure((Contestant(PASSES, t), Contestant(GRID, t)), texts, model, arguments, INSTRUCTIONS)
        for t in ("float32", "bfloat16")
    ]
    return as_part(str(shape), found, arguments)


def grid_size(arguments: argparse.Namespace) -> int:
    """How many texts the grid has."""
    if arguments.quick:
        return 4
    if arguments.full and arguments.device == "cpu":
        return _GRID_TEXTS_FULL_ON_CPU
    return _GRID_TEXTS[arguments.device]


def build(folder: Path, shape: Shape, sets: list[TextSet], seed: int) -> Path:
    """A causal backbone whose tokenizer knows the texts."""
    _err.print(f"building {shape}")
    model = folder / "causal"
    run_apart(build_causal, model, shape, [text for s in sets for text in s.texts], seed)
    return model


def measure(
    contestants: tuple[Contestant, ...],
    texts: TextSet,
    model: Path,
    arguments: argparse.Namespace,
    instructions: tuple[str, ...] = (),
) -> dict[str, Any]:
    """One comparison and what it was about."""
    _err.print(f"{len(texts.texts)} {texts.name} texts: {', '.join(c.name for c in contestants)}")
    job = Job(model, texts.texts, arguments.device, arguments.threads, instructions)
    found = compare(contestants, job, arguments.rounds)
    for name in found.missing:
        _err.print(f"{name} is not installed and left out")
    return {
        "texts": texts.name,
        "origin": texts.origin,
        "tokens": tokens(model, texts.texts, saved_limit(model)),
        "instructions": len(instructions),
        "rows": found.rows,
        "missing": found.missing,
        "versions": found.versions,
    }


def as_part(
    model: str, comparisons: list[dict[str, Any]], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Comparisons, and where and how they ran."""
    about = environment(arguments.seed)
    for comparison in comparisons:
        about["versions"] |= comparison.pop("versions")
    about |= {
        "threads": arguments.threads,
        "fast bfloat16": fast_bfloat16(),
        "device": accelerator() if arguments.device == "cuda" else "cpu",
        "rounds": arguments.rounds,
        "data": "dev texts" if arguments.data else "shipped tickets",
    }
    return {"environment": about, "model": model, "comparisons": comparisons}


def keep(part: str, result: dict[str, Any], arguments: argparse.Namespace) -> Path:
    """Put a part into the results of its device; other parts stay."""
    name = f"encode-{arguments.device}"
    kept = load(name)
    return save(name, {p: {**kept, part: result}[p] for p in PARTS if p in kept or p == part})


def show(model: str, comparison: dict[str, Any]) -> None:
    """One table a comparison."""
    count = comparison["tokens"]
    table = Table(
        title=f"{model}\n{count['texts']} {comparison['texts']} texts ({comparison['origin']}), "
        f"{count['mean']} tokens on average, {count['median']} median, {count['max']} at most"
        + (f", {comparison['instructions']} instructions" if comparison["instructions"] else "")
    )
    for heading in ("encoder", "vectors/s", "min to max", "ratio", "lowest cosine", "mean cosine"):
        table.add_column(heading)
    for heading in ("largest difference", "peak MB (loaded)", "GPU peak MB"):
        table.add_column(heading)
    for row in comparison["rows"]:
        table.add_row(*cells(row))
    Console(width=170).print(table)


def cells(row: dict[str, Any]) -> Iterator[str]:
    """One contestant."""
    rate = row["texts per second"]
    yield from (row["encoder"], f"{rate['median']:,}", f"{rate['min']:,} to {rate['max']:,}")
    yield f"{row['ratio']:.2f}"
    yield from (f"{row['lowest cosine']:.6f}", f"{row['mean cosine']:.6f}")
    yield from (
        f"{row['largest difference']:.1e}",
        f"{row['peak MB']:,.0f} ({row['loaded MB']:,.0f})",
    )
    yield str(row.get("GPU peak MB", ""))


if __name__ == "__main__":
    main()
