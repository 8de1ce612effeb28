"""The part of docs/evidence.md that comes first: where others are ahead, from the results."""

from statistics import mean

from benchmarks import limit
from benchmarks.environment import load
from benchmarks.evidence_peers import SHOWN_N, Results, better, by_task, cost, means
from benchmarks.judge_contestants import INSTANT as FIRST
from benchmarks.judge_contestants import REFINED, RERANKED
from benchmarks.judge_judges import WORDS
from benchmarks.judge_page import median_until_untrusted
from benchmarks.peers import LABEL_FREE, REENCODED
from benchmarks.peers_methods import PEERS, SCANNING
from benchmarks.retrieval_contestants import INSTANT
from benchmarks.transform import GENERIC, RESCORED

NO_LOSS, TOPIC = 0.01, 0.05
LOSSES_OF = (("plain", "instruction"), ("instructed", "aspect"), ("stress", "all"))


def losses() -> list[str]:
    """A list of what we lose, or nothing where it was not measured."""
    peers, scale, query = load("peers"), load("peers-scale"), load("query")
    if not (peers and scale):
        return []
    lines = [
        *_with_labels(peers),
        _without_labels(peers),
        _small(scale),
        *_costs(scale, query),
        *_refinement(load("refinement")),
        *_mteb(load("mteb")),
        *_limit(load("limit")),
        *_instructions(load("retrieval")),
        *_spaces(load("spaces")),
        *_judges(load("judge")),
    ]
    noisy = [f"Of the times below: {scale['remark']}"] if scale.get("remark") else []
    return ["## Where we lose", *noisy, "\n".join(f"- {line}" for line in lines)]


def _with_labels(peers: Results) -> list[str]:
    tasks, (precision, ours) = len(by_task(peers, GENERIC)), means(peers, RESCORED)
    ahead = {name: better(peers, name, RESCORED) for name in PEERS}
    found = [
        f"{name} on {count} (mean {means(peers, name)[0]:.3f})"
        for name, count in ahead.items()
        if count
    ]
    grouped = [f"{name} {v:.3f}" for name in PEERS if (v := means(peers, name)[1]) > ours]
    return [
        f"**Given the same labels**, others have the higher precision@10 on some of the {tasks} "
        f"tasks: {'; '.join(found) or 'none'}. Ours, mean: {precision:.3f}.",
        f"**Clusters** in the space that we rescore with have a V-measure of {ours:.3f} in the "
        f"mean; higher: {'; '.join(grouped) or 'none'}.",
    ]


def _without_labels(peers: Results) -> str:
    tasks = len(by_task(peers, GENERIC))
    again, ours, taught = (means(peers, m)[0] for m in (REENCODED, LABEL_FREE, RESCORED))
    return (
        "**Without labels**, encoding everything again has the higher precision@10 on "
        f"{better(peers, REENCODED, LABEL_FREE)} of {tasks} tasks ({again:.3f} against {ours:.3f} "
        f"in the mean), and the generic vectors have it on {better(peers, GENERIC, LABEL_FREE)}. "
        f"What knows no labels stays far behind what does: {taught:.3f}."
    )


def _small(scale: Results) -> str:
    seconds = scale["samples"][-1]["seconds"]
    texts = seconds * scale["texts a second"][REENCODED]
    return (
        f"**Small collections**: below about {texts:,.0f} texts, encoding all of them again takes "
        f"less time than learning from a sample without labels ({seconds} s)."
    )


def _costs(scale: Results, query: Results) -> list[str]:
    plain, ours = (cost(scale, query, name, SHOWN_N) for name in (GENERIC, RESCORED))
    seconds = {name: cost(scale, query, name, SHOWN_N)["seconds"] for name in PEERS}
    faster = [f"{name} ({own} s)" for name, own in seconds.items() if own < ours["seconds"]]
    return [
        f"**A query costs more**: {ours['ms']['median']} ms against {plain['ms']['median']} ms of "
        f"a plain query at {SHOWN_N:,} vectors, since more candidates are asked for and rescored. "
        "Peers that only move the query ask the index once, as a plain query does.",
        "**Scanning all vectors in memory**, changed for the instruction, can be faster than "
        f"asking an index and rescoring. {_scans(scale, query)}",
        f"**A new instruction** with labels takes us {ours['seconds']} s at {SHOWN_N:,} vectors; "
        f"faster: {'; '.join(faster) or 'none'}.",
    ]


def _scans(scale: Results, query: Results) -> str:
    """Milliseconds of scans beside ours, at the size shown and at the largest."""
    found = []
    for n in (SHOWN_N, max(row["n"] for row in scale["rows"])):
        ours = cost(scale, query, RESCORED, n)["ms"]["median"]
        scans = [f"{name} {cost(scale, query, name, n)['ms']['median']}" for name in SCANNING]
        found.append(f"At {n:,} vectors, in ms: ours {ours}; {'; '.join(scans)}.")
    return " ".join(found)


def _refinement(results: Results) -> list[str]:
    if not results:
        return []
    none, *rows = results["rows"]
    best = max(row["precision@10"] for row in rows) - none["precision@10"]
    times = rows[-1]["milliseconds a text"] / none["milliseconds a text"]
    return [
        f"**Steps of refinement** gain {best:+.4f} in precision@10 at the best of all numbers of "
        f"steps, and {rows[-1]['steps']} of them cost {times:.1f} times as much as none."
    ]


def _mteb(results: Results) -> list[str]:
    if not results:
        return []
    measured = (row for row in results["scores"] if row["score"] is not None)
    scores = {(r["kind"], r["task"], r["method"]): r["score"] for r in measured}

    def below(kind: str, method: str) -> str:
        tasks = [t for k, t, m in scores if k == kind and m == method]
        worse = [t for t in tasks if scores[kind, t, method] < scores[kind, t, "generic"]]
        return f"{len(worse)} of {len(tasks)}"

    return [
        "**On mteb's tasks** nDCG@10 of plain retrieval is below that of generic vectors on "
        f"{below('Retrieval', 'transform')} with a transform and on "
        f"{below('Retrieval', 'encoder')} with our encoder; p-MRR under a changed instruction is "
        f"below on {below('InstructionReranking', 'transform')} and on "
        f"{below('InstructionReranking', 'encoder')}."
    ]


def _limit(results: Results) -> list[str]:
    if not results:
        return []
    recall = {row["method"]: row["other recall@2"]["mean"] for row in results["methods"]}
    ours = max(value for name, value in recall.items() if name.startswith("transform"))
    return [
        f"**LIMIT**, questions that nobody judged: recall@2 of the best transform is {ours:.3f}, "
        f"of generic vectors {recall[limit.GENERIC]:.3f}, of plain words {recall[limit.WORDS]:.3f}."
    ]


def _instructions(results: Results) -> list[str]:
    """Where the instant query costs answers."""
    if not results:
        return []
    asked = [row for row in results["retrieval"] if row["method"] == INSTANT]
    lost = [
        f"{row['set']}, “{row['of']}” {row['ndcg@10'] - row['generic ndcg@10']:+.3f}"
        for row in asked
        if (row["kind"], row["part"]) in LOSSES_OF
        and row["ndcg@10"] < row["generic ndcg@10"] - NO_LOSS
    ]
    tasks = [row for row in results.get("labels", []) if row["method"] == INSTANT]
    below = [row for row in tasks if row["precision@10"] < row["generic precision@10"]]
    off = [
        f"{row['of']} {row['on topic gain']['value']:+.3f}"
        for row in results["constraints"]
        if (row["method"], row["part"]) == (INSTANT, "kind")
        and row["on topic gain"]["value"] < -TOPIC
    ]
    return [
        f"**Instructions that cost answers** under the instant query, by more than {NO_LOSS} of "
        f"nDCG@10: {'; '.join(lost) or 'none'}. On label tasks it is below the generic vectors on "
        f"{len(below)} of {len(tasks)}.",
        f"**Constraints cost the topic**: hits on topic change by more than {TOPIC} under "
        f"{'; '.join(off) or 'none'}.",
    ]


def _spaces(results: Results) -> list[str]:
    """What is left of the instant query in other spaces."""
    rows = [row for row in results["rows"] if row["kept"] is not None] if results else []
    lost = [
        f"{row['model']} on {row['set']} {row['instant ndcg@10'] - row['generic ndcg@10']:+.3f}"
        for row in rows
        if row["instant ndcg@10"] < row["generic ndcg@10"] - NO_LOSS
    ]
    return [
        "**Collections of other embedding models**, which the instant query reaches over a map: "
        f"worse than without it on {len(lost)} of {len(rows)} ({'; '.join(lost) or 'none'})."
    ] * bool(rows)


def _judges(results: Results) -> list[str]:
    """What a judge costs who knows nothing."""
    quality = results.get("quality")
    if not quality:
        return []
    whole = {(row["judge"], row["method"]): row for row in quality["overall"]}
    words, first = whole[WORDS, REFINED], whole["", FIRST]
    reranked = whole[WORDS, RERANKED]["ndcg"] - first["ndcg"]
    guessing = quality["skill"]
    lost = mean(row["ndcg lost until then"] for row in guessing)
    return [
        f"**A judge who guesses** is found out after {median_until_untrusted(guessing):g} "
        f"questions in the median, and costs {lost:.3f} of nDCG@10 until then. One who errs by a "
        "pattern is not found out: a judge who counts words in common changes nDCG@10 by "
        f"{words['ndcg over first'][0]:+.3f} and recall@100 by "
        f"{words['recall over first'][0]:+.3f} beside the first ranking, and nDCG@10 by "
        f"{reranked:+.3f} where it only reorders."
    ]
