"""Where a benchmark ran, and where its results are kept."""

import json
import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
_LINE = 600  # characters
_PACKAGES = ("instruct-embeddings", "numpy", "torch", "transformers", "chromadb", "scikit-learn")


def environment(seed: int) -> dict[str, Any]:
    """Hardware, versions, commit and seed."""
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "commit": _commit(),
        "seed": seed,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def save(name: str, results: dict[str, Any]) -> Path:
    """Keep results as JSON beside the benchmark."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    file.write_text(compact(results) + "\n", encoding="utf-8")
    return file


def load(name: str) -> dict[str, Any]:
    """The results that `save` kept; empty where there are none."""
    file = RESULTS / f"{name}.json"
    data: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return data


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def compact(value: Any, indent: str = "") -> str:
    """JSON with a line for each row of figures: what is short enough is one line."""
    whole = json.dumps(value)
    if not isinstance(value, dict | list) or len(whole) <= _LINE or not value:
        return whole
    within = indent + " "
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {compact(item, within)}" for key, item in value.items()]
        return "{\n" + ",\n".join(within + part for part in parts) + f"\n{indent}}}"
    parts = [compact(item, within) for item in value]
    return "[\n" + ",\n".join(within + part for part in parts) + f"\n{indent}]"
