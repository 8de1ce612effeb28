"""What the distribution says about itself."""

import re
from importlib.metadata import metadata, version
from importlib.util import find_spec
from pathlib import Path

import pytest

import instruct_embeddings

ROOT = Path(__file__).resolve().parents[2]


def test_the_installed_version_is_the_one_in_the_code() -> None:
    assert version("instruct-embeddings") == instruct_embeddings.__version__


def test_the_newest_changelog_heading_is_unreleased_or_this_version() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert headings[0] == "Unreleased"
    assert headings[1:2] in ([], [instruct_embeddings.__version__])


def test_the_citation_names_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {instruct_embeddings.__version__}\n" in citation


def test_the_extras_are_the_documented_ones() -> None:
    assert set(metadata("instruct-embeddings").get_all("Provides-Extra") or []) == {
        "all",
        "bench",
        "chroma",
        "dev",
        "docs",
        "eval",
        "gguf",
        "langchain",
        "llama-index",
        "milvus",
        "mteb",
        "offline",
        "postgres",
        "qdrant",
        "ray",
        "train",
        "ui",
    }


@pytest.mark.parametrize(
    "package",
    [
        "instruct_embeddings",
        "chroma_instruct_embeddings",
        "langchain_instruct_embeddings",
        "llama_index_instruct_embeddings",
        "milvus_instruct_embeddings",
        "postgres_instruct_embeddings",
        "qdrant_instruct_embeddings",
        "ray_instruct_embeddings",
    ],
)
def test_every_package_is_marked_as_typed(package: str) -> None:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).with_name("py.typed").is_file()


def test_constraints_hold_exact_versions_and_nothing_of_a_machine() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    marker = r'(; python_version (<|>=) "3\.1[13]")?'
    assert [line for line in pins if not re.fullmatch(rf"[a-z0-9-]+==[\w.]+{marker}", line)] == []
    assert "torch==2.13.0" in pins
