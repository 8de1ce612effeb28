import subprocess
import sys

import chroma_instruct_embeddings


def test_exports() -> None:
    assert chroma_instruct_embeddings.__all__ == ["ChromaVectors"]


def test_a_missing_chromadb_names_the_extra() -> None:
    code = """
import sys
sys.modules["chromadb"] = None
from instruct_embeddings.errors import MissingExtraError
try:
    import chroma_instruct_embeddings
except MissingExtraError as error:
    print(error)
"""
    assert 'pip install "instruct-embeddings[chroma]"' in _output_of(code)


def test_the_other_hosts_are_not_imported() -> None:
    code = """
import sys
import chroma_instruct_embeddings
print([name for name in sys.modules if name.partition("_")[0] in ("langchain", "llama", "torch")])
"""
    assert _output_of(code).strip() == "[]"


def _output_of(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
