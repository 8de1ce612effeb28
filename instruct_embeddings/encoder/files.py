"""Files of models: JSON that is read, folders that are written as a whole."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from instruct_embeddings.errors import CheckpointError


def read_json(file: Path) -> dict[str, Any]:
    """An object from a JSON file.

    Raises:
        CheckpointError: The file holds something else.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise CheckpointError(f"{str(file)!r} cannot be read as JSON: {exc}") from exc
    if not isinstance(data, dict):
        raise CheckpointError(f"{str(file)!r} holds a {type(data).__name__}, not an object.")
    return data


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Write a folder as a whole: complete under its name, or not there at all.

    Args:
        folder: What is written, or replaced at the end.

    Yields:
        An empty folder beside it, to fill; removed where that fails.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield partial
        _put_in_place(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _put_in_place(partial: Path, folder: Path) -> None:
    """Two renames; where the second fails, the old folder comes back."""
    old = partial.with_name(f"{partial.name}-old")
    if folder.exists():
        folder.rename(old)
    try:
        partial.rename(folder)
    except BaseException:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
