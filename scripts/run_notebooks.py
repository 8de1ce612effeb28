"""Run the notebooks anew and keep their outputs, without anything of the machine.

python scripts/run_notebooks.py [FILE ...]
"""

import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[1] / "examples"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def main(names: list[str]) -> None:
    """Run the named notebooks, by default all of them."""
    for file in map(Path, names or sorted(map(str, EXAMPLES.glob("*.ipynb")))):
        notebook: Any = nbformat.read(file, as_version=4)
        place = {"metadata": {"path": str(EXAMPLES)}}
        NotebookClient(notebook, timeout=900, kernel_name="python3", resources=place).execute()
        notebook.metadata = METADATA
        for cell in notebook.cells:
            cell.metadata = {}
            for output in cell.get("outputs", []):
                if "metadata" in output:
                    output["metadata"] = {}
        nbformat.write(notebook, file)
        print(file.name)


if __name__ == "__main__":
    main(sys.argv[1:])
