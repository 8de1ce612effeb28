"""What a retriever is made of is looked at before anything is read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instruct_embeddings.errors import ConfigError, InstructionError, InvalidVectorsError
from instruct_embeddings.guides import EncoderGuide, MetadataGuide
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.testing import InMemoryCollection
from instruct_embeddings.transform import TransformStore
from tests.unit.conftest import Toys


@pytest.mark.parametrize(
    ("collection", "said"),
    [
        (
            "reviews",
            r"collection='reviews' .* it has no capabilities\. Wrap .*collection_behind\(store\)",
        ),
        (None, r"collection=None .* it has no capabilities"),
        (InMemoryCollection, "it is a class"),
    ],
)
def test_what_is_no_collection(collection: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        InstructRetriever(collection)


@pytest.mark.parametrize(
    ("guide", "said"),
    [
        (EncoderGuide, r"guide=EncoderGuide is a class, .* guide=EncoderGuide\(\.\.\.\)"),
        ("colour", r"guide='colour' is not a guide: .*MetadataGuide\(\"language\"\)"),
    ],
)
def test_what_is_no_guide(toys: Toys, guide: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        InstructRetriever(toys.collection(), guide)


def test_a_store_may_be_named_by_its_folder(toys: Toys, tmp_path: Path) -> None:
    collection, guide = toys.collection(), MetadataGuide("colour")
    for folder in (tmp_path / "kept", str(tmp_path / "kept")):
        opened = InstructRetriever(collection, guide, store=folder).store
        assert opened is not None
        assert opened.path == tmp_path / "kept"
    own = TransformStore(tmp_path)
    assert InstructRetriever(collection, guide, store=own).store is own
    assert InstructRetriever(collection, guide).store is None
    wrong: Any = 7
    with pytest.raises(ConfigError, match="store=7 is neither a folder nor a TransformStore"):
        InstructRetriever(collection, guide, store=wrong)


SETTINGS = "collection guide instant store fit_config force reuse questions on_fit"


@pytest.mark.parametrize("name", SETTINGS.split())
def test_settings_are_read_only(toys: Toys, name: str) -> None:
    """What fits reads them once, so that another value would have no effect."""
    retriever = InstructRetriever(toys.collection(), MetadataGuide("colour"))
    before = getattr(retriever, name)
    with pytest.raises(AttributeError, match=f"{name} is read-only"):
        setattr(retriever, name, None)
    assert getattr(retriever, name) is before


def test_a_text_is_no_query(toys: Toys) -> None:
    """And nothing is fitted before that is said."""
    retriever = InstructRetriever(toys.collection(), MetadataGuide("colour"))
    for instruction in (None, "Which colour is it?"):
        for query in ("a red ball", ["a", "b"], [[1.0], [2.0, 3.0]]):
            asked: Any = query
            with pytest.raises(InvalidVectorsError, match=r"The query .*Embed the text first"):
                retriever.search(asked, instruction=instruction)
    assert retriever.search(np.ones(toys.vectors.shape[1]), k=1)


async def test_an_empty_instruction_is_refused_before_it_is_fitted(toys: Toys) -> None:
    retriever = InstructRetriever(toys.collection(), MetadataGuide("colour"))
    with pytest.raises(InstructionError, match="is empty"):
        await retriever.aprepare(" ")
    with pytest.raises(InstructionError, match="is empty"):
        retriever.transform(" ")
