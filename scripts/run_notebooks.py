"""Run the notebooks anew and keep their outputs, without anything of the machine.

Prints the minutes of each, by the clock and of processor time.

python scripts/run_notebooks.py [FILE ...]
"""

import os
import sys
import time
from base64 import b64decode
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[1] / "examples"
# The picture of the README is one that a notebook draws.
DRAWN_BY, PICTURE = "5-labels-from-nobody.ipynb", EXAMPLES.parent / "docs" / "images" / "map.png"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def main(names: list[str]) -> None:
    """Run the named notebooks, by default all of them."""
    for file in map(Path, names or sorted(map(str, EXAMPLES.glob("*.ipynb")))):
        notebook: Any = nbformat.read(file, as_version=4)
        clock, processor = time.perf_counter(), _processor()
        NotebookClient(
            notebook,
            timeout=900,
            kernel_name="python3",
            coalesce_streams=True,
            resources={"metadata": {"path": str(EXAMPLES)}},
        ).execute()
        notebook.metadata = METADATA
        for cell in notebook.cells:
            cell.metadata = {}
            for output in cell.get("outputs", []):
                if "metadata" in output:
                    output["metadata"] = {}
        nbformat.write(notebook, file)
        if file.name == DRAWN_BY:
            PICTURE.write_bytes(picture(notebook))
        passed = (time.perf_counter() - clock) / 60, (_processor() - processor) / 60
        print(
            "{:5.1f} minutes, {:4.1f} of processor time  {}".format(*passed, file.name), flush=True
        )


def picture(notebook: Any) -> bytes:
    """The last picture in the outputs of a notebook."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [output.get("data", {}) for output in outputs]
    return b64decode([data["image/png"] for data in shown if "image/png" in data][-1])


def _processor() -> float:
    """Seconds that processes which have ended took, kernels among them."""
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    main(sys.argv[1:])
