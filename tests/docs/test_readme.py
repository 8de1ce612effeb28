"""The README's code runs, and its figures are those of the kept results."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromadb import EphemeralClient, PersistentClient
from langchain_core.embeddings import Embeddings
from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.vector_stores.chroma import ChromaVectorStore

from instruct_embeddings.encoder import DEFAULT_MODEL, hub
from instruct_embeddings.testing import TinyEncoder
from tests.benchmarks import report
from tests.models import tiny_checkpoint

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(
    r"^## (LangChain|LlamaIndex)\n\n```python\n(.*?)```",
    (ROOT / "README.md").read_text(encoding="utf-8"),
    re.DOTALL | re.MULTILINE,
)
ENCODER = TinyEncoder()


class TinyLangChainEmbeddings(Embeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return ENCODER.encode(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


class TinyLlamaIndexEmbedding(BaseEmbedding):
    def _get_text_embedding(self, text: str) -> list[float]:
        return ENCODER.encode([text])[0].tolist()

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


TEXTS = [
    f"{opening} {place} {event} number{number}"
    for number in range(10)
    for place in ("billing invoice month", "printer paper tray")
    for opening in ("thank you", "what disgrace")
    for event in ("photos vanished", "how print")
]
METADATA = [
    {
        "tone": "friendly" if "thank" in text else "angry",
        "problem": "lost data" if "vanished" in text else "how-to question",
    }
    for text in TEXTS
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """The names that the README takes for granted, in an empty folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("readme"))
        yield _names()


def _names() -> dict[str, object]:
    rows = {
        "ids": [f"t{i}" for i in range(len(TEXTS))],
        "embeddings": ENCODER.encode(TEXTS),
        "documents": TEXTS,
        "metadatas": METADATA,
    }
    PersistentClient("my-chroma").create_collection("tickets", embedding_function=None).add(**rows)
    collection = EphemeralClient().get_or_create_collection("readme", embedding_function=None)
    collection.add(**rows)
    index = VectorStoreIndex.from_vector_store(
        ChromaVectorStore(chroma_collection=collection), embed_model=TinyLlamaIndexEmbedding()
    )
    return {"embeddings": TinyLangChainEmbeddings(), "index": index}


def test_the_readme_shows_both_hosts() -> None:
    assert [heading for heading, _ in BLOCKS] == ["LangChain", "LlamaIndex"]


@pytest.fixture
def tiny_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny checkpoint in place of the one in the box."""
    place = hub.Location(DEFAULT_MODEL, tiny_checkpoint(), on_hub=False)
    monkeypatch.setattr(hub, "_shipped", lambda name, revision: place)


# Random weights teach little; what the words of the texts give away is enough for five hits.
@pytest.mark.filterwarnings("ignore::instruct_embeddings.TransformWarning")
@pytest.mark.usefixtures("tiny_default")
@pytest.mark.parametrize(("heading", "code"), BLOCKS, ids=[heading for heading, _ in BLOCKS])
def test_the_code_of_the_readme_runs(
    heading: str, code: str, prepared: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    exec(compile(code, f"README.md, {heading}", "exec"), prepared)
    found = prepared["documents" if heading == "LangChain" else "nodes"]
    assert isinstance(found, list)
    assert len(found) == 5


@pytest.mark.parametrize("file", [report.PAGE, report.README, report.CARD], ids=lambda f: f.name)
def test_pages_quote_what_was_measured(file: Path) -> None:
    assert file.read_text(encoding="utf-8") == report.pages()[file]
