"""Constraints as users write them."""

import pytest

from instruct_embeddings.retrieval.constraints import find_constraints


@pytest.mark.parametrize(
    ("instruction", "found"),
    [
        ("Only tools with a graphical interface", [("only", "tools with a graphical interface")]),
        ("Tickets that are not about games", [("no", "games")]),
        ("Find what is about sync, that isn't about mobile", [("no", "mobile")]),
        ("Find tickets about sync which don't mention mobile.", [("no", "mobile")]),
        ("Papers that do not discuss animals", [("no", "animals")]),
        ("Games are not wanted", [("no", "games")]),
        ("It should mention refunds", [("only", "refunds")]),
        ("Only if it mentions refunds", [("only", "refunds")]),
        (
            "Only command line tools, nothing graphical.",
            [("only", "command line tools"), ("no", "graphical")],
        ),
        ("Exclude anything about games", [("no", "games")]),
        ("Anything but games", [("no", "games")]),
        ("I don\u2019t want anything about billing.", [("no", "billing")]),
        ("not libraries", [("no", "libraries")]),
        ("Leave out manuals, please", [("no", "manuals")]),
        ("It must not be about sports.", [("no", "sports")]),
        ("Prefer programs written in Python", [("prefer", "programs written in python")]),
        ("Python rather than Perl", [("prefer", "python"), ("no", "perl")]),
        ("For KDE", [("only", "kde")]),
        ("written for GNOME", [("only", "gnome")]),
        ("graphical programs only", [("only", "graphical programs")]),
        ("Show only results from 2023, nothing else.", [("only", "2023")]),
        ("Nothing but puzzles", [("only", "puzzles")]),
    ],
)
def test_what_is_wanted_and_what_is_not(instruction: str, found: list[tuple[str, str]]) -> None:
    assert [(one.kind, one.phrase) for one in find_constraints(instruction)] == found


@pytest.mark.parametrize(
    "instruction",
    [
        "Find the abstract that supports the claim",
        "Which disease or organism is studied?",
        "Find what can be done against it.",
        "How can it be prevented?",
        "Is it about travel, money, work or something else?",
        "Find other comments that give the same reason as this one.",
        "Who is not satisfied?",
        "Find arguments that do not support the claim",
        "Which problem is not reported?",
        "No more than 3 results",
        "Not only reports",
        "Is it not working?",
        "What is the topic?",
        "no",
    ],
)
def test_questions_and_relations_state_no_constraint(instruction: str) -> None:
    assert find_constraints(instruction) == ()


def test_what_is_too_long_to_name_something_is_no_constraint() -> None:
    assert find_constraints("Only " + "very " * 40 + "long") == ()
