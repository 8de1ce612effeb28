"""Importing a package loads neither torch nor a host: looked at in a fresh interpreter."""

import subprocess
import sys

import pytest

HEAVY = {
    "accelerate",
    "chromadb",
    "datasets",
    "gradio",
    "langchain",
    "langchain_chroma",
    "langchain_core",
    "llama_index",
    "matplotlib",
    "mteb",
    "pandas",
    "peft",
    "psycopg",
    "pydantic",
    "ray",
    "scipy",
    "sentence_transformers",
    "sklearn",
    "torch",
    "transformers",
}


def loaded_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "package",
    ["instruct_embeddings", "langchain_instruct_embeddings", "llama_index_instruct_embeddings"],
)
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    loaded = loaded_after(f"import {package}")
    assert package in loaded
    assert loaded & HEAVY == set()


def test_the_chroma_package_loads_chromadb_and_what_that_needs_but_no_model_library() -> None:
    loaded = loaded_after("import chroma_instruct_embeddings")
    assert "chromadb" in loaded
    assert loaded & HEAVY <= {"chromadb", "pydantic"}


def test_asking_for_every_public_name_of_the_core_loads_nothing_heavy() -> None:
    loaded = loaded_after(
        "import instruct_embeddings as core\nfor name in core.__all__:\n    getattr(core, name)"
    )
    assert loaded & HEAVY == set()
