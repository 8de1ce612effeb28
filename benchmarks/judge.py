"""A judge in the loop: what a moved query finds that reordering cannot, and what guessing costs.

    python -m benchmarks.judge --data FOLDER [--sets NAME ...] [--parts NAME ...] [--quick]
                               [--chat-url URL --chat-model NAME]

Judges of graded skill read the best twenty candidates of `InstructRetriever` with the instant
query. The query vector learns from them (`RelevanceFeedback`, trust learned on the way, from the
start in each set), or they are reordered only. nDCG@10 and recall@100 are means over the queries of
a set; recall counts no more answers than could stand among the hundred. Intervals are 95 % of a
paired bootstrap over groups of queries. Other ways to move a query get the same verdicts of a judge
who knows the answers. Each part replaces what was kept of it: `cost`, which times a collection of
100,000 vectors in Chroma, is the one to run alone on a quiet machine.
"""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from benchmarks import judge_grid, judge_summary
from benchmarks.encoder_quality_report import show
from benchmarks.environment import environment, load, save
from benchmarks.judge_chat import measure_chat, open_model
from benchmarks.judge_contestants import Measured, RememberingInstant, measure_set
from benchmarks.judge_cost import measure_cost
from benchmarks.judge_distilled import measure_distilled
from benchmarks.judge_judges import (
    ENCODER,
    GUESS,
    NOISES,
    WORDS,
    GuessingJudge,
    TruthJudge,
    WordJudge,
    encoder_judge,
    noisy,
)
from benchmarks.judge_moves import moves
from benchmarks.judge_page import sections
from benchmarks.judge_sets import JudgedSet, load_judged
from instruct_embeddings import InstructEncoder
from instruct_embeddings.encoder import BASE_MODEL
from instruct_embeddings.feedback import EncoderJudge
from instruct_embeddings.protocols import Judge

QUALITY, DISTILLED, COST, CHAT = "quality", "distilled", "cost", "chat"
PARTS = (QUALITY, DISTILLED, COST)


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        queries: Of each set, about.
        compared: Of each set, for ways to move the query, of which some take long.
        learned: Judged questions that are learned from.
        vectors: In the collection that is timed.
        timed: Queries that are timed.
        chatted: Of each set, that a chat model reads, about.
    """

    queries: int = 120
    compared: int = 50
    learned: tuple[int, ...] = (20, 100, 300)
    vectors: int = 100_000
    timed: int = 100
    chatted: int = 30


QUICK = Sizes(12, 6, (20,), 5_000, 10, 4)
QUICK_SETS = ("argkp_test", "scifact", "trec/coarse", "massive_en/intent")


def main() -> None:
    """Measure, print the tables, keep the results."""
    arguments = parse()
    sizes = QUICK if arguments.quick else Sizes()
    names = arguments.sets or (QUICK_SETS if arguments.quick else ())
    whole = not (arguments.quick or arguments.sets)
    results = load("judge") if whole else {}
    generic = InstructEncoder.from_pretrained(BASE_MODEL)
    for part in [*(arguments.parts or PARTS), *([CHAT] if arguments.chat_url else [])]:
        about = {
            "environment": environment(arguments.seed),
            "sizes": asdict(sizes),
            "remark": arguments.remark,
        }
        if part == QUALITY:
            found = measure_quality(arguments.data, generic, sizes, names, arguments.seed)
        elif part == DISTILLED:
            rows = measure_distilled(arguments.data, generic, names, sizes.learned, arguments.seed)
            found = {"rows": rows}
        elif part == CHAT:
            model = open_model(arguments.chat_url, arguments.chat_model)
            rows = measure_chat(arguments.data, generic, model, sizes.chatted, arguments.seed)
            found = {"rows": rows}
        else:
            size = sizes.vectors, sizes.timed
            found = {"rows": measure_cost(arguments.data, generic, *size, arguments.seed)}
        results[part] = about | found
    results["goals"] = judge_summary.goals(results)
    for section in sections(results):
        show(section, 180)
    if whole:
        Console().print(f"kept in {save('judge', results)}")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds dev/")
    parser.add_argument("--sets", nargs="*", help="retrieval sets and label tasks; keeps nothing")
    parser.add_argument("--parts", nargs="*", choices=PARTS, help="all")
    parser.add_argument("--chat-url", help="server of a chat model, such as http://host/v1")
    parser.add_argument("--chat-model", default="default", help="name of the chat model there")
    parser.add_argument("--remark", help="what a reader of the figures should know of the run")
    parser.add_argument("--quick", action="store_true", help="few queries; keeps nothing")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def measure_quality(
    data: Path, generic: InstructEncoder, sizes: Sizes, names: Sequence[str], seed: int
) -> dict[str, Any]:
    """All that is measured on sets."""
    instant = RememberingInstant.from_pretrained()
    own_judge, kept = encoder_judge()
    ways = moves()
    measured: list[Measured] = []
    by_set: list[dict[str, Any]] = []
    grids = []
    sets = list(load_judged(data, generic, sizes.queries, names, seed))
    for own in track(sets, "sets", console=Console(stderr=True)):
        asked = judges(own, own_judge, seed)
        one = measure_set(own, asked, kept, ways, instant, {ENCODER}, sizes.compared)
        by_set += judge_summary.by_set(one, seed)
        grids.append(judge_grid.grid_of(one))
        measured.append(replace(one, cases=[]))
    return {
        "models": {"generic": generic.name, "instant": instant.name, "encoder": kept.name},
        "sets": [_described(own) for own in sets],
        "overall": judge_summary.overall(measured, seed),
        "by set": by_set,
        "moves": judge_summary.moves(measured, list(ways)),
        "skill": judge_summary.skill(measured),
        "grid": judge_grid.summarise(grids),
    }


def judges(own: JudgedSet, encoder: EncoderJudge, seed: int) -> dict[str, Judge]:
    """The judges of a set by name, first the one who knows the answers."""
    found: dict[str, Judge] = {noisy(noise): TruthJudge.of(own, noise, seed) for noise in NOISES}
    return found | {GUESS: GuessingJudge(seed), ENCODER: encoder, WORDS: WordJudge(own.documents)}


def _described(own: JudgedSet) -> dict[str, Any]:
    return {
        "set": own.name,
        "kind": own.kind,
        "documents": len(own.documents),
        "queries": len(own.queries),
    }


if __name__ == "__main__":
    # Some of these judges guess, and it is said of each.
    logging.getLogger("instruct_embeddings").setLevel(logging.ERROR)
    main()
