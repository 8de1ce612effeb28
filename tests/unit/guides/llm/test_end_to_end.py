"""From an instruction and a model to a better ranking, without a label in the collection."""

from pathlib import Path

import pytest

from instruct_embeddings.guides.llm import LLMGuide
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.testing import InMemoryCollection
from instruct_embeddings.transform import TransformStore
from tests.scripted_llm import ScriptedModel
from tests.unit.conftest import Toys
from tests.unit.guides.llm.conftest import COLOUR, EMBED


@pytest.fixture
def collection(toys: Toys) -> InMemoryCollection:
    """The toys with a text each and no metadata."""
    pairs = enumerate(zip(toys.colours, toys.shapes, strict=True))
    return InMemoryCollection(
        toys.vectors, texts=[f"{shape} {i} of {colour} wood" for i, (colour, shape) in pairs]
    )


def colour_precision(retriever: InstructRetriever, toys: Toys, instruction: str | None) -> float:
    """Share of the colour of a toy among the ten others that are found for it."""
    good = []
    for i in range(0, len(toys.vectors), 3):
        hits = retriever.search(toys.vectors[i], instruction=instruction, k=11)
        others = [int(hit.id) for hit in hits if hit.id != str(i)][:10]
        good += [toys.colours[j] == toys.colours[i] for j in others]
    return sum(good) / len(good)


def test_the_model_teaches_a_ranking_by_colour(
    toys: Toys, collection: InMemoryCollection, model: ScriptedModel, tmp_path: Path
) -> None:
    guide = LLMGuide(model, embed=EMBED)
    retriever = InstructRetriever(collection, guide, store=TransformStore(tmp_path))
    generic = colour_precision(retriever, toys, None)
    adapted = colour_precision(retriever, toys, COLOUR)
    assert generic < 0.5
    assert adapted > 0.8
    report = retriever.transform(COLOUR).report
    assert report.gains
    assert sum(report.label_counts.values()) == 90
    assert set(report.label_counts) == {"red", "green", "blue"}
    asked = len(model.prompts)
    # Another process finds the transform by the guide's key, and asks nothing.
    again = InstructRetriever(collection, LLMGuide(model, embed=EMBED), store=retriever.store)
    assert again.transform(COLOUR).report == report
    assert len(model.prompts) == asked


def test_few_labels_do_not_make_the_retriever_pay_for_more_than_the_guides_sample(
    toys: Toys, collection: InMemoryCollection, model: ScriptedModel
) -> None:
    guide = LLMGuide(model, embed=EMBED, sample=24, texts_per_call=4)
    rows = collection.page(limit=90, offset=0, vectors=True, records=True)
    expected = guide.estimate(COLOUR, rows)
    InstructRetriever(collection, guide, force=True).transform(COLOUR)
    assert len(model.asked("label")) == 6
    assert len(model.prompts) <= expected.calls


@pytest.mark.slow
def test_without_another_embedder_summaries_are_embedded_by_the_encoder_of_this_package(
    collection: InMemoryCollection, model: ScriptedModel
) -> None:
    rows = collection.page(limit=90, offset=0, records=True)
    assert LLMGuide(model).find_categories(COLOUR, rows).names == ("blue", "green", "red")
    # "it is red" and its like lie apart: no cluster needed more than one name.
    assert not any("things" in prompt for prompt in model.asked("merge"))
