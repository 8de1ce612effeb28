"""Metadata and a reader's eye, held against a guide."""

import json
from dataclasses import asdict

import numpy as np

from instruct_embeddings._reading import read_plain
from instruct_embeddings._types import FloatArray
from instruct_embeddings.protocols import Rows
from instruct_embeddings.supervision import Targets
from instruct_embeddings.transform.guide_check import GuideCheck, KeyCheck, check_guide

SIZE = 120
MOODS = [("angry", "calm", "sad")[row % 3] for row in range(SIZE)]


def rows_with(*metadata_keys: str) -> Rows:
    """Rows whose vectors know nothing of the mood."""
    vectors = np.random.default_rng(0).standard_normal((SIZE, 16)).astype(np.float32)
    own = {"mood": MOODS, "id": [f"row {i}" for i in range(SIZE)], "year": [2000] * SIZE}
    metadatas = tuple({key: own[key][row] for key in metadata_keys} for row in range(SIZE))
    return Rows(tuple(map(str, range(SIZE))), vectors, (), metadatas)


def targets_of(vectors: FloatArray) -> Targets:
    return Targets(vectors, np.ones(len(vectors), dtype=np.bool_))


def by_mood(moods: list[str]) -> Targets:
    noise = np.random.default_rng(1).standard_normal((SIZE, 3)).astype(np.float32)
    place = [("angry", "calm", "sad").index(mood) for mood in moods]
    return targets_of(np.eye(3, dtype=np.float32)[place] + np.float32(0.01) * noise)


def test_a_key_that_means_what_the_guide_reads_gains() -> None:
    check = check_guide(rows_with("mood", "id", "year"), by_mood(MOODS))
    (key,) = check.keys  # ids and what never changes are no classes
    assert (key.key, key.rows, key.guide) == ("mood", SIZE, 1.0)
    assert key.generic < 0.5
    assert check.gains
    assert f"; better by mood {key.generic:.3f} -> 1.000;" in str(check)


def test_a_guide_that_reads_something_else_gains_nothing() -> None:
    reads = np.random.default_rng(2).choice(["angry", "calm", "sad"], SIZE).tolist()
    check = check_guide(rows_with("mood"), by_mood(reads))
    assert check.gains is False
    assert "; no better by mood" in str(check)


def test_a_guide_that_is_worse_than_the_vectors_gains_nothing() -> None:
    clear = by_mood(MOODS).vectors
    rows = rows_with("mood")
    rows = Rows(rows.ids, clear, (), rows.metadatas)
    noise = np.random.default_rng(3).standard_normal((SIZE, 3)).astype(np.float32)
    (key,) = check_guide(rows, targets_of(noise)).keys
    assert key.generic == 1.0
    assert key.guide < 0.5
    assert not key.gains


def test_without_metadata_there_is_nothing_to_ask_but_pairs_to_read() -> None:
    rows = rows_with()
    check = check_guide(rows, by_mood(MOODS))
    assert check.keys == ()
    assert check.gains is None
    assert "no metadata to ask" in str(check)
    named = [row for pair in check.pairs for row in pair]
    assert len(check.pairs) == 3
    assert len(set(named)) == 6
    unit = rows.vectors / np.linalg.norm(rows.vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    middle = np.median(cosines[np.triu_indices(SIZE, 1)])
    for one, other in check.pairs:
        assert MOODS[int(one)] == MOODS[int(other)]
        assert cosines[int(one), int(other)] < middle


def test_rows_that_were_not_judged_do_not_count() -> None:
    targets = by_mood(MOODS)
    judged = np.arange(SIZE) < 60
    check = check_guide(rows_with("mood"), Targets(targets.vectors, judged))
    assert check.keys[0].rows == 60
    assert all(int(row) < 60 for pair in check.pairs for row in pair)
    few = Targets(targets.vectors, np.arange(SIZE) < 10)
    assert check_guide(rows_with("mood"), few) == GuideCheck()


def test_json_gives_the_check_back() -> None:
    check = GuideCheck((KeyCheck("mood", 7, 0.5, 0.75, 0.01),), (("a", "b"),))
    assert read_plain(GuideCheck, json.loads(json.dumps(asdict(check)))) == check
