"""Sections of the evidence show the kept results, and are left out where there are none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import (
    environment,
    examples,
    instruction_following_page,
    limit_page,
    mteb_page,
    retrieval_page,
)
from benchmarks.report import tabulate

ENVIRONMENT = {"seed": 0}


def ran(known: dict[str, Any]) -> str:
    return f"Seed {known['seed']}."


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(environment, "RESULTS", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "page", [instruction_following_page, limit_page, mteb_page, retrieval_page]
)
def test_what_was_not_measured_has_no_section(page: Any) -> None:
    assert page.section(tabulate, ran) == []


def section(page: Any, name: str, results: dict[str, Any]) -> str:
    environment.save(name, {"environment": ENVIRONMENT, **results})
    make: Callable[..., list[str]] = page.section
    return "\n\n".join(make(tabulate, ran))


def test_gains_count_where_every_seed_is_sure() -> None:
    def figure(subject: str, method: str, mean: float, gain: float | None, p: float | None) -> Any:
        where = {"set": "toys", "kind": "triplets", "subject": subject, "method": method}
        return {**where, "mean": mean, "spread": 0.01, "gain": gain, "p_value": p}

    figures = [
        figure("a + b", "generic", 0.5, None, None),
        figure("a + b", "ours", 0.7, 0.2, 0.01),
        figure("a + c", "generic", 0.5, None, None),
        figure("a + c", "ours", 0.4, -0.1, 0.02),
        figure("b + c", "generic", 0.5, None, None),
        figure("b + c", "ours", 0.52, 0.02, 0.3),
    ]
    figures += [{**one, "kind": kind} for one in figures for kind in ("clustering", "similarity")]
    sizes = {"rows": 300, "triplets": 400, "rounds": 500}
    model = {"name": "a model"}
    found = section(
        instruction_following_page,
        "instruction-following",
        {
            "figures": figures,
            "sizes": sizes,
            "model": model,
            "texts": 9,
            "sample": 5,
            "wordings": 3,
            "seeds": [0, 1],
        },
    )
    assert "| ours | 0.540 (1 better, 1 worse) |" in found
    assert "| generic | 0.500 | 0.500 | 0.500 |" in found
    assert "| toys: a + c | 0.500 ±0.010 | 0.400 ±0.010 |" in found


def test_a_changed_instruction_shows_what_obedience_is_worth() -> None:
    row = {"task": "toys", "kind": "InstructionReranking", "measure": "p-MRR"}
    row |= {"instructions": ["which colour?", "which shape?"]}
    scores = [
        {**row, "method": "generic", "score": 0.0, "before": 0.5, "after": 0.4},
        {**row, "method": "transform", "score": 0.123, "before": 0.6, "after": 0.7},
        {**row, "kind": "Clustering", "measure": "v_measure", "method": "generic", "score": 0.25},
        {**row, "kind": "Clustering", "measure": "v_measure", "method": "transform", "score": None},
    ]
    sizes = dict.fromkeys(
        ("texts", "pairs", "candidates", "documents", "queries", "sentences"), 1000
    )
    found = section(
        mteb_page, "mteb", {"scores": scores, "sizes": sizes, "model": "a", "generic": "b"}
    )
    cells = "+0.0 (0.500, 0.400) | +12.3 (0.600, 0.700)"
    assert f"| toys | which colour?; which shape? | {cells} |" in found
    assert "| toys | which colour?; which shape? | 0.250 | - |" in found
    assert "Of 1: `transform` is above `generic` on 1, below on 0." in found
    assert "**Retrieval**" not in found  # none was measured


def test_the_bound_is_shown_with_what_was_published() -> None:
    def method(name: str, judged: float, other: float) -> dict[str, Any]:
        values = {"judged": judged, "other": other}
        keys = [(half, k) for half in values for k in (2, 10)]
        return {
            "method": name,
            **{f"{h} recall@{k}": {"mean": values[h], "spread": 0.01} for h, k in keys},
        }

    found = section(
        limit_page,
        "limit",
        {
            "model": "a model",
            "questions": 1000,
            "documents": 46,
            "irrelevant": 10,
            "steps": 1000,
            "seeds": [0, 1, 2],
            "chance": {"recall@2": 0.0435, "recall@10": 0.2174},
            "published": {"512": 500_000},
            "critical": 210_938,
            "bound": [
                {"vectors": "orthogonal", "dimension": 46, "pairs found": 1, "smallest gap": 0.71}
            ],
            "ceilings": {"any query vectors": {"recall@2": 1, "recall@10": 1}},
            "methods": [
                method("generic", 0.16, 0.17),
                method("transform learned from judgements", 0.9, 0.1),
                method(limit_page.WORDS, 1.0, 1.0),
            ],
        },
    )
    assert "500,000 at 512 dimensions" in found
    assert "210,938 documents at 384" in found
    assert "| orthogonal | 46 | 1.000 | 0.71 |" in found
    assert "finds 0.100 of the answers among two, not above the generic vectors (0.170)" in found
    assert "brings 0.900 of the answers among ten" in found


def test_questions_are_shown_by_set_aspect_and_constraint() -> None:
    gain = {"value": 0.1, "low": 0.05, "high": 0.15, "level": 0.95, "p_value": 0.01}

    def row(method: str, part: str, of: str, ndcg: float) -> dict[str, Any]:
        return {
            "set": "toys",
            "kind": "instructed",
            "documents": 30,
            "part": part,
            "of": of,
            "method": method,
            "queries": 20,
            "ndcg@10": ndcg,
            "recall@100": 0.9,
            "generic ndcg@10": 0.4,
            "generic recall@100": 0.9,
            **({"right order": 0.75, "groups": 4} if part == "all" else {}),
            **({"gain": gain, "recall gain": gain} if method != "generic" else {}),
        }

    def constraint(method: str, part: str, of: str) -> dict[str, Any]:
        shares = {"satisfied": 0.5, "on topic": 0.75, "both": 0.25}
        gains = {f"{share} gain": gain for share in shares} if method != "generic" else {}
        return {"part": part, "of": of, "method": method, "cases": 9, **shares, **gains}

    methods = {"generic": 0.4, "instant query": 0.5}
    parts = [("all", ""), ("aspect", "colour")]
    found = section(
        retrieval_page,
        "retrieval",
        {
            "models": {"generic": "a", "encoder": "b"},
            "sizes": {"sample": 500, "fitted": 3},
            "retrieval": [row(m, *part, ndcg) for part in parts for m, ndcg in methods.items()],
            "constraints": [
                constraint(m, *part)
                for part in [("all", ""), ("kind", "no"), ("collection", "toys")]
                for m in methods
            ],
        },
    )
    assert "| instant query | 1 | 0.500 | 0.400 | 0.900 | +0.100 | +0.100 |" in found
    assert "| instant query | 20 | 0.500 | +0.100 [+0.050, +0.150] |" in found
    assert "| colour | 20 | 0.400 | 0.500 (+0.100) |" in found
    assert "| instant query | 0.500 +0.100 [+0.050, +0.150] |" in found
    assert "| no | 9 | 0.50 / 0.75 / 0.25 | 0.50 / 0.75 / 0.25 |" in found


def test_gains_of_examples_are_told_beside_the_query_without_them() -> None:
    assert examples.section(tabulate, ran) == ""
    rows = [
        {"name": "toys", "examples": kind, "by count": [0.5, 0.5 + gain]}
        for kind, gain in (("good", 0.1), ("good and bad", -0.02))
    ]
    means = {
        f"{part} mean, {kind}": [0.4, 0.4]
        for part in ("retrieval", "labels")
        for kind in examples.KINDS
    }
    results = {"counts": [0, 4], "retrieval": rows, "labels": [], "command": "run", **means}
    environment.save("examples", {"environment": ENVIRONMENT, **results})
    found = examples.section(tabulate, ran)
    assert "| toys, good | 0.500 | +0.100 |" in found
    assert "| toys, good and bad | 0.500 | -0.020 |" in found
    assert "`make bench-examples DATA=folder`, `run`" in found
