"""Small files of examples, written for one test."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from instruct_embeddings.training.settings import DataConfig, SourceConfig

TABLE = """
[toys.colour]
instructions = ["What colour is it?", "Which colour has it?"]
[toys.shape]
instructions = ["What shape is it?"]
"""


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """A JSONL file."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8", newline="\n")
    return path


def toys(count: int = 40) -> list[dict[str, Any]]:
    """Toy i is red where i is even, blue otherwise; a ball where i divides by three, or a cube."""
    return [
        {
            "text": f"toy {i}",
            "labels": {
                "colour": ("blue", "red")[i % 2 == 0],
                "shape": ("cube", "ball")[i % 3 == 0],
            },
        }
        for i in range(count)
    ]


def questions(count: int, *, instruction: str = "Who wrote it?", start: int = 0) -> list[Any]:
    """Texts under one instruction, each with an answer of its own."""
    return [
        {"text": f"book {i}", "instruction": instruction, "answer": f"author {i}"}
        for i in range(start, start + count)
    ]


def data_config(*files: Path, table: str | None = TABLE, **changes: Any) -> DataConfig:
    """A configuration of files that lie in one folder, beside their table of instructions."""
    path = None
    if table is not None:
        path = files[0].parent / "instructions.toml"
        path.write_text(table, encoding="utf-8")
    sources = tuple(SourceConfig(file) for file in files)
    return DataConfig(sources, path, **({"batch_size": 8} | changes))
