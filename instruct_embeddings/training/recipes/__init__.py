"""Complete configurations that come with the package, found by name."""

from importlib.resources import files
from pathlib import Path

_MARK = "[model]\n"


def recipes() -> dict[str, Path]:
    """The shipped configurations by name, sorted; tables of instructions beside them are none."""
    folder = Path(str(files(__name__)))
    found = sorted(folder.glob("*.toml"))
    return {file.stem: file for file in found if _MARK in file.read_text(encoding="utf-8")}
