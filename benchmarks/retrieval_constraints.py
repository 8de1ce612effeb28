"""Constraints kept by each contestant, beside generic vectors and all rows of the collections."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.constraints_suite import ConstraintCollection, obeyed
from benchmarks.retrieval_contestants import GENERIC, Asked, Contestant, Stored
from benchmarks.retrieval_metrics import gain
from benchmarks.tasks import embed
from instruct_embeddings import InstructEncoder
from instruct_embeddings._types import FloatArray, IntArray

CHANCE = "any row"


def measure_constraints(
    collections: Sequence[ConstraintCollection],
    generic: InstructEncoder,
    table: dict[str, Contestant],
    most: tuple[int, int],
    seed: int,
) -> list[dict[str, Any]]:
    """Shares of the ten best that satisfy, that are on topic, and both; by kind, by collection.

    Args:
        collections: The suite.
        generic: Makes the vectors of queries and rows.
        table: Contestants by name.
        most: Cases and rows of each collection, at most.
        seed: Seed of intervals, and of the rows that are left out.
    """
    found: dict[str, list[FloatArray]] = {}
    labels: list[tuple[str, str]] = []
    chance: list[FloatArray] = []
    for whole in track(collections, "constraints", console=Console(stderr=True)):
        own = _few(whole, *most, seed)
        stored = Stored(own.name, own.texts, embed(generic, own.texts), ())
        vectors = embed(generic, [case.query for case in own.cases])
        for vector, case in zip(vectors, own.cases, strict=True):
            asked = Asked([case.query], case.instruction, vector[None])
            labels.append((own.name, case.kind))
            hits = np.stack([case.satisfied, case.on_topic, case.satisfied & case.on_topic])
            chance.append(hits.mean(axis=1))
            for name, contestant in table.items():
                scores = contestant(asked, stored)
                row = np.full(3, np.nan, dtype=np.float32)
                if scores is not None:
                    by_case = obeyed(scores, [case])
                    row = np.concatenate([by_case.satisfied, by_case.on_topic, by_case.both])
                found.setdefault(name, []).append(row)
    # Who does not compete in every case is not compared.
    stacked = {name: np.stack(rows) for name, rows in (found | {CHANCE: chance}).items()}
    shares = {name: rows for name, rows in stacked.items() if not np.isnan(rows).any()}
    return [
        _constrained(part, of, name, figures[where], shares[GENERIC][where], seed)
        for part, of, where in _constraint_parts(labels)
        for name, figures in shares.items()
    ]


def _constraint_parts(labels: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str, IntArray]]:
    yield "all", "", np.arange(len(labels))
    for side, part in ((1, "kind"), (0, "collection")):
        for of in dict.fromkeys(label[side] for label in labels):
            yield part, of, np.flatnonzero([label[side] == of for label in labels])


def _constrained(
    part: str, of: str, name: str, ours: FloatArray, base: FloatArray, seed: int
) -> dict[str, Any]:
    found: dict[str, Any] = {"part": part, "of": of, "method": name, "cases": len(ours)}
    for place, share in enumerate(("satisfied", "on topic", "both")):
        found[share] = round(float(ours[:, place].mean()), 4)
        difference = gain(ours[:, place], base[:, place], seed=seed)
        if name != GENERIC and difference:
            found[f"{share} gain"] = difference.to_dict()
    return found


def _few(own: ConstraintCollection, cases: int, rows: int, seed: int) -> ConstraintCollection:
    """The first cases, which are in random order, over some of the rows."""
    kept = np.sort(np.random.default_rng(seed).permutation(len(own.texts))[:rows])
    chosen = [
        replace(case, satisfied=case.satisfied[kept], on_topic=case.on_topic[kept])
        for case in own.cases[:cases]
    ]
    return ConstraintCollection(own.name, [own.texts[row] for row in kept], chosen)
