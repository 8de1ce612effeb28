"""Check the files of the built wheel and source distribution: python scripts/check_dist.py dist."""

import sys
import tarfile
import zipfile
from pathlib import Path

PACKAGES = {
    "chroma_instruct_embeddings": "integrations/chroma_instruct_embeddings",
    "instruct_embeddings": "instruct_embeddings",
    "langchain_instruct_embeddings": "integrations/langchain_instruct_embeddings",
    "llama_index_instruct_embeddings": "integrations/llama_index_instruct_embeddings",
    "milvus_instruct_embeddings": "integrations/milvus_instruct_embeddings",
    "postgres_instruct_embeddings": "integrations/postgres_instruct_embeddings",
    "qdrant_instruct_embeddings": "integrations/qdrant_instruct_embeddings",
    "ray_instruct_embeddings": "integrations/ray_instruct_embeddings",
}
CORPUS = "instruct_embeddings/cli/data/tickets.jsonl"
SDIST_ALSO = [
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "constraints.txt",
    "examples/data/tickets.jsonl",
    "tests/conftest.py",
]


def source_files() -> dict[str, str]:
    """Path in the wheel of each file of the four packages, and its path in the repository."""
    files = {}
    for package, folder in PACKAGES.items():
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                files[f"{package}/{path.relative_to(folder).as_posix()}"] = path.as_posix()
    return files


def check_wheel(wheel: Path) -> list[str]:
    """What is wrong with the wheel; nothing if all is well."""
    names = set(zipfile.ZipFile(wheel).namelist())
    problems = [f"missing: {name}" for name in sorted({*source_files(), CORPUS} - names)]
    problems += [f"no py.typed: {name}" for name in PACKAGES if f"{name}/py.typed" not in names]
    top = {name.split("/")[0] for name in names}
    problems += [
        f"not ours to install: {name}"
        for name in sorted(top - set(PACKAGES))
        if not name.endswith(".dist-info")
    ]
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in names):
        problems.append("missing: LICENSE")
    return problems


def check_sdist(sdist: Path) -> list[str]:
    """What is wrong with the source distribution; nothing if all is well."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {*source_files().values(), *SDIST_ALSO}
    return [f"missing: {name}" for name in sorted(wanted - names)]


def main(folder: Path) -> int:
    """Check the one wheel and the one source distribution in a folder; the exit status."""
    [wheel], [sdist] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    status = 0
    for path, problems in ((wheel, check_wheel(wheel)), (sdist, check_sdist(sdist))):
        print(f"{path.name}: {'; '.join(problems) or 'all files there'}")
        status |= bool(problems)
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
