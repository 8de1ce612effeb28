"""Groups of queries: which documents are right, and which may not be judged."""

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from instruct_embeddings.training.instant.draws import Drawn, Draws, Words
from instruct_embeddings.training.instant.run import RECIPES
from instruct_embeddings.training.instant.sets import Aspect, LabelledSet, Query, RetrievalSet
from instruct_embeddings.training.tables import read_toml
from instruct_embeddings.transform.vectors import unit_rows

N, D, ROWS = 120, 8, 6


def unit(n: int, seed: int) -> Any:
    return unit_rows(np.random.default_rng(seed).standard_normal((n, D)).astype(np.float32))


def aspect(name: str, modulus: int) -> Aspect:
    labels = np.arange(N) % modulus
    labels[:5] = -1  # without a label
    return Aspect(
        labels=labels,
        words=tuple(f"{name} {number}" for number in range(modulus)),
        word_vectors=unit(modulus, modulus),
        instructions=(f"Which {name} is it?",),
    )


def retrieval(name: str, kinds: tuple[str, ...]) -> RetrievalSet:
    documents, queries = unit(30, 3), unit(10, 4)
    asked = tuple(Query(f"query {n}", n, (n, n + 10), own=n + 20) for n in range(10))
    return RetrievalSet(name, documents, queries, dict.fromkeys(kinds, asked))


@pytest.fixture(scope="module")
def draws() -> Draws:
    labelled = LabelledSet(
        "things",
        tuple(f"text {n}" for n in range(N)),
        unit(N, 0),
        {"colour": aspect("colour", 3), "shape": aspect("shape", 4)},
    )
    return Draws(
        [labelled],
        [retrieval("ecare_train", ("cause", "effect"))],
        [retrieval("xquad", ("question",))],
        Words(read_toml(RECIPES / "instant-instructions.toml")),
        {"labels": 1.0},
        {"ecare_train": 1.0, "xquad": 1.0},
    )


def drawn(draws: Draws, kind: str, seed: int = 0) -> Drawn:
    found = replace(draws, kinds={kind: 1.0}).group(random.Random(seed), ROWS)
    assert found.kind == kind
    assert len(found.texts) == len(found.instructions) == len(found.vectors) == ROWS
    assert found.allowed.shape == (ROWS, len(found.documents))
    assert all(text.strip() for text in found.instructions)
    if found.relevant is not None:
        assert not (found.relevant & ~found.allowed).any()
    return found


@pytest.mark.parametrize("kind", ["labels", "relations", "constraints", "plain", "keep"])
@pytest.mark.parametrize("seed", range(5))
def test_the_same_seed_draws_the_same(draws: Draws, kind: str, seed: int) -> None:
    one, two = drawn(draws, kind, seed), drawn(draws, kind, seed)
    assert (one.texts, one.instructions) == (two.texts, two.instructions)
    np.testing.assert_array_equal(one.allowed, two.allowed)


@pytest.mark.parametrize("seed", range(5))
def test_texts_of_the_same_label_are_right_but_for_the_query_itself(
    draws: Draws, seed: int
) -> None:
    found = drawn(draws, "labels", seed)
    [one] = draws.labelled
    assert found.relevant is not None
    assert found.words is not None
    assert found.word is not None
    name = "colour" if len(found.words) == 3 else "shape"
    labels = one.aspects[name].labels
    for row, text in enumerate(found.texts):
        own = int(text.removeprefix("text "))
        assert labels[own] == found.word[row]
        assert not found.allowed[row, own]
        expected = (labels == labels[own]) & (np.arange(N) != own)
        np.testing.assert_array_equal(found.relevant[row], expected)
        assert not found.allowed[row, labels < 0].any()


def test_queries_under_a_relation_have_their_own_documents(draws: Draws) -> None:
    found = drawn(draws, "relations")
    assert found.relevant is not None
    for row, text in enumerate(found.texts):
        number = int(text.removeprefix("query "))
        assert np.flatnonzero(found.relevant[row]).tolist() == [number, number + 10]
        assert np.flatnonzero(~found.allowed[row]).tolist() == [number + 20]
    table = draws.words.table["relations"]["ecare_train"]
    known = {text for asked in table.values() for text in asked["instructions"]}
    assert set(found.instructions) <= known


@pytest.mark.parametrize("seed", range(12))
def test_constraints_keep_the_topic_and_choose_by_the_label(draws: Draws, seed: int) -> None:
    found = drawn(draws, "constraints", seed)
    assert found.relevant is not None
    share = found.relevant.sum(1)
    assert share.min() >= 2
    # At most as many as count as on the topic of a query.
    assert share.max() <= 150


def test_what_asks_for_nothing_else_keeps_the_ranking(draws: Draws) -> None:
    for kind in ("plain", "keep"):
        assert drawn(draws, kind).keep
    assert drawn(draws, "keep").relevant is None
    assert drawn(draws, "plain").relevant is not None
    assert not drawn(draws, "labels").keep
