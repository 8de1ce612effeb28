import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import constraints_suite as suite
from benchmarks.constraints_words import COMMANDS


def case(satisfied: list[int], on_topic: list[int]) -> suite.ConstraintCase:
    rows = (np.array(each, dtype=np.bool_) for each in (satisfied, on_topic))
    return suite.ConstraintCase("toys", "a topic", "Only this.", "only", *rows)


def test_shares_of_the_best_rows() -> None:
    """Of the two best, the third and the fourth row, one satisfies and both are on topic."""
    scores = np.array([[0.1, 0.2, 0.9, 0.8]], dtype=np.float32)
    found = suite.obeyed(scores, [case([1, 1, 1, 0], [0, 0, 1, 1])], k=2)
    shares = (found.satisfied, found.on_topic, found.both)
    assert [share.tolist() for share in shares] == [[0.5], [1.0], [0.5]]


@pytest.mark.parametrize(("good", "told"), [(29, False), (30, True), (80, True), (81, False)])
def test_a_case_is_neither_rare_nor_nearly_always_met(good: int, told: bool) -> None:
    on_topic = np.repeat([True, False], [100, 50])
    satisfied = np.arange(150) < good
    assert suite.telling(satisfied, on_topic) == told


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Packages of two topics and interfaces, and commands of one domain with two intents."""
    (tmp_path / "dev").mkdir()
    facets = [
        {"interface": [kind], "role": ["program"], "works-with": [topic]}
        for kind in ("graphical", "commandline")
        for topic in ("mail", "audio")
    ]
    packages = [
        {"text": f"package {n}", "section": "misc", "tags": facets[n % 4]} for n in range(200)
    ]
    packages.append({"text": "no tags", "section": "misc", "tags": {}})
    intents = {"massive_en": ("alarm set", "alarm query"), "mtop_en": ("get event", "weather")}
    files = {"debian_packages": packages}
    for name, pair in intents.items():
        domain = COMMANDS[name]
        files[name] = [
            {"text": f"{name} {n}", "labels": {domain: "area", "intent": pair[n % 2]}}
            for n in range(suite.MOST_ROWS + 100)
        ]
    for name, rows in files.items():
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "dev" / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return tmp_path


def test_cases_are_the_same_for_the_same_seed(data: Path) -> None:
    one, other = (suite.load_cases(data, seed=4) for _ in range(2))
    asked = [[(c.query, c.instruction) for own in each for c in own.cases] for each in (one, other)]
    assert asked[0] == asked[1]
    assert {own.name for own in one} == {
        "debian_packages/interface",
        "debian_packages/role",
        "debian_packages/games",
        "massive_en",
        "mtop_en",
    }


def test_every_case_can_tell_and_knows_its_rows(data: Path) -> None:
    for own in suite.load_cases(data, seed=0):
        assert len(own.texts) <= suite.MOST_ROWS
        for one in own.cases:
            assert one.collection == own.name
            assert one.satisfied.shape == one.on_topic.shape == (len(own.texts),)
            assert suite.telling(one.satisfied, one.on_topic)


def test_no_is_the_reverse_of_only(data: Path) -> None:
    interface = suite.load_cases(data, seed=0)[0]
    assert {c.kind for c in interface.cases} == {"only", "no", "prefer", "for"}
    for one in (c for c in interface.cases if c.kind == "no"):
        matching = [c for c in interface.cases if (c.satisfied == ~one.satisfied).all()]
        assert "only" in {c.kind for c in matching}


def test_a_command_that_is_asked_is_not_stored(data: Path) -> None:
    commands = [own for own in suite.load_cases(data, seed=0) if own.name in COMMANDS]
    assert all(own.cases for own in commands)
    for own in commands:
        assert not {c.query for c in own.cases} & set(own.texts)
