"""Complete configurations that come with the package, found by name."""

import re
from importlib.resources import files
from pathlib import Path

_MARK = re.compile(r"^\[model[.\]]", re.MULTILINE)


def recipes() -> dict[str, Path]:
    """The shipped configurations by name, sorted; tables of instructions beside them are none."""
    folder = Path(str(files(__name__)))
    found = sorted(folder.glob("*.toml"))
    return {file.stem: file for file in found if _MARK.search(file.read_text(encoding="utf-8"))}
