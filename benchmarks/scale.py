"""A million rows through the command line, killed on the way, then adapted and searched.

    python -m benchmarks.scale [--size 1000000] [--kills 5] [--stage all|index|search]

The texts are words drawn at random, and the encoder is built here: one small layer of random
weights, whose embeddings have 384 dimensions. Encoding real texts with a real model takes longer
than all the rest (see `make bench-query`). What is measured is that rest: reading, resuming,
Chroma's writing, memory. `index` is killed with SIGKILL at random moments and started again; then
every row must be there once, with the right vector. `search` measures processes that open what
`index` left: one that only queries Chroma, and those that adapt, beside it. The two stages can run
apart, so that the long first one may share the machine.
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
from rich.console import Console

from benchmarks.environment import environment, save
from benchmarks.scale_process import KINDS, Ended, run_until, run_whole
from benchmarks.scale_report import show
from benchmarks.tasks import CACHE
from instruct_embeddings import InstructEncoder
from tests.models import WORDS, build_model

NAME = "rows"
DIMENSION = 384
SHAPES = ("ball", "cube", "ring")
COLOURS = ("red", "green", "blue")
INSTRUCTION = "Which colour is it?"
CHECKED = 1000
_LONGEST_DELAY = 2.0
_PAGE = 10_000

_err = Console(stderr=True)


def main() -> None:
    """Index, search, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--stage", choices=("all", "index", "search"), default="all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a smoke run that keeps nothing")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.size, arguments.kills = 20_000, 2
    folder = CACHE / f"scale-{arguments.size}"
    kept = folder / "indexing.json"
    if arguments.stage != "search":
        kept.write_text(json.dumps(index(folder, arguments)), encoding="utf-8")
    results: dict[str, Any] = {"size": arguments.size, "dimension": DIMENSION}
    results["indexing"] = json.loads(kept.read_text(encoding="utf-8"))
    if arguments.stage != "index":
        results["searching"] = {kind: search(folder, kind) for kind in KINDS}
        results["searching"]["adapt and query"] = by_command(folder, arguments.size)
    show(results)
    if not arguments.quick and "searching" in results:
        about = {"environment": environment(arguments.seed)}
        Console().print(f"kept in {save('scale', {**about, **results})}")


def index(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Index all rows, killed several times; what happened, and whether all is there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(arguments.seed)
    write_rows(folder / "rows.jsonl", arguments.size, rng)
    build_model(
        folder / "model",
        "bert",
        hidden_size=DIMENSION,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
    )
    points = np.sort(rng.integers(1, arguments.size, arguments.kills)).tolist()
    runs = []
    for point in [*points, None]:
        delay = float(rng.uniform(0, _LONGEST_DELAY))
        command = _index_command(folder)
        ended = run_until(command, folder / "db", point, delay)
        if ended.damaged:
            ended = run_until([*command, "--rebuild"], folder / "db", point, delay)
        runs.append(ended.to_dict())
        _err.print(f"{ended.before:,} to {ended.after:,} rows, {ended.seconds:.0f} s")
    return {
        "runs": runs,
        "seconds": round(sum(run["seconds"] for run in runs), 1),
        "load of the machine at the end": round(os.getloadavg()[2], 2),
        **check(folder, arguments.size, rng),
    }


def write_rows(file: Path, size: int, rng: np.random.Generator) -> None:
    """A colour and a shape among words that tell nothing, and both of them as metadata."""
    others = np.array([word for word in WORDS if word not in (*SHAPES, *COLOURS)])
    with file.open("w", encoding="utf-8") as stream:
        for row in range(size):
            colour, shape = COLOURS[rng.integers(3)], SHAPES[rng.integers(3)]
            words = [*others[rng.integers(0, len(others), 4)].tolist(), colour, shape]
            text = " ".join(words[i] for i in rng.permutation(len(words)))
            about = {"id": f"r{row}", "text": text, "colour": colour, "shape": shape}
            stream.write(json.dumps(about) + "\n")


def _index_command(folder: Path) -> list[str]:
    rows = str(folder / "rows.jsonl")
    return [*_command("index"), rows, *_place(folder), "--model", str(folder / "model"), "--json"]


def _command(name: str) -> list[str]:
    return [sys.executable, "-m", "instruct_embeddings.cli", name]


def _place(folder: Path) -> list[str]:
    return ["--store", str(folder / "db"), "--collection", NAME]


def check(folder: Path, size: int, rng: np.random.Generator) -> dict[str, Any]:
    """Every row once, and the right text, metadata and vector on a sample."""
    client = chromadb.PersistentClient(str(folder / "db"))
    collection = client.get_collection(NAME, embedding_function=None)
    ids: list[str] = []
    for start in range(0, size + _PAGE, _PAGE):
        ids += collection.get(limit=_PAGE, offset=start, include=[])["ids"]
    places = np.sort(rng.choice(size, CHECKED, replace=False)).tolist()
    rows = lines_of(folder / "rows.jsonl", places)
    asked = [row["id"] for row in rows]
    got = collection.get(asked, include=["documents", "metadatas", "embeddings"])
    stored = dict(
        zip(
            got["ids"],
            zip(got["documents"] or [], got["metadatas"] or [], got["embeddings"], strict=True),
            strict=True,
        )
    )
    with InstructEncoder.from_pretrained(folder / "model") as encoder:
        expected = encoder.encode([row["text"] for row in rows])
    wrong = sum(
        not _is_right(stored.get(row["id"]), row, vector)
        for row, vector in zip(rows, expected, strict=True)
    )
    found = collection.query(query_embeddings=expected, n_results=1, include=["documents"])
    nearest = [documents[0] for documents in found["documents"] or []]
    texts = [_bag(row["text"]) for row in rows]
    return {
        "rows": collection.count(),
        "duplicates": len(ids) - len(set(ids)),
        "lost": len({f"r{row}" for row in range(size)} - set(ids)),
        "checked": len(rows),
        "wrong text, metadata or vector": wrong,
        "found again by the index": sum(
            _bag(text) == wanted for text, wanted in zip(nearest, texts, strict=True)
        ),
    }


def lines_of(file: Path, places: list[int]) -> list[dict[str, str]]:
    """Some rows of the file."""
    wanted = set(places)
    with file.open(encoding="utf-8") as stream:
        return [json.loads(line) for number, line in enumerate(stream) if number in wanted]


def _is_right(stored: Any, row: dict[str, str], vector: Any) -> bool:
    if stored is None:
        return False
    text, metadata, found = stored
    about = {"colour": row["colour"], "shape": row["shape"]}
    close = bool(np.allclose(np.asarray(found), vector, atol=1e-5))
    return text == row["text"] and dict(metadata) == about and close


def _bag(text: str) -> list[str]:
    return sorted(text.split())


def search(folder: Path, kind: str) -> dict[str, Any]:
    """What a process of one kind says at its end, and the most memory that it had."""
    shutil.rmtree(folder / "transforms", ignore_errors=True)
    module = [sys.executable, "-m", "benchmarks.scale_process"]
    ended = run_whole([*module, kind, str(folder / "db"), NAME, INSTRUCTION, "colour"])
    _err.print(f"{kind}: {ended.peak:,.0f} MB, {ended.seconds:.0f} s")
    return {**ended.told, "peak MB": ended.peak}


def by_command(folder: Path, size: int) -> dict[str, Any]:
    """The same by the command line: a transform is fitted, and a text is asked for under it."""
    transforms = ["--transforms", str(folder / "transforms")]
    adapt = [*_command("adapt"), INSTRUCTION, *_place(folder), *transforms]
    text = lines_of(folder / "rows.jsonl", [size // 2])[0]["text"]
    query = [*_command("query"), text, *_place(folder), *transforms, "-i", INSTRUCTION]
    query += ["--model", str(folder / "model"), "--json"]
    ended: list[Ended] = [
        run_whole([*adapt, "--metadata-key", "colour", "--refit", "--json"]),
        run_whole(query),
    ]
    return {
        "peak MB": max(one.peak for one in ended),
        "seconds of adapt": round(ended[0].seconds, 1),
        "seconds of query": round(ended[1].seconds, 1),
        "hits": len(ended[1].told["adapted"]),
    }


if __name__ == "__main__":
    main()
