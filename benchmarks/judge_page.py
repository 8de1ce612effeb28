"""The tables of judges, and their part of docs/evidence.md."""

from collections.abc import Mapping, Sequence
from statistics import mean, median
from typing import Any, TypeAlias

from benchmarks import judge_grid
from benchmarks.encoder_quality_report import Section
from benchmarks.environment import load
from benchmarks.judge_contestants import GENERIC, INSTANT, REFINED, RERANKED
from benchmarks.judge_judges import ENCODER, GUESS, NOISES, TRUTH, WORDS, noisy
from benchmarks.pages import Ran, Tabulate
from instruct_embeddings.transform.quality import signed

Row: TypeAlias = Mapping[str, Any]
_PARTS = {
    "distilled": "Without the judge, measured apart",
    "chat": "A chat model, measured apart",
    "cost": "Cost, measured apart",
}
_OVER = ("ndcg over rerank", "recall over rerank", "ndcg over first", "recall over first")


def section(tabulate: Tabulate, ran: Ran) -> list[str]:
    """Paragraphs and tables; nothing where it was not measured."""
    results = load("judge")
    quality = results.get("quality")
    if not quality:
        return []
    names, sizes = quality["models"], quality["sizes"]
    parts = [
        "## Judges",
        "`make bench-judge DATA=folder`",
        f"{ran(quality['environment'])} Models: {', '.join(names.values())}. Up to about "
        f"{sizes['queries']} queries of each of {len(quality['sets'])} sets, searched exactly, so "
        "that what is measured is no index. A judge reads the best twenty of the instant query; "
        "rerank only puts them in the judge's order, refined is `RelevanceFeedback`, whose trust "
        "is learned on the way, from the start in each set. Judges who know the answers say the "
        "opposite of a share of them; guesses are uniform; words in common are cosines of TF-IDF. "
        "Recall@100 counts no more answers than could stand among the hundred. Intervals are 95 % "
        "of a paired bootstrap over groups of queries; all sets count the same. Ways to move the "
        f"query are compared on the first {sizes['compared']} queries of each set, with the same "
        "candidates, verdicts and final order; Adam as published follows arXiv 2605.12487. What a "
        "guessing judge shows is its answers' lack of pattern; one who errs by a pattern, such as "
        "words in common, keeps its trust.",
    ]
    parts += _remark(quality)
    for part, title in _PARTS.items():
        if part in results:
            parts += [f"{title}: {ran(results[part]['environment'])}", *_remark(results[part])]
    for one in sections(results):
        parts += [f"**{one.title}**", tabulate(one.headings, one.lines)]
    return parts


def _remark(part: Mapping[str, Any]) -> list[str]:
    return [f"**{part['remark']}**"] if part.get("remark") else []


def figures() -> list[str]:
    """What a judge gains that moves the query, in one line; none without results."""
    quality = load("judge").get("quality")
    if not quality:
        return []
    whole = {(row["judge"], row["method"]): row for row in quality["overall"]}
    first = whole["", INSTANT]

    def shown(judge: str) -> str:
        reranked, refined = whole[judge, RERANKED], whole[judge, REFINED]
        return (
            f"nDCG@10 {first['ndcg']:.3f} to {refined['ndcg']:.3f} ({reranked['ndcg']:.3f} where "
            f"it only reorders), recall@100 {first['recall']:.3f} to {refined['recall']:.3f}"
        )

    errs, guesses = noisy(NOISES[1]), whole[GUESS, REFINED]["ndcg over first"][0]
    return [
        "A judge that reads the best twenty and moves the query, means over "
        f"{len(quality['sets'])} public sets: one who knows the answers {shown(TRUTH)}; one who is "
        f"wrong in a tenth of the cases {shown(errs)}; one who guesses changes nDCG@10 by "
        f"{guesses:+.3f} (`make bench-judge DATA=folder`).",
    ]


def sections(results: Mapping[str, Any]) -> list[Section]:
    """All tables; goals first."""
    found = [_goals(results["goals"])] if results.get("goals") else []
    quality, cost = results.get("quality"), results.get("cost")
    if quality:
        found += [
            _overall(quality["overall"]),
            _by_set(quality["by set"]),
            _moves(quality["moves"]),
            _skill(quality["skill"]),
            *_grid(quality["grid"]),
        ]
    distilled = results.get("distilled")
    if distilled:
        found += [_left(distilled["rows"]), _left_by_set(distilled["rows"])]
    if results.get("chat"):
        found.append(_chat(results["chat"]["rows"]))
    return found + ([_cost(cost["rows"])] if cost else [])


def _chat(rows: Sequence[Row]) -> Section:
    lines = [
        [
            row["set"],
            row["method"],
            str(row["queries"]),
            f"{row['ndcg']:.3f} / {row['recall']:.3f}",
            str(row["unanswered"]),
        ]
        for row in rows
    ]
    headings = ["set", "method", "queries", "nDCG@10 / recall@100", "questions not answered"]
    return Section(f"a chat model, {rows[0]['model']}", headings, lines)


def _left(rows: Sequence[Row]) -> Section:
    """Means over the sets that have so many questions."""
    lines = []
    for judge, count in dict.fromkeys((row["judge"], row["questions"]) for row in rows):
        own = [row for row in rows if (row["judge"], row["questions"]) == (judge, count)]
        figures = [
            f"{mean(row[f'{who} ndcg'] for row in own):.3f} / "
            f"{mean(row[f'{who} recall'] for row in own):.3f}"
            for who in ("first", "distilled", "judge")
        ]
        used, skips = (sum(row[each] for row in own) for each in ("used", "skips"))
        lines.append([judge, str(count), str(len(own)), *figures, str(used), str(skips)])
    headings = ["judge", "judged questions", "sets", "first ranking", "learned, no judge"]
    headings += ["judge each time", "sets that use it", "sets that skip the judge"]
    return Section("what is left without the judge: nDCG@10 / recall@100", headings, lines)


def _left_by_set(rows: Sequence[Row]) -> Section:
    most = max(row["questions"] for row in rows)
    lines = [
        [
            row["set"],
            str(row["questions"]),
            *(f"{row[f'{who} ndcg']:.3f}" for who in ("first", "distilled", "judge")),
            "yes" if row["used"] else "no",
        ]
        for row in rows
        if row["judge"] == TRUTH and (row["questions"] == most or row["set"] in _few(rows, most))
    ]
    headings = ["set", "judged questions", "first ranking", "learned, no judge"]
    return Section(
        "the same by set, a judge who knows the answers: nDCG@10",
        [*headings, "judge each time", "used"],
        lines,
    )


def _few(rows: Sequence[Row], most: int) -> set[str]:
    """Sets that have fewer questions."""
    return {row["set"] for row in rows} - {row["set"] for row in rows if row["questions"] == most}


def _goals(rows: Sequence[Row]) -> Section:
    lines = [[row["goal"], row["reached"], "met" if row["met"] else "MISSED"] for row in rows]
    return Section("goals", ["wanted", "reached", ""], lines)


def _overall(rows: Sequence[Row]) -> Section:
    lines = [
        [
            row["judge"] or "none",
            row["method"],
            f"{row['ndcg']:.3f}",
            f"{row['recall']:.3f}",
            *(_interval(row.get(key)) for key in _OVER),
            f"{row['trust']:.2f}" if "trust" in row else "",
        ]
        for row in rows
    ]
    gains = ["nDCG over rerank only", "recall over rerank only"]
    gains += ["nDCG over the first ranking", "recall over the first ranking"]
    headings = ["judge", "method", "nDCG@10", "recall@100", *gains, "trust at the end"]
    return Section("means over sets", headings, lines)


def _by_set(rows: Sequence[Row]) -> Section:
    shown = [("", GENERIC), ("", INSTANT), (TRUTH, RERANKED), (TRUTH, REFINED)]
    shown += [(judge, how) for judge in (ENCODER, WORDS) for how in (RERANKED, REFINED)]
    known = {(row["set"], row["judge"], row["method"]): row for row in rows}
    lines = []
    for name in dict.fromkeys(row["set"] for row in rows):
        cells = [known[name, judge, how] for judge, how in shown]
        lines.append([name, *(f"{cell['ndcg']:.3f} / {cell['recall']:.3f}" for cell in cells)])
    headings = ["set", *(f"{judge}: {how}" if judge else how for judge, how in shown)]
    return Section("by set: nDCG@10 / recall@100", headings, lines)


def _moves(rows: Sequence[Row]) -> Section:
    figures = ("ndcg", "recall", "ndcg alone", "recall alone")
    lines = [
        [row["method"], *(f"{row[key]:.3f}" for key in figures), f"{row['ms']:.3f}"] for row in rows
    ]
    headings = ["move", "nDCG@10", "recall@100", "nDCG@10, the vector alone"]
    headings += ["recall@100, the vector alone", "ms of the move"]
    return Section("ways to move the query, a judge who knows the answers", headings, lines)


def median_until_untrusted(rows: Sequence[Row]) -> float:
    """Questions until a guessing judge has no trust, the median over sets.

    One who is listened to until the end counts as one question more.
    """
    return median(row["until no trust"] or row["questions"] + 1 for row in rows)


def _skill(rows: Sequence[Row]) -> Section:
    lines = [
        [
            row["set"],
            str(row["questions"]),
            str(row["until no trust"] or "never"),
            *(f"{row[key]:.3f}" for key in ("ndcg lost until then", "ndcg lost", "recall lost")),
        ]
        for row in rows
    ]
    asked = median_until_untrusted(rows)
    keys = ("ndcg lost until then", "ndcg lost", "recall lost")
    means = [f"{mean(row[key] for row in rows):.3f}" for key in keys]
    lines.append(["median of questions, mean of losses", "", f"{asked:g}", *means])
    headings = ["set", "questions", "until no trust", "nDCG@10 lost until then", "nDCG@10 lost"]
    return Section("a judge who guesses", [*headings, "recall@100 lost"], lines)


def _grid(rows: Sequence[Row]) -> list[Section]:
    trusted = [row for row in rows if row["setting"].count(" / ") == 2]
    learned = [row for row in rows if row["setting"].count(" / ") != 2]
    halves = [half for half in ("chosen on", "apart") if rows and half in rows[0]]
    headings = [f"{judge}, {half}" for half in halves for judge in judge_grid.JUDGES]
    tables = (
        ("PENALTY / STRENGTH / MIX, every judge trusted: nDCG@10 / recall@100", trusted),
        ("how trust is learned: nDCG@10 / recall@100", learned),
    )
    return [
        Section(
            title,
            ["setting", *headings],
            [
                [
                    row["setting"] + (" (ours)" if judge_grid.is_product(row["setting"]) else ""),
                    *(
                        " / ".join(f"{value:.3f}" for value in row[half][judge])
                        for half in halves
                        for judge in judge_grid.JUDGES
                    ),
                ]
                for row in own
            ],
        )
        for title, own in tables
        if own
    ]


def _cost(rows: Sequence[Row]) -> Section:
    keys = ("plain ms", "adapted ms", "index ms", "refinement ms")
    lines = [
        [
            f"{row['n']:,}",
            row["ranked by"],
            *(f"{row[key]['median']} ({row[key]['p95']})" for key in keys),
        ]
        for row in rows
    ]
    headings = ["vectors", "ranked by", "plain query ms (p95)", "adapted query ms (p95)"]
    headings += ["its index query ms (p95)", "refinement ms (p95), the judge's time apart"]
    return Section("cost in a persistent Chroma collection", headings, lines)


def _interval(values: Sequence[float] | None) -> str:
    if not values:
        return ""
    value, *ends = map(signed, values)
    return f"{value} [{', '.join(ends)}]" if ends else value
