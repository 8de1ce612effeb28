"""What docs/performance.md and the README say about encoding, out of the kept results."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import floor
from typing import Any, TypeAlias

from benchmarks.encode_contestants import BFLOAT16, GRID, OUR_OWN, SENTENCE_TRANSFORMERS
from benchmarks.environment import load
from benchmarks.pages import Ran

Table: TypeAlias = Callable[[Sequence[str], Iterable[Sequence[str]]], str]

_INTROS = {
    "grid": "`encode_grid`: several instructions over the same texts at once, beside a separate "
    "pass for each instruction; the vectors counted are texts times instructions. "
}
_DEVICES = {"cpu": "On a CPU", "cuda": "On a GPU"}
_COMMAND = {"cpu": "DATA=folder", "cuda": 'DATA=folder ARGS="--device cuda"'}


def encoding_page(table: Table, ran: Ran) -> list[str]:
    """The section of docs/performance.md; empty where nothing was measured."""
    found = {device: kept for device in _DEVICES if (kept := read(device))}
    if not found:
        return []
    parts = [
        "## Encoding",
        "Same weights, texts and cores for all. Each contestant runs in a fresh process of its "
        "own, with its defaults unless a type is named; all are loaded and have encoded "
        "everything once before the clock starts, then take turns. Vectors per second are the "
        "median (slowest to fastest) of all rounds; peak memory is that of the whole process; "
        "cosines compare each vector with that of the first row of its comparison. "
        "langchain-huggingface asks for older versions of what it builds on, and runs on the same "
        "ones as the others here.",
    ]
    for device, kept in found.items():
        parts += [f"### {_DEVICES[device]}", f"`make bench-encode {_COMMAND[device]}`"]
        before: dict[str, Any] = {}
        for name, part in kept.items():
            about = part["environment"]
            parts += [] if same_run(before, about) else [f"{ran(about)} {how(about)}"]
            before = about
            parts += [_INTROS.get(name, "") + f"{part['model']}. {texts(part)}"]
            parts += [table(headings(part, name), rows(part, name))]
    return parts


def same_run(before: dict[str, Any], about: dict[str, Any]) -> bool:
    """Whether two parts ran alike; one may have had more contestants."""
    versions, own = before.get("versions", {}), about["versions"]
    alike = all(versions[name] == own[name] for name in versions.keys() & own.keys())
    return alike and before | {"versions": own} == about


def encoding_figures() -> list[str]:
    """The line of the README: of the CPU alone; empty where it was not measured."""
    kept = read("cpu")
    if "minilm" not in kept:
        return []
    about = kept["minilm"]["environment"]
    number = about["versions"][SENTENCE_TRANSFORMERS]
    said = [f"all-MiniLM-L6-v2 {_speeds(kept['minilm'])}"]
    if "causal" in kept:
        said.append(f"a 0.5B-parameter causal backbone {_speeds(kept['causal'])}")
    if "grid" in kept:
        first = kept["grid"]["comparisons"][0]
        said.append(
            f"`encode_grid` with {first['instructions']} instructions "
            f"{_span(_ratios(kept['grid'], GRID))} times as fast as separate passes"
        )
    return [
        f"Texts per second with {about['threads']} threads and the same weights, in those of "
        f"sentence-transformers {number}: {'; '.join(said)} (`make bench-encode DATA=folder`)."
    ]


def read(device: str) -> dict[str, Any]:
    """Kept parts of a device; empty where it was not measured."""
    return load(f"encode-{device}")


def how(about: dict[str, Any]) -> str:
    """What a run depends on besides hardware and versions."""
    fast = ", ".join(about["fast bfloat16"]) or "none known"
    where = "" if about["device"] == "cpu" else f"On one {about['device']}. "
    return (
        f"{where}{about['threads']} threads each, {about['rounds']} rounds, {about['data']}; "
        f"instructions of the processor for bfloat16: {fast}."
    )


def texts(part: dict[str, Any]) -> str:
    """Numbers of texts and tokens."""
    seen = {comparison["texts"]: comparison for comparison in part["comparisons"]}
    return f"Texts: {'; '.join(map(_text_set, seen.values()))}."


def _text_set(comparison: dict[str, Any]) -> str:
    count = comparison["tokens"]
    cut = f", {count['share cut']:.0%} cut to {count['limit']}" if count["share cut"] else ""
    return (
        f"{comparison['texts']}, {count['texts']:,} ({comparison['origin']}): tokens "
        f"{count['mean']} on average, {count['median']} median, {count['max']} at most{cut}"
    )


def headings(part: dict[str, Any], name: str) -> tuple[str, ...]:
    """Of the table of a part."""
    gpu = ("GPU peak MB",) if _on_gpu(part) else ()
    return (
        "texts",
        "encoder",
        "vectors/s",
        "times passes" if name == "grid" else f"times {SENTENCE_TRANSFORMERS}",
        "lowest / mean cosine",
        *(("largest difference",) if name == "grid" else ()),
        "peak MB",
        *gpu,
    )


def rows(part: dict[str, Any], name: str) -> Iterator[list[str]]:
    """One line a contestant and set of texts; those that were missing say so."""
    width = len(headings(part, name))
    for comparison in part["comparisons"]:
        for row in comparison["rows"]:
            rate = row["texts per second"]
            difference = [f"{row['largest difference']:.1e}"] if name == "grid" else []
            yield [
                comparison["texts"],
                row["encoder"],
                f"{rate['median']:,} ({rate['min']:,} to {rate['max']:,})",
                f"{row['ratio']:.2f}",
                f"{row['lowest cosine']:.6f} / {row['mean cosine']:.6f}",
                *difference,
                f"{row['peak MB']:,.0f}",
                *([f"{row['GPU peak MB']:,.0f}"] if _on_gpu(part) else []),
            ]
        for missing in comparison["missing"]:
            yield [comparison["texts"], missing, "not installed", *[""] * (width - 3)]


def _on_gpu(part: dict[str, Any]) -> bool:
    return bool(part["environment"]["device"] != "cpu")


def _speeds(part: dict[str, Any]) -> str:
    slow, fast = (contestant.name for contestant in OUR_OWN)
    lowest = min(row["lowest cosine"] for row in _rows_of(part, fast))
    return (
        f"{_span(_ratios(part, slow))} times in float32, {_span(_ratios(part, fast))} times in "
        f"bfloat16 (lowest cosine {floor(lowest * 1e4) / 1e4}; sentence-transformers itself in "
        f"bfloat16 {_span(_ratios(part, BFLOAT16.name))} times)"
    )


def _rows_of(part: dict[str, Any], start: str) -> list[dict[str, Any]]:
    return [
        row
        for comparison in part["comparisons"]
        for row in comparison["rows"]
        if row["encoder"].startswith(start)
    ]


def _ratios(part: dict[str, Any], start: str) -> list[float]:
    return [row["ratio"] for row in _rows_of(part, start)]


def _span(values: list[float]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"
