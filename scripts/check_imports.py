"""Import the installed packages: python check_imports.py with|without (extras).

Without extras the core works, and the class of each adapter raises `MissingExtraError` with the
extra that brings it.
"""

import sys
from importlib import import_module

from instruct_embeddings.errors import MissingExtraError

ADAPTERS = {
    "chroma_instruct_embeddings": ("ChromaVectors", "chroma"),
    "langchain_instruct_embeddings": ("InstructionTransformRetriever", "langchain"),
    "llama_index_instruct_embeddings": ("InstructionTransformRetriever", "llama-index"),
    "milvus_instruct_embeddings": ("MilvusVectors", "milvus"),
    "postgres_instruct_embeddings": ("PostgresVectors", "postgres"),
    "qdrant_instruct_embeddings": ("QdrantVectors", "qdrant"),
}


def check_names(package: str) -> None:
    """Import a package and each of its public names."""
    module = import_module(package)
    for name in module.__all__:
        getattr(module, name)
    print(f"{package}: {', '.join(module.__all__)}")


def check_missing_extra(package: str, name: str, extra: str) -> None:
    """Asking for a class of an adapter raises the error that names the extra."""
    try:
        getattr(import_module(package), name)
    except MissingExtraError as error:
        if f"instruct-embeddings[{extra}]" not in str(error):
            raise SystemExit(f"{package}.{name} does not name the extra: {error}") from error
        print(f"{package}.{name}: {error}")
    else:
        raise SystemExit(f"{package}.{name} can be imported without the extra {extra!r}")


def check_encoder() -> None:
    """The encoder in the box embeds a text under an instruction, without a model hub."""
    from instruct_embeddings import InstructEncoder

    with InstructEncoder.from_pretrained(local_files_only=True) as encoder:
        found = encoder.encode(["The soup was cold."], instruction="Is it praise or blame?")
    if found.shape != (1, 384):
        raise SystemExit(f"the encoder in the box gave an array of shape {found.shape}")
    print(f"{encoder.name}: {found.shape}")


def main(extras: str) -> None:
    """Check the core and the three adapters."""
    check_names("instruct_embeddings")
    for package, (name, extra) in ADAPTERS.items():
        if extras == "with":
            check_names(package)
        else:
            check_missing_extra(package, name, extra)
    if extras == "with":
        check_encoder()


if __name__ == "__main__":
    main(sys.argv[1])
