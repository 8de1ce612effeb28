"""JSON files of one object: categories, and the progress of a run."""

from dataclasses import asdict
from pathlib import Path

from instruct_embeddings.guides.llm import Categories
from instruct_embeddings.training.state import STATE, Progress, read_progress
from tests.fuzz.damage import damaged_json
from tests.fuzz.target import Target, expect

_CATEGORIES = {
    "format_version": 1,
    "instruction": "What is it about?",
    "categories": [
        {"name": "cats", "description": "animals that purr"},
        {"name": "dogs", "description": ""},
    ],
}


def _check_categories(data: bytes, folder: Path) -> None:
    file = folder / "categories.json"
    file.write_bytes(data)
    found = Categories.from_json(file)
    expect(2 <= len(found.names) <= 100, "categories")
    str(found).encode()
    found.to_json(file)
    expect(Categories.from_json(file) == found, "categories that come back")


def _check_progress(data: bytes, folder: Path) -> None:
    (folder / STATE).mkdir(exist_ok=True)
    (folder / STATE / "progress.json").write_bytes(data)
    found = read_progress(folder)
    expect(found is not None and found.step >= 0 and found.examples >= 0, "progress")


CATEGORIES = Target("categories", damaged_json(_CATEGORIES), _check_categories)
PROGRESS = Target("progress", damaged_json(asdict(Progress("abc", step=3))), _check_progress)
