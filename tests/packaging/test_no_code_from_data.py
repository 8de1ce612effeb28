"""Data is never run: nothing in the packages unpickles, evaluates or starts a shell."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "subprocess"}
NAMES = {"eval", "exec", "compile", "__import__"}
ATTRIBUTES = {
    *("pickle.load", "pickle.loads", "torch.load", "numpy.load", "np.load", "os.system"),
    *("os.popen", "importlib.import_module", "import_module"),
}
# Writes a pickle to find out whether an object can be pickled; reads none.
ALLOWED = {("integrations/llama_index_instruct_embeddings/arguments.py", "import pickle")}
# Imports by name what this project itself names: optional dependencies and lazy exports.
BY_NAME = {"_extras.py"}


def suspicious(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (f"import {one.name}" for one in node.names if one.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            yield f"import {node.module}"
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            by_name = called.endswith("import_module") and file.name in BY_NAME
            if called in NAMES | ATTRIBUTES and not by_name:
                yield called


def test_no_module_runs_what_it_reads() -> None:
    found = {
        (file.relative_to(ROOT).as_posix(), what)
        for folder in (ROOT / "instruct_embeddings", ROOT / "integrations")
        for file in sorted(folder.rglob("*.py"))
        for what in suspicious(file)
    }
    assert found <= ALLOWED


def test_only_safetensors_hold_arrays() -> None:
    endings = {file.suffix for file in (ROOT / "instruct_embeddings").rglob("*") if file.is_file()}
    assert endings - {".pyc"} <= {
        ".py",
        ".typed",
        ".toml",
        ".json",
        ".md",
        ".safetensors",
        ".jsonl",
    }
