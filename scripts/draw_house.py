"""Draw the packages of the project and who imports whom, from the imports themselves.

    python scripts/draw_house.py            write docs/images/house.svg
    python scripts/draw_house.py --print    a table on stdout: modules and lines too

Rooms stand above what they import. An arrow is left out where another way leads there already.
"""

import argparse
import ast
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import grimp

from instruct_embeddings import _EXPORTS

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs/images/house.svg"
CORE = "instruct_embeddings"
ADAPTERS = {
    "chroma_instruct_embeddings": "Chroma adapter",
    "langchain_instruct_embeddings": "LangChain adapter",
    "llama_index_instruct_embeddings": "LlamaIndex adapter",
    "milvus_instruct_embeddings": "Milvus adapter",
    "postgres_instruct_embeddings": "PostgreSQL adapter",
    "qdrant_instruct_embeddings": "Qdrant adapter",
    "ray_instruct_embeddings": "Ray Data",
}
GROUND = "ground"
_GROUND_LINE = "What everything stands on: protocols, settings, supervision, errors."
_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _LINE, _EDGE = 290, 84, 24, 46, 17, 16
_CHARACTERS = 38


@dataclass(frozen=True)
class Room:
    """A package: what it is for, what it imports, how much there is of it."""

    name: str
    line: str
    imports: frozenset[str]
    modules: int
    lines: int


def rooms() -> dict[str, Room]:
    """The packages by name; the core's own modules together are the ground."""
    graph = grimp.build_graph(CORE, *ADAPTERS, exclude_type_checking_imports=True, cache_dir=None)
    files: defaultdict[str, list[Path]] = defaultdict(list)
    imports: defaultdict[str, set[str]] = defaultdict(set)
    for folder in (CORE, *(f"integrations/{name}" for name in ADAPTERS)):
        for file in sorted((ROOT / folder).rglob("*.py")):
            module = _module(file)
            files[_room(module)].append(file)
            if module != CORE:
                targets = graph.find_modules_directly_imported_by(module)
                # What the core exports is imported by name; the room that has it is meant.
                named = _exported(file) if CORE in targets else set()
                imports[_room(module)] |= {_room(one) for one in (targets - {CORE}) | named}
    found = {}
    for name, own in sorted(files.items()):
        lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in own)
        said = _GROUND_LINE if name == GROUND else _first_line(own)
        found[name] = Room(name, said, frozenset(imports[name] - {name}), len(own), lines)
    return found


def levels(found: Mapping[str, Room]) -> list[list[str]]:
    """Rooms from the top floor to the ground: each above all that it imports."""
    depth: dict[str, int] = {}

    def of(name: str) -> int:
        if name not in depth:
            depth[name] = 1 + max((of(one) for one in found[name].imports), default=-1)
        return depth[name]

    for name in found:
        of(name)
    top = max(depth.values())
    return [sorted(n for n, level in depth.items() if level == top - i) for i in range(top + 1)]


def arrows(found: Mapping[str, Room]) -> list[tuple[str, str]]:
    """Who imports whom, without what another way shows already."""
    reach: dict[str, frozenset[str]] = {}

    def reached(name: str) -> frozenset[str]:
        if name not in reach:
            ways = (reached(one) for one in found[name].imports)
            reach[name] = found[name].imports.union(*ways)
        return reach[name]

    return sorted(
        (name, target)
        for name, room in found.items()
        for target in room.imports
        if not any(target in reached(other) for other in room.imports - {target})
    )


def svg(found: Mapping[str, Room]) -> str:
    """The drawing."""
    floors = levels(found)
    widest = max(map(len, floors))
    width = 2 * _EDGE + widest * _WIDTH + (widest - 1) * _GAP_X
    place: dict[str, tuple[float, float]] = {}
    for row, names in enumerate(floors):
        free = width - len(names) * _WIDTH - (len(names) - 1) * _GAP_X
        for column, name in enumerate(names):
            x = free / 2 + column * (_WIDTH + _GAP_X)
            place[name] = (x, _EDGE + row * (_HEIGHT + _GAP_Y))
    height = _EDGE * 2 + len(floors) * _HEIGHT + (len(floors) - 1) * _GAP_Y
    parts = [_HEAD.format(width=width, height=height)]
    for name, target in arrows(found):
        (x1, y1), (x2, y2) = place[name], place[target]
        start, end = (x1 + _WIDTH / 2, y1 + _HEIGHT), (x2 + _WIDTH / 2, y2)
        bend = (end[1] - start[1]) / 2
        parts.append(
            f'<path class="arrow" d="M{start[0]:g} {start[1]:g}C{start[0]:g} {start[1] + bend:g} '
            f'{end[0]:g} {end[1] - bend:g} {end[0]:g} {end[1] - 2:g}"/>'
        )
    for name, (x, y) in place.items():
        kind = "host" if name in ADAPTERS else "room"
        title = ADAPTERS.get(name, name)
        parts.append(
            f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="8"/>'
        )
        parts.append(f'<text class="head" x="{x + 12:g}" y="{y + 23:g}">{escape(title)}</text>')
        for number, text in enumerate(_wrapped(found[name].line)):
            below = y + 44 + number * _LINE
            parts.append(f'<text class="note" x="{x + 12:g}" y="{below:g}">{escape(text)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def table(found: Mapping[str, Room]) -> str:
    """Rooms with their modules and lines, and the sums."""
    rows = [(r.name, r.modules, r.lines, ", ".join(sorted(r.imports))) for r in found.values()]
    rows.append(("all", sum(r[1] for r in rows), sum(r[2] for r in rows), ""))
    return "\n".join(f"{name:34}{modules:5}{lines:8}  {to}" for name, modules, lines, to in rows)


def _module(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    named = parts[1:] if parts[0] == "integrations" else parts
    return ".".join(named[:-1] if named[-1] == "__init__" else named)


def _exported(file: Path) -> set[str]:
    """The modules behind names that a file imports from the core's top level."""
    tree = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    taken = [node for node in tree if isinstance(node, ast.ImportFrom) and node.module == CORE]
    names = [alias.name for node in taken for alias in node.names]
    return {f"{CORE}.{_EXPORTS.get(name, name)}" for name in names}


def _room(module: str) -> str:
    parts = module.split(".")
    if parts[0] in ADAPTERS:
        return parts[0]
    is_package = len(parts) > 1 and (ROOT / CORE / parts[1]).is_dir()
    return parts[1] if is_package else GROUND


def _first_line(files: list[Path]) -> str:
    init = min((file for file in files if file.name == "__init__.py"), key=lambda f: len(f.parts))
    said = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))) or ""
    return said.splitlines()[0].replace("`", "")


def _wrapped(text: str) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > _CHARACTERS:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" \
aria-labelledby="title" font-family="system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, \
sans-serif" font-size="15">
<title id="title">The packages, each above those that it imports</title>
<defs>
<marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" \
orient="auto"><path d="M0 0 10 5 0 10z" fill="#57606a"/></marker>
<style>
.room {{ fill: #ddf4ff; stroke: #0072b2; stroke-width: 1.5; }}
.host {{ fill: #fff4dd; stroke: #b07300; stroke-width: 1.5; }}
.head {{ font-weight: 700; fill: #1f2328; }}
.note {{ font-size: 12.5px; fill: #57606a; }}
.arrow {{ stroke: #8c959f; stroke-width: 1.6; fill: none; marker-end: url(#tip); }}
</style>
</defs>
<rect width="{width}" height="{height}" fill="#ffffff"/>"""


def main() -> None:
    """Draw, or print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--print", action="store_true", help="the table of rooms, on stdout")
    found = rooms()
    if parser.parse_args().print:
        print(table(found))
        return
    PICTURE.write_text(svg(found), encoding="utf-8")
    print(f"{PICTURE.relative_to(ROOT)}: {len(found)} rooms, {len(arrows(found))} arrows")


if __name__ == "__main__":
    main()
