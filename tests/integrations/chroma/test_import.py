import subprocess
import sys

from chromadb.utils.embedding_functions import known_embedding_functions

import chroma_instruct_embeddings


def test_exports() -> None:
    assert chroma_instruct_embeddings.__all__ == [
        "ChromaVectors",
        "InstructEmbeddingFunction",
        "check_collection",
        "http_client",
        "open_collection",
        "record_collection",
    ]


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


def test_importing_registers_the_embedding_function_by_its_name() -> None:
    assert (
        known_embedding_functions["instruct_embeddings"]
        is chroma_instruct_embeddings.InstructEmbeddingFunction
    )


def test_neither_the_other_hosts_nor_torch_are_imported() -> None:
    code = """
import sys
import chroma_instruct_embeddings
heavy = ("langchain", "llama", "torch", "transformers")
print([name for name in sys.modules if name.partition("_")[0] in heavy])
"""
    assert _output_of(code).strip() == "[]"


def _output_of(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
