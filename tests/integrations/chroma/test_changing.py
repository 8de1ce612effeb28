"""Collections that change while a guide judges their rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from chromadb.api import ClientAPI

from chroma_instruct_embeddings import ChromaVectors
from instruct_embeddings import FitConfig, InstructRetriever, MetadataGuide, TransformStore
from instruct_embeddings.errors import CollectionError, StaleCollectionError
from instruct_embeddings.protocols import Rows
from instruct_embeddings.supervision import Supervision
from tests.unit.conftest import Toys, make_toys

langchain_chroma = pytest.importorskip("langchain_chroma")

COLOUR, SHAPE = "What colour is it?", "What shape is it?"
Change = Callable[[Any, Toys], None]


class Interrupting(MetadataGuide):
    """Judges by metadata, after something else has happened, once."""

    happen: Callable[[], None] | None = None

    def judge(self, instruction: str, sample: Rows) -> Supervision:
        happen, self.happen = self.happen, None
        if happen is not None:
            happen()
        return super().judge(instruction, sample)


def fill(store: Any, toys: Toys, start: str = "row") -> None:
    store._collection.add(
        ids=[f"{start}-{n}" for n in range(len(toys.vectors))],
        embeddings=toys.vectors,
        documents=[f"a {colour} thing" for colour in toys.colours],
        metadatas=[{"colour": colour} for colour in toys.colours],
    )


@pytest.fixture
def store(client: ClientAPI) -> Any:
    made = langchain_chroma.Chroma(
        f"test-{uuid4().hex}", client=client, collection_configuration={"hnsw": {"space": "cosine"}}
    )
    fill(made, make_toys(90, seed=1))
    return made


def made_anew(store: Any, toys: Toys) -> None:
    store.reset_collection()
    fill(store, toys)


def made_anew_wider(store: Any, toys: Toys) -> None:
    store.reset_collection()
    width = toys.vectors.shape[1] + 3
    store._collection.add(ids=["one"], embeddings=np.eye(1, width, dtype=np.float32))


def made_anew_by_another(store: Any, toys: Toys) -> None:
    """A second store of the same name; the first one keeps the collection that is gone."""
    name = store._collection.name
    store._client.delete_collection(name)
    store._client.create_collection(name, embedding_function=None)


def emptied(store: Any, toys: Toys) -> None:
    store.reset_collection()


def deleted(store: Any, toys: Toys) -> None:
    store.delete_collection()


@pytest.mark.parametrize(
    "change", [made_anew, made_anew_wider, made_anew_by_another, emptied, deleted]
)
def test_what_was_learned_from_rows_that_are_gone_is_discarded(
    store: Any, tmp_path: Path, change: Change
) -> None:
    toys, guide = make_toys(90, seed=2), Interrupting("colour")
    guide.happen = lambda: change(store, toys)
    kept = TransformStore(tmp_path)
    retriever = InstructRetriever(ChromaVectors(store), guide, store=kept, fit=quick())
    with pytest.raises(CollectionError) as raised:
        retriever.search(toys.vectors[0], instruction=COLOUR)
    if change in (made_anew, made_anew_wider):
        assert isinstance(raised.value, StaleCollectionError)
        assert "was made anew" in str(raised.value)
        assert "Call again" in str(raised.value)
    assert list(kept.summaries()) == []


def test_the_next_call_learns_from_the_new_rows(store: Any, tmp_path: Path) -> None:
    toys, guide = make_toys(90, seed=2), Interrupting("colour")
    guide.happen = lambda: made_anew(store, toys)
    retriever = InstructRetriever(ChromaVectors(store), guide, store=tmp_path, fit=quick())
    with pytest.raises(StaleCollectionError):
        retriever.search(toys.vectors[0], instruction=COLOUR)
    hits = retriever.search(toys.vectors[0], instruction=COLOUR, k=10)
    assert all(hit.metadata["colour"] == toys.colours[0] for hit in hits)
    assert retriever.transform(COLOUR).collection == ChromaVectors(store).info()


def test_several_instructions_that_share_a_sample_are_discarded_together(
    store: Any, tmp_path: Path
) -> None:
    toys, guide = make_toys(90, seed=2), Interrupting("colour")
    guide.happen = lambda: made_anew(store, toys)
    kept = TransformStore(tmp_path)
    retriever = InstructRetriever(ChromaVectors(store), guide, store=kept, fit=quick())
    with pytest.raises(StaleCollectionError):
        retriever.prepare([COLOUR, SHAPE])
    assert list(kept.summaries()) == []
    assert len(retriever.prepare([COLOUR, SHAPE])) == len(kept.summaries()) == 2


def test_rows_that_come_or_go_during_a_fit_do_no_harm(store: Any, tmp_path: Path) -> None:
    toys, guide = make_toys(30, seed=2), Interrupting("colour")

    def change() -> None:
        fill(store, toys, "new")
        store._collection.delete(ids=["row-0", "row-5"])

    guide.happen = change
    retriever = InstructRetriever(ChromaVectors(store), guide, store=tmp_path, fit=quick())
    hits = retriever.search(toys.vectors[0], instruction=COLOUR, k=10)
    assert all(hit.metadata["colour"] == toys.colours[0] for hit in hits)
    assert {"row-0", "row-5"}.isdisjoint(hit.id for hit in hits)


def quick() -> FitConfig:
    return FitConfig(folds=2, time_budget=1e-9)
