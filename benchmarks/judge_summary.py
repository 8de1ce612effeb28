"""What the figures of all sets come to: means, intervals, goals."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from benchmarks.judge_contestants import (
    ALONE,
    INSTANT,
    REFINED,
    RERANKED,
    TWICE,
    Key,
    Measured,
    until_untrusted,
)
from benchmarks.judge_judges import GUESS, TRUTH
from benchmarks.judge_moves import ADAM, RIDGE
from benchmarks.retrieval_metrics import gain
from instruct_embeddings._types import FloatArray, IntArray

FIGURES = ("ndcg", "recall")
GAIN_IN_RECALL, LOST_IN_NDCG, EQUAL, FASTER = 0.05, 0.01, 0.005, 10
MORE_MS = 15.0


def by_set(measured: Measured, seed: int) -> list[dict[str, Any]]:
    """Every contestant on one set; what is refined with its gains and their intervals."""
    groups = np.array([query.group for query in measured.own.queries])
    rows = []
    for (judge, method), outcome in measured.outcomes.items():
        if judge == ALONE:
            continue
        row: dict[str, Any] = {"set": measured.own.name, "judge": judge, "method": method}
        row |= {each: round(float(np.mean(getattr(outcome, each))), 4) for each in FIGURES}
        if method == REFINED:
            for name, base in (("rerank", (judge, RERANKED)), ("first", ("", INSTANT))):
                for each in FIGURES:
                    pair = [
                        np.array(getattr(measured.outcomes[k], each))
                        for k in ((judge, method), base)
                    ]
                    row[f"{each} over {name}"] = _interval(pair[0], pair[1], groups, seed)
            row["trust"] = round(outcome.trust[-1], 3)
        rows.append(row)
    return rows


def overall(all_measured: Sequence[Measured], seed: int) -> list[dict[str, Any]]:
    """Means over sets of every judge and method, with intervals of what is refined."""
    rows = []
    for key in all_measured[0].outcomes:
        judge, method = key
        if judge == ALONE or all_measured[0].outcomes[key].ms:
            continue  # ways to move, which have a table of their own
        row: dict[str, Any] = {"judge": judge, "method": method}
        row |= {each: round(_mean(all_measured, key, each), 4) for each in FIGURES}
        if method in (REFINED, TWICE):
            for name, base in (("rerank", (judge, RERANKED)), ("first", ("", INSTANT))):
                for each in FIGURES:
                    row[f"{each} over {name}"] = _over_all(all_measured, key, base, each, seed)
            row["trust"] = round(
                float(np.mean([one.outcomes[key].trust[-1] for one in all_measured])), 3
            )
        rows.append(row)
    return rows


def moves(all_measured: Sequence[Measured], names: Sequence[str]) -> list[dict[str, Any]]:
    """Ways to move a query: quality with the verdicts in the final order and without, and cost."""
    rows = []
    for name in names:
        times = [ms for one in all_measured for ms in one.outcomes[TRUTH, name].ms]
        rows.append(
            {
                "method": name,
                **{each: round(_mean(all_measured, (TRUTH, name), each), 4) for each in FIGURES},
                **{
                    f"{each} alone": round(_mean(all_measured, (ALONE, name), each), 4)
                    for each in FIGURES
                },
                "ms": round(median(times), 3),
            }
        )
    return rows


def skill(all_measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """How long a guessing judge is listened to, and what that costs."""
    rows = []
    for one in all_measured:
        asked, lost = until_untrusted(one)
        ours, first = one.outcomes[GUESS, REFINED], one.outcomes["", INSTANT]
        rows.append(
            {
                "set": one.own.name,
                "questions": len(ours.ndcg),
                "until no trust": asked,
                "ndcg lost until then": round(lost, 4),
                **{
                    f"{each} lost": round(
                        float(np.mean(getattr(first, each)) - np.mean(getattr(ours, each))), 4
                    )
                    for each in FIGURES
                },
            }
        )
    return rows


def goals(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was wanted, what was reached, and whether that is enough."""
    found = []
    quality = results.get("quality")
    if quality:
        found += _quality_goals(quality)
    for row in results.get("cost", {}).get("rows", ()):
        most = row["index ms"]["median"] + MORE_MS
        found.append(
            _goal(
                f"a refinement of the {row['ranked by']} takes at most one more index query and "
                f"{MORE_MS:g} ms, together {most:.1f} ms, at {row['n']:,} vectors",
                f"{row['refinement ms']['median']:.1f} ms",
                met=row["refinement ms"]["median"] <= most,
            )
        )
    return found


def _quality_goals(quality: Mapping[str, Any]) -> list[dict[str, Any]]:
    whole = {(row["judge"], row["method"]): row for row in quality["overall"]}
    refined = whole[TRUTH, REFINED]
    own = [row for row in quality["by set"] if (row["judge"], row["method"]) == (TRUTH, REFINED)]
    worst = min(own, key=lambda row: row["ndcg over rerank"][0])
    recall = refined["recall over rerank"][0]
    guessed = whole[GUESS, REFINED]["ndcg over first"][0]
    ways = {row["method"]: row for row in quality["moves"]}
    ours, adam = ways[RIDGE], ways[ADAM]
    behind = max(adam[each] - ours[each] for each in FIGURES)
    faster = adam["ms"] / ours["ms"]
    return [
        _goal(
            f"recall@100 over rerank only, answers known, all sets: +{GAIN_IN_RECALL} or more",
            f"{recall:+.3f}",
            met=recall >= GAIN_IN_RECALL,
        ),
        _goal(
            f"nDCG@10 over rerank only, answers known, worst set: -{LOST_IN_NDCG} or more",
            f"{worst['ndcg over rerank'][0]:+.3f} ({worst['set']})",
            met=worst["ndcg over rerank"][0] >= -LOST_IN_NDCG,
        ),
        _goal(
            "nDCG@10 over the first ranking, guesses, all questions: nothing lost",
            f"{guessed:+.4f}",
            met=guessed >= 0,
        ),
        _goal(
            f"the move beside Adam as published: equal within {EQUAL} or better",
            f"{-behind:+.3f} in the worse of nDCG@10 and recall@100",
            met=behind <= EQUAL,
        ),
        _goal(
            f"the move beside Adam as published: {FASTER} times faster or more",
            f"{faster:.0f} times",
            met=faster >= FASTER,
        ),
    ]


def _goal(wanted: str, reached: str, *, met: bool) -> dict[str, Any]:
    return {"goal": wanted, "reached": reached, "met": bool(met)}


def _mean(all_measured: Sequence[Measured], key: Key, each: str) -> float:
    return float(np.mean([np.mean(getattr(one.outcomes[key], each)) for one in all_measured]))


def _over_all(
    all_measured: Sequence[Measured], key: Key, base: Key, each: str, seed: int
) -> list[float]:
    """Every set counts the same, however many queries it has."""
    ours, theirs, groups, shift = [], [], [], 0
    total = sum(len(one.own.queries) for one in all_measured)
    for one in all_measured:
        count = len(one.own.queries)
        weight = total / (len(all_measured) * count)
        ours.append(weight * np.array(getattr(one.outcomes[key], each)))
        theirs.append(weight * np.array(getattr(one.outcomes[base], each)))
        own = np.array([query.group for query in one.own.queries])
        groups.append(own + shift)
        shift += int(own.max()) + 1
    return _interval(*(np.concatenate(each) for each in (ours, theirs, groups)), seed)


def _interval(ours: FloatArray, base: FloatArray, groups: IntArray, seed: int) -> list[float]:
    found = gain(ours, base, groups, seed=seed)
    if found is None:
        return [round(float(np.mean(ours) - np.mean(base)), 4)]
    return [round(each, 4) for each in (found.value, found.low, found.high)]
