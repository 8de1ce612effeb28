"""What is told of an instruction that nothing is fitted for."""

import json
import warnings

import numpy as np
import pytest

from instruct_embeddings.config import FitConfig
from instruct_embeddings.errors import ConfigError, GuideError
from instruct_embeddings.explain import explain
from instruct_embeddings.guides import MetadataGuide
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.retrieval.constraints import Constraint
from instruct_embeddings.testing import InMemoryCollection, TinyEncoder
from tests.movers import TinyInstant

QUERY = "viewer"
KINDS = ("graphical", "command-line")
# Two of each thing are graphical, two for the command line.
TEXTS = [
    f"{kind} {thing} number {n}" for thing in ("viewer", "editor") for kind in KINDS for n in "12"
]


def engine(guide: MetadataGuide | None = None, *, instant: bool = True) -> InstructRetriever:
    collection = InMemoryCollection(
        TinyEncoder().encode(TEXTS),
        texts=TEXTS,
        metadatas=[{"interface": text.split()[0]} for text in TEXTS],
        name="packages",
    )
    mover = TinyInstant() if instant else None
    return InstructRetriever(
        collection, guide, instant=mover, fit=FitConfig(folds=2, time_budget=1e-9)
    )


def vector() -> "np.ndarray":
    return TinyEncoder().encode([QUERY])[0]


def test_ranks_and_scores_of_both_searches_are_told() -> None:
    own = engine()
    found = explain(own, vector(), QUERY, "What editor is it?", k=3)
    assert (found.ranked_by, found.report, found.categories) == ("instant", None, ())
    assert (found.learned, found.guide, found.query_category, found.cloud) == (None,) * 4
    generic = own.search(vector(), k=3)
    instant = own.search(vector(), query=QUERY, instruction="What editor is it?", k=3)
    by_rank = {hit.adapted_rank: hit for hit in found.hits}
    assert [by_rank[rank].id for rank in (1, 2, 3)] == [hit.id for hit in instant]
    assert all("editor" in (by_rank[rank].text or "") for rank in (1, 2, 3))
    assert [by_rank[rank].adapted_score for rank in (1, 2, 3)] == [hit.score for hit in instant]
    before = {hit.generic_rank: hit for hit in found.hits}
    assert [before[rank].id for rank in (1, 2, 3)] == [hit.id for hit in generic]
    assert [before[rank].generic_score for rank in (1, 2, 3)] == pytest.approx(
        [hit.score for hit in generic], abs=1e-6
    )
    assert all("viewer" in (before[rank].text or "") for rank in (1, 2, 3))


def test_constraints_are_told_with_the_filter_that_answers_them() -> None:
    own = engine()
    found = explain(own, vector(), QUERY, "Only graphical tools, no editor.", k=2)
    only, no = found.constraints
    assert (only.constraint, no.constraint) == (
        Constraint("only", "graphical tools"),
        Constraint("no", "editor"),
    )
    assert only.speaks == no.speaks == 1.0
    assert only.proposal is not None
    assert only.proposal.where == {"interface": "graphical"}
    assert (only.proposal.passing, no.proposal) == (4, None)
    assert {hit.text for hit in found.hits if hit.adapted_rank in (1, 2)} == set(TEXTS[:2])
    hits = own.search(vector(), query=QUERY, instruction=found.instruction, k=2)
    assert [hit.adapted_score for hit in found.hits[:2]] == [hit.score for hit in hits]


def test_what_no_result_speaks_of_changes_nothing_and_is_said() -> None:
    [reading] = explain(engine(), vector(), QUERY, "No deserts.").constraints
    assert (reading.speaks, reading.proposal) == (0.0, None)


def test_the_filter_is_not_applied() -> None:
    found = explain(engine(), vector(), QUERY, "Only command line tools.", k=8)
    assert len(found.hits) == 8


def test_filters_of_the_search_hold() -> None:
    where = {"interface": "graphical"}
    found = explain(engine(), vector(), QUERY, "No graphical tools.", where=where)
    assert {text.split()[0] for hit in found.hits if (text := hit.text)} == {"graphical"}
    nothing = explain(engine(), vector(), QUERY, "No graphical tools.", where={"interface": "x"})
    assert (nothing.hits, nothing.ranked_by, nothing.constraints[0].speaks) == ((), "instant", 0.0)


def test_a_reader_gets_it_in_sentences() -> None:
    text = str(explain(engine(), vector(), QUERY, "No graphical tools, no deserts.", k=2))
    lines = text.splitlines()
    assert lines[:3] == [
        '"No graphical tools, no deserts."',
        "answered by the instant query, without a fit",
        'no "graphical tools": obeyed',
    ]
    assert lines[3:6] == [
        '  metadata could answer it exactly: "interface" has "graphical" (named). Not applied;',
        "  4 of 8 sampled rows pass the filter",
        '  {"interface": {"$ne": "graphical"}}',
    ]
    assert 'no "deserts": the results speak of nothing like it, so it changes nothing' in lines
    assert "sampled rows in clusters" not in text
    assert QUERY in lines


def test_plain_data_goes_through_json() -> None:
    found = explain(engine(), vector(), QUERY, "Only graphical tools.", k=1)
    data = json.loads(json.dumps(found.to_dict()))
    assert (data["ranked_by"], data["report"], data["categories"]) == ("instant", None, [])
    [reading] = data["constraints"]
    assert reading["constraint"] == {"kind": "only", "phrase": "graphical tools"}
    assert reading["proposal"]["where"] == {"interface": "graphical"}


def test_there_is_no_map(tmp_path: object) -> None:
    with pytest.raises(ConfigError, match="no fitted transform answers it"):
        explain(engine(), vector(), QUERY, "What is it?").draw(f"{tmp_path}/map.png")


def test_with_a_guide_it_is_fitted_unless_it_shall_not_wait() -> None:
    guide = MetadataGuide("interface")
    asked = "Which interface does it have?"
    at_once = explain(engine(guide), vector(), QUERY, asked, wait=False)
    assert (at_once.ranked_by, at_once.report) == ("instant", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # eight rows may gain or not
        fitted = explain(engine(guide), vector(), QUERY, asked)
    assert fitted.ranked_by in ("fitted", "instant")
    assert (fitted.report is None) == (fitted.ranked_by == "instant")


def test_without_an_instant_query_constraints_are_said_not_to_be_read() -> None:
    own = engine(MetadataGuide("interface"), instant=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = explain(own, vector(), QUERY, "Only graphical tools.")
    assert found.constraints[0].speaks is None
    assert found.constraints[0].proposal is not None
    assert "not obeyed, since there is no instant query" in str(found)


def test_neither_guide_nor_instant_query_is_an_error() -> None:
    with pytest.raises(GuideError, match="no guide"):
        explain(engine(instant=False), vector(), QUERY, "What is it?")
