"""Reading JSON files of models."""

import json
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
