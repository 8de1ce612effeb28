"""Small data sets and a small table of instructions."""

import json
from pathlib import Path
from typing import Any

from scripts.training_data.source import Row, Source

TABLE: dict[str, Any] = {
    "fewrel": {"relation": {"instructions": ["relation"], "answers": {"crosses": "bridge over"}}},
    "rewrites": [{"instruction": "Name the drug.", "instructions": ["drug"]}],
}


def source(folder: Path, table: dict[str, Any] = TABLE, /, **files: list[Row]) -> Source:
    for name, rows in files.items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return Source(folder, table)


def relation(text: str, head: str, tail: str, name: str) -> Row:
    labels = {"relation": name, "source": "wiki"}
    return {"text": text, "head": head, "tail": tail, "labels": labels}
