"""Files of models: JSON that is read, folders that are written as a whole."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from instruct_embeddings._reading import brief, parse_json, read_limited
from instruct_embeddings.errors import CheckpointError

MAX_JSON_BYTES = 16 * 1024 * 1024


def read_json(file: Path) -> dict[str, Any]:
    """An object from a JSON file.

    Raises:
        CheckpointError: The file holds something else, or is larger than any that is meant.
    """
    data = read_json_value(file)
    if not isinstance(data, dict):
        raise CheckpointError(
            f"{str(file)!r} holds a {type(data).__name__}, not an object. Fetch the model again, "
            "or save it again."
        )
    return data


def read_json_value(file: Path) -> Any:
    """Whatever a JSON file holds.

    Raises:
        CheckpointError: The file cannot be read, is no JSON, or is larger than any that is meant.
    """
    try:
        return parse_json(read_limited(file, MAX_JSON_BYTES))
    except (OSError, ValueError) as exc:
        raise CheckpointError(
            f"{str(file)!r} cannot be read as JSON: {brief(exc)}. Fetch the model again, or save "
            "it again."
        ) from exc


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
