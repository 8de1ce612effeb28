"""A search under a known instruction takes a short way, and does each thing once."""

from typing import Any

from instruct_embeddings import FitConfig, InstructRetriever, MetadataGuide
from tests.calls import recorded_calls
from tests.unit.conftest import Toys
from tests.unit.retrieval.conftest import CountingCollection
from tests.unit.retrieval.test_instant import PLAIN, Axes, toys

COLOUR = "What colour is it?"


def test_a_search_under_a_known_instruction_passes_few_files(toys: Toys) -> None:
    collection = CountingCollection(
        toys.vectors, metadatas=[{"colour": colour} for colour in toys.colours]
    )
    config = FitConfig(sample_size=120, folds=2, time_budget=0.5)
    retriever = InstructRetriever(collection, MetadataGuide("colour"), fit=config, force=True)
    retriever.search(toys.vectors[1], instruction=COLOUR)
    collection.calls.clear()
    with recorded_calls() as calls:
        hits = retriever.search(toys.vectors[0], instruction=COLOUR, k=5)
    assert [hit.ranked_by for hit in hits] == ["fitted"] * 5
    assert len(calls.files) <= 9, sorted(calls.files)
    assert calls.of("check_instruction") == 1
    assert calls.of("QueryTransform.fold") == 1
    assert calls.of("query_row") == 1
    # Vectors and records of the best candidates come along.
    assert collection.calls == {"search": 1}


def test_the_instant_query_asks_a_collection_once_what_it_is() -> None:
    collection = toys()
    retriever = InstructRetriever(collection, instant=Axes())
    options: dict[str, Any] = {
        "query": "red",
        "instruction": {COLOUR: 1.0, "Only small": 1.0},
        "k": 5,
    }
    retriever.search(PLAIN, **options)
    with recorded_calls() as calls:
        hits = retriever.search(PLAIN, **options)
    assert {hit.ranked_by for hit in hits} == {"instant"}
    # The collection itself looks at the dimension of what it searches.
    own = calls.of("InMemoryCollection._check")
    assert calls.of("InMemoryCollection.info") - own == 1
