"""Five rows on a circle whose ranks and labels a reader can work out."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instruct_embeddings.errors import (
    CollectionMismatchError,
    ConfigError,
    EmptyCollectionError,
    GuideError,
    InstructionError,
)
from instruct_embeddings.explain import explain
from instruct_embeddings.explain.explanation import Explanation
from instruct_embeddings.protocols import Rows
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.supervision import Targets
from instruct_embeddings.testing import InMemoryCollection
from instruct_embeddings.transform import InstructionTransform, TransformStore
from tests.unit.conftest import COLOUR, Adapt, Toys, hand_made

SIDE = "Left or right?"
QUERY = np.array([0.6, 0.8], np.float32)
# The hand-made transform looks at the first coordinate x alone, its labels have the probabilities
# exp(2x) and exp(-2x), scaled to sum 1: what is positive is "left", the larger the more certain.
ROWS: dict[str, tuple[list[float], str | None]] = {
    "up": ([0.28, 0.96], "high on the left"),
    "same": ([0.6, 0.8], "in between on the left"),
    "far": ([1.0, 0.0], "far left"),
    "low": ([0.8, -0.6], None),
    "other": ([-0.8, 0.6], "right"),
}


@pytest.fixture
def engine(tmp_path: Path) -> InstructRetriever:
    return over_plane(tmp_path)


def over_plane(folder: Path, transform: InstructionTransform | None = None) -> InstructRetriever:
    """Knows SIDE on a collection of the five rows."""
    collection = InMemoryCollection(
        [vector for vector, _ in ROWS.values()],
        ids=list(ROWS),
        texts=[text for _, text in ROWS.values()],
        metadatas=[{"half": "upper" if v[1] > 0 else "lower"} for v, _ in ROWS.values()],
        name="plane",
        id="plane-1",
    )
    store = TransformStore(folder)
    store.put(transform or hand_made())
    return InstructRetriever(collection, store=store)


def moves(explanation: Explanation) -> list[tuple[str, int | None, int | None]]:
    return [(hit.id, hit.generic_rank, hit.adapted_rank) for hit in explanation.hits]


def test_the_results_of_both_searches_are_listed_with_both_ranks(
    engine: InstructRetriever,
) -> None:
    found = explain(engine, QUERY, "a query", SIDE, k=2)
    # Cosines with the query: same 1, up 0.94, far 0.6, low 0, other 0. Under the instruction the
    # first coordinate decides: far 1, low 0.8, same 0.6, up 0.28.
    assert moves(found) == [("far", 3, 1), ("low", 4, 2), ("same", 1, 3), ("up", 2, 4)]
    assert [hit.generic_score for hit in found.hits] == pytest.approx([0.6, 0, 1, 0.936], abs=1e-6)
    assert [hit.text for hit in found.hits] == [ROWS[hit.id][1] for hit in found.hits]


def test_scores_are_those_of_a_search(engine: InstructRetriever) -> None:
    found = explain(engine, QUERY, "a query", SIDE, k=5)
    hits = engine.search(QUERY, instruction=SIDE, k=5)
    assert [hit.id for hit in found.hits] == [hit.id for hit in hits]
    assert [hit.adapted_score for hit in found.hits] == pytest.approx(
        [hit.score for hit in hits], abs=1e-6
    )


def test_each_result_and_the_query_carry_their_guess(engine: InstructRetriever) -> None:
    found = explain(engine, QUERY, "a query", SIDE, k=5)
    guesses = {hit.id: (hit.category, hit.probability) for hit in found.hits}
    assert guesses["far"] == ("left", pytest.approx(np.exp(2) / (np.exp(2) + np.exp(-2))))
    assert guesses["other"][0] == "right"
    assert found.query_category == "left"
    assert found.query_probability == pytest.approx(0.917, abs=1e-3)
    assert (found.agreeing(adapted=False), found.agreeing(adapted=True)) == ((4, 5), (4, 5))


def test_agreement_counts_the_results_of_one_search(engine: InstructRetriever) -> None:
    found = explain(engine, np.array([-0.28, 0.96]), "a query", SIDE, k=2)
    # Cosines: other 0.8, up 0.84; under the instruction other comes first, then up.
    assert found.query_category == "right"
    assert [hit.id for hit in found.hits] == ["other", "up"]
    assert (found.agreeing(adapted=False), found.agreeing(adapted=True)) == ((1, 2), (1, 2))


def test_categories_are_counted_in_the_sample(engine: InstructRetriever) -> None:
    found = explain(engine, QUERY, "a query", SIDE)
    assert (found.labelled, found.rows) == (True, 5)
    left, right = found.categories
    assert (left.name, left.count, left.share) == ("left", 4, 0.8)
    assert (right.name, right.count, right.share) == ("right", 1, 0.2)
    assert right.texts == ("right",)
    # "low" has no text. Of the others "far" is the nearest to the middle: it is the surest.
    assert left.texts[0] == "far left"
    assert set(left.texts) == {text for _, text in ROWS.values()} - {"right", None}
    assert (left.words, right.words) == (("left",), ("right",))


def test_what_is_known_of_the_transform_is_passed_on(engine: InstructRetriever) -> None:
    found = explain(engine, QUERY, "a query", f"  {SIDE.upper()} ")
    assert (found.query, found.instruction, found.learned) == ("a query", SIDE.upper(), SIDE)
    assert (found.collection, found.guide) == ("plane", "metadata:side")
    assert found.report == engine.transform(SIDE).report
    assert (found.used, found.k, found.depth, found.stored) == (True, 10, 100, 5)


def test_a_transform_of_another_instruction_is_named(engine: InstructRetriever) -> None:
    own = explain(engine, QUERY, "a query", SIDE)
    assert str(own).startswith(f'"{SIDE}"\n')
    other = replace(own, instruction="Which side?")
    assert str(other).startswith(f'"Which side?", by the transform of "{SIDE}"\n')


def test_plain_data_goes_through_json(engine: InstructRetriever) -> None:
    found = explain(engine, QUERY, "a query", SIDE, k=1)
    data = json.loads(json.dumps(found.to_dict()))
    assert data["report"]["gains"] is True
    assert [hit["id"] for hit in data["hits"]] == ["far", "same"]
    assert data["categories"][1] == {
        "name": "right",
        "count": 1,
        "share": 0.2,
        "words": ["right"],
        "texts": ["right"],
    }
    assert "cloud" not in data


def test_where_the_gain_may_be_chance_nothing_moves(tmp_path: Path) -> None:
    report = replace(hand_made().report, adapted=0.5)
    engine = over_plane(tmp_path, hand_made(report=report))
    found = explain(engine, QUERY, "a query", SIDE, k=2)
    assert not found.used
    assert moves(found) == [("same", 1, 1), ("up", 2, 2)]
    assert [hit.adapted_score for hit in found.hits] == [hit.generic_score for hit in found.hits]
    forced = InstructRetriever(engine.collection, store=engine.store, force=True)
    assert explain(forced, QUERY, "a query", SIDE, k=2).used


def test_filters_hold_for_results_and_not_for_the_sample(engine: InstructRetriever) -> None:
    found = explain(engine, QUERY, "a query", SIDE, k=2, where={"half": "upper"})
    assert moves(found) == [("same", 1, 1), ("up", 2, 2)]
    assert found.rows == 5
    found = explain(engine, QUERY, "a query", SIDE, where_document={"$contains": "left"})
    assert {hit.id for hit in found.hits} == {"up", "same", "far"}


def test_a_filter_that_nothing_passes_leaves_the_categories(engine: InstructRetriever) -> None:
    found = explain(engine, QUERY, "a query", SIDE, where={"half": "none"})
    assert found.hits == ()
    assert found.agreeing(adapted=True) == (0, 0)
    assert len(found.categories) == 2
    assert "0 of the 0" in str(found)


def test_options_of_a_search_are_passed_on(engine: InstructRetriever) -> None:
    generic = explain(engine, QUERY, "a query", SIDE, k=5, blend=0.0)
    assert all(hit.generic_rank == hit.adapted_rank for hit in generic.hits)
    exact = explain(engine, QUERY, "a query", SIDE, k=2, exact=True)
    assert moves(exact) == [("far", 3, 1), ("low", 4, 2), ("same", 1, 3), ("up", 2, 4)]
    # Three candidates are looked at: "up" is not among them.
    few = explain(engine, QUERY, "a query", SIDE, k=2, prefetch=3)
    assert moves(few) == [("far", 3, 1), ("low", 4, 2), ("same", 1, 3), ("up", 2, None)]


def test_ranks_end_at_a_hundred(adapt: Adapt, toys: Toys) -> None:
    rows = np.concatenate([toys.vectors] * 2)
    engine = adapt(InMemoryCollection(rows, texts=["toy"] * 180, name="many", id="many-1"))
    found = explain(engine, toys.vectors[0], "a toy", COLOUR, k=5)
    ranks = [rank for hit in found.hits for rank in (hit.generic_rank, hit.adapted_rank)]
    assert all(rank is None or rank <= 100 for rank in ranks)
    deeper = explain(engine, toys.vectors[0], "a toy", COLOUR, k=180)
    assert sorted(hit.adapted_rank or 0 for hit in deeper.hits) == list(range(1, 181))


@pytest.mark.parametrize("row", [0, 7, 33])
def test_the_first_results_are_those_of_the_two_searches(
    adapt: Adapt, toys: Toys, row: int
) -> None:
    engine = adapt(toys.collection())
    query = toys.vectors[row]
    found = explain(engine, query, "a toy", COLOUR, k=6)
    by_rank = {
        side: {getattr(hit, side): hit.id for hit in found.hits}
        for side in ("generic_rank", "adapted_rank")
    }
    for side, instruction in (("generic_rank", None), ("adapted_rank", COLOUR)):
        hits = engine.search(query, instruction=instruction, k=6)
        assert [by_rank[side][rank] for rank in range(1, 7)] == [hit.id for hit in hits]
    assert found.query_category == toys.colours[row]
    assert found.agreeing(adapted=True)[0] >= found.agreeing(adapted=False)[0]


def test_the_sample_is_seeded_and_bounded(adapt: Adapt, toys: Toys) -> None:
    engine = adapt(toys.collection())
    found = [
        explain(engine, toys.vectors[0], "a toy", COLOUR, sample=30, seed=seed)
        for seed in (1, 1, 2)
    ]
    assert [one.rows for one in found] == [30, 30, 30]
    assert sum(category.count for category in found[0].categories) == 30
    assert found[0] == found[1]
    assert not np.array_equal(found[0].cloud.generic, found[2].cloud.generic)


def test_results_outside_the_sample_are_on_the_map_once(adapt: Adapt, toys: Toys) -> None:
    found = explain(adapt(toys.collection()), toys.vectors[0], "a toy", COLOUR, k=20, sample=10)
    cloud = found.cloud
    size = len(cloud.generic)
    assert size == len(cloud.adapted) == len(cloud.categories)
    assert len(np.unique(cloud.generic, axis=0)) == size
    assert 10 < size <= 10 + len(found.hits)
    assert len(cloud.generic_results) == len(cloud.adapted_results) == 20
    # The first result under the instruction is where its row of results says.
    first = cloud.generic[cloud.adapted_results[0]]
    np.testing.assert_allclose(first, toys.vectors[int(found.hits[0].id)], atol=1e-6)


class ColourTargets:
    """Teaches the colour without a label: one direction for each."""

    key = "targets:colour"

    def ids(self) -> Sequence[str] | None:
        return None

    def judge(self, instruction: str, sample: Rows) -> Targets:
        colours = ["red", "green", "blue"]
        rows = [colours.index(metadata["colour"]) for metadata in sample.metadatas]
        return Targets(np.eye(3, dtype=np.float32)[rows], np.ones(len(rows), dtype=np.bool_))


def test_without_labels_categories_are_clusters_named_by_their_words(toys: Toys) -> None:
    engine = InstructRetriever(toys.collection(), ColourTargets())
    row = toys.colours.index("green")
    found = explain(engine, toys.vectors[row], "a toy", COLOUR)
    assert not found.labelled
    assert sorted(category.name.split(",")[0] for category in found.categories) == [
        "blue",
        "green",
        "red",
    ]
    assert found.query_category.startswith("green")
    assert (found.query_probability, found.hits[0].probability) == (None, None)
    assert found.agreeing(adapted=True)[0] > found.agreeing(adapted=False)[0]


def test_clusters_without_texts_are_numbered(toys: Toys) -> None:
    metadatas = [{"colour": colour} for colour in toys.colours]
    collection = InMemoryCollection(toys.vectors, metadatas=metadatas)
    found = explain(InstructRetriever(collection, ColourTargets()), toys.vectors[0], "?", COLOUR)
    assert {category.name for category in found.categories} == {"group 1", "group 2", "group 3"}
    assert all(category.texts == () for category in found.categories)
    assert "(no text)" in str(found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k must be an integer .*got 0"),
        ({"sample": 3}, "sample must be an integer >= 4.*, got 3"),
        ({"seed": -1}, "seed must be an integer .*got -1"),
        ({"blend": 2.0}, r"blend=2\.0"),
        ({"k": 5, "prefetch": 4}, "prefetch=4 is smaller than k=5"),
    ],
)
def test_arguments_out_of_their_range_are_refused(
    engine: InstructRetriever, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        explain(engine, QUERY, "a query", SIDE, **arguments)


def test_the_instruction_is_a_single_one(engine: InstructRetriever) -> None:
    several: Any = {SIDE: 0.5, "Up or down?": 0.5}
    for instruction in (several, "", None):
        with pytest.raises(InstructionError):
            explain(engine, QUERY, "a query", instruction)


def test_an_instruction_that_is_not_known_needs_a_guide(engine: InstructRetriever) -> None:
    with pytest.raises(GuideError, match="Up or down"):
        explain(engine, QUERY, "a query", "Up or down?")


def test_the_query_has_to_fit_the_collection(engine: InstructRetriever) -> None:
    with pytest.raises(CollectionMismatchError):
        explain(engine, np.ones(3), "a query", SIDE)
    with pytest.raises(EmptyCollectionError):
        explain(InstructRetriever(InMemoryCollection()), QUERY, "a query", SIDE)


def test_true_labels_stand_beside_the_guesses(engine: InstructRetriever) -> None:
    found = explain(engine, QUERY, "a query", SIDE, k=2, label_key="half")
    assert [hit.label for hit in found.hits] == ["lower", "lower", "upper", "upper"]
    assert found.cloud is not None
    assert found.cloud.labels == ("upper", "upper", "lower", "lower", "upper")
    assert explain(engine, QUERY, "a query", SIDE).label_key is None
    with pytest.raises(ConfigError, match=r"metadata key 'tone'.*\['half'\]"):
        explain(engine, QUERY, "a query", SIDE, label_key="tone")


def test_a_rise_of_another_label_is_flagged(engine: InstructRetriever) -> None:
    query = np.array([-0.1, -0.995], np.float32)
    found = explain(engine, query, "a query", SIDE, k=5)
    assert found.query_category == "right"
    rose = {h.id: h.against for h in found.hits if (h.generic_rank or 9) > (h.adapted_rank or 9)}
    # The query lies on the right: "other" rises as it should, the others do not.
    against = '"left" and the query is taken for "right"'
    assert rose == {"other": None, "up": against, "same": against}
    assert '! rose against the instruction, as it is "left"' in str(found)


def test_a_rise_that_breaks_a_constraint_is_flagged(tmp_path: Path) -> None:
    engine = over_plane(tmp_path, replace(hand_made(), instruction="No lower half."))
    found = explain(engine, QUERY, "a query", "No lower half.", k=2)
    assert {hit.id: hit.against for hit in found.hits}["far"] == '"lower"'


def test_where_nothing_changes_that_is_said(engine: InstructRetriever) -> None:
    found = explain(engine, np.array([1.0, 0.0], np.float32), "a query", SIDE, k=3)
    assert found.unchanged
    assert "The instruction changed nothing" in str(found)
    assert "changed nothing" not in str(explain(engine, QUERY, "a query", SIDE, k=2))
