"""Filters found in metadata that a reader can look over."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from instruct_embeddings._types import FloatArray
from instruct_embeddings.explain.proposals import FilterProposal, propose_filter
from instruct_embeddings.retrieval.constraints import Constraint, Kind

# Eight packages: every value stands in four or two of them; ids and titles are different in all.
ROWS = [
    {
        "id": f"p{number}",
        "title": f"graphical thing {number}",
        "interface": ("graphical", "command-line", "text mode", "graphical")[number % 4],
        "language": ("Python", "Perl")[number % 2],
        "section": ("games", "Utilities")[number // 4],
        "stars": number,
    }
    for number in range(8)
]


def propose(kind: Kind, phrase: str, **options: Any) -> FilterProposal | None:
    return propose_filter(Constraint(kind, phrase), ROWS, **options)


@pytest.mark.parametrize(
    ("kind", "phrase", "where", "passing"),
    [
        ("only", "tools with a graphical interface", {"interface": "graphical"}, 4),
        ("only", "graphical", {"interface": "graphical"}, 4),
        ("no", "graphical tools", {"interface": {"$ne": "graphical"}}, 4),
        ("only", "command line tools", {"interface": "command-line"}, 2),
        ("only", "programs written in python", {"language": "Python"}, 4),
        ("no", "game", {"section": {"$ne": "games"}}, 4),
        ("no", "GAMES", {"section": {"$ne": "games"}}, 4),
        ("only", "a utility", {"section": "Utilities"}, 4),
        ("only", "python or perl", {"language": {"$in": ["Perl", "Python"]}}, 8),
        ("no", "python or perl", {"language": {"$nin": ["Perl", "Python"]}}, 0),
        (
            "only",
            "command-line or text mode",
            {"interface": {"$in": ["command-line", "text mode"]}},
            4,
        ),
    ],
)
def test_a_value_in_the_words_of_the_phrase_is_proposed(
    kind: Kind, phrase: str, where: Mapping[str, Any], passing: int
) -> None:
    found = propose(kind, phrase)
    assert found is not None
    assert (found.where, found.found_by, found.passing, found.rows) == (where, "words", passing, 8)
    assert (found.key, found.constraint) == (next(iter(where)), Constraint(kind, phrase))


@pytest.mark.parametrize("phrase", ["anything for children", "line", "text", "p3", "3", "the", ""])
def test_what_no_value_is_gets_no_filter(phrase: str) -> None:
    assert propose("only", phrase) is None


def test_a_wish_gets_no_filter() -> None:
    assert propose("prefer", "graphical tools") is None


def test_keys_whose_values_do_not_repeat_are_left_out() -> None:
    # "graphical thing 3" stands in the title of one row.
    found = propose("only", "graphical thing 3")
    assert found is not None
    assert found.key == "interface"


def test_the_longer_value_wins_over_its_part() -> None:
    rows = [{"mode": value} for value in ["line", "line", "command line", "command line"]]
    found = propose_filter(Constraint("only", "command line tools"), rows)
    assert found is not None
    assert found.where == {"mode": "command line"}


def test_the_name_of_the_key_need_not_be_said_and_breaks_ties() -> None:
    rows = [{"area": v, "interface": f"{v} interface"} for v in ["web", "web", "desk", "desk"]]
    named = propose_filter(Constraint("only", "a web interface"), rows)
    assert named is not None
    assert named.where == {"interface": "web interface"}
    unnamed = propose_filter(Constraint("only", "web"), rows)
    assert unnamed is not None
    assert unnamed.where == {"area": "web"}


def test_yes_and_no_are_no_values_to_name() -> None:
    rows = [{"free": value} for value in ["yes", "no", "yes", "no"]]
    assert propose_filter(Constraint("only", "yes"), rows) is None


def test_rows_without_the_key_pass_what_excludes_only() -> None:
    rows: list[dict[str, str]] = [{"kind": "game"}, {"kind": "game"}, {}]
    only = propose_filter(Constraint("only", "games"), rows)
    without = propose_filter(Constraint("no", "games"), rows)
    assert only is not None
    assert without is not None
    assert (only.rows, only.passing, without.passing) == (2, 2, 1)


def embed(vectors: Mapping[str, Sequence[float]]) -> Any:
    def of(texts: Sequence[str]) -> FloatArray:
        return np.array([vectors.get(text, [0.0, 0.0, 1.0]) for text in texts], dtype=np.float32)

    return of


def test_the_closest_value_is_proposed_where_words_differ() -> None:
    near = embed({"a gui": [1, 0, 0], "graphical": [0.8, 0.6, 0], "command line": [0.6, 0.8, 0]})
    found = propose("only", "a gui", embed=near)
    assert found is not None
    assert (found.where, found.found_by) == ({"interface": "graphical"}, "meaning")


@pytest.mark.parametrize(
    "graphical", [[0.55, 0.8, 0.2], [0.65, 0.75, 0]], ids=["too far", "without a lead"]
)
def test_a_value_that_is_not_clearly_meant_is_not(graphical: list[float]) -> None:
    near = embed({"a gui": [1, 0, 0], "graphical": graphical, "command line": [0.6, 0.8, 0]})
    assert propose("only", "a gui", embed=near) is None


def test_words_come_before_meaning() -> None:
    def forbidden(texts: Sequence[str]) -> FloatArray:
        raise AssertionError("embedded")

    assert propose("only", "graphical tools", embed=forbidden) is not None


def test_without_metadata_there_is_nothing_to_propose() -> None:
    nothing = embed({})
    for rows in ([], [{}], [{"n": 1}, {"n": 1}]):
        assert propose_filter(Constraint("only", "games"), rows, embed=nothing) is None
