"""Whether embeddings obey their instruction: triplets, other wordings, another question.

Triplets come from texts that carry two aspects; `instruct_embeddings.evaluation.metrics` draws
them, `instruct_embeddings.evaluation.instruction_following` tells what they show.
`benchmarks.instruction_following` measures more: clusters and similarities too, several wordings,
five seeds and the significance of gains.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.tasks import Split, Task, embed, embed_under, labelled
from benchmarks.transform import GENERIC, PREFIX
from instruct_embeddings import InstructEncoder
from instruct_embeddings._types import FloatArray
from instruct_embeddings.evaluation.metrics import (
    Triplets,
    can_be_anchors,
    closer,
    draw_triplets,
)
from instruct_embeddings.transform.quality import leave_self_out, precision_at_k
from instruct_embeddings.transform.vectors import unit_rows

if TYPE_CHECKING:
    from benchmarks.encoder_quality import Sizes

OURS = "ours"
K = 10
_ROWS_READ = 4000


@dataclass(frozen=True)
class Pair:
    """Two aspects of one data set, neither of which decides the other, and who asks for them."""

    file: str
    aspects: tuple[str, str]
    instructions: tuple[str, str]

    @property
    def name(self) -> str:
        """`file/one+other`."""
        return f"{self.file}/{self.aspects[0]}+{self.aspects[1]}"


_AREA, _ACTION = "Which area of daily life is it about?", "Which action is requested?"
_ROLE = "What role does the package play?"
_INTERFACE = "What kind of user interface does it have?"
_WORKS_WITH = "What kind of data does it work with?"
PAIRS = (
    Pair(
        "semeval14_rest",
        ("category", "polarity"),
        ("Which aspect of the restaurant is reviewed?", "Is the opinion positive or negative?"),
    ),
    Pair("hwu64", ("scenario", "action"), (_AREA, _ACTION)),
    Pair("massive_en", ("scenario", "action"), (_AREA, _ACTION)),
    Pair("mtop_en", ("domain", "action"), (_AREA, _ACTION)),
    Pair("debian_packages", ("role", "works-with"), (_ROLE, _WORKS_WITH)),
    Pair("debian_packages", ("interface", "works-with"), (_INTERFACE, _WORKS_WITH)),
    Pair(
        "debian_packages",
        ("role", "uitoolkit"),
        (_ROLE, "Which user interface toolkit does it use?"),
    ),
    Pair(
        "debian_packages",
        ("interface", "scope"),
        (_INTERFACE, "Is it a utility, an application or a suite?"),
    ),
)


def measure_triplets(
    data: Path, generic: InstructEncoder, encoder: InstructEncoder, sizes: "Sizes", seed: int
) -> Iterator[dict[str, Any]]:
    """Triplet accuracy of each pair of aspects, by method."""
    for pair in PAIRS:
        texts, drawn = draw(pair, data, sizes, seed)
        methods = {
            GENERIC: [embed(generic, texts)] * 2,
            PREFIX: [embed(generic, texts, ask) for ask in pair.instructions],
            OURS: [unit_rows(embed_under(encoder, texts, a)) for a in pair.instructions],
        }
        for name, (under_first, under_second) in methods.items():
            first = closer(under_first, drawn.anchors, drawn.first, drawn.second)
            second = closer(under_second, drawn.anchors, drawn.second, drawn.first)
            yield {
                "pair": pair.name,
                "triplets": len(drawn),
                "texts": len(texts),
                "method": name,
                "under the first": round(float(first.mean()), 4),
                "under the second": round(float(second.mean()), 4),
                "accuracy": round(float((first + second).mean() / 2), 4),
                "both right": round(float(((first == 1) & (second == 1)).mean()), 4),
            }


def draw(pair: Pair, data: Path, sizes: "Sizes", seed: int) -> tuple[list[str], Triplets]:
    """A few texts drawn at random, and triplets of them."""
    rng = np.random.default_rng(seed)
    texts, labels = _rows_with_both(pair, data, sizes.triplet_rows, rng)
    return texts, draw_triplets(labels, sizes.triplets, rng)


def _rows_with_both(
    pair: Pair, data: Path, most: int, rng: np.random.Generator
) -> tuple[list[str], np.ndarray[Any, np.dtype[np.str_]]]:
    """Distinct texts and their two labels, of rows that can stand in a triplet."""
    found = {}
    for text, labels in labelled(data, pair.file):
        own = with_action(pair.file, labels)
        if all(aspect in own for aspect in pair.aspects):
            found[text] = [own[aspect] for aspect in pair.aspects]
    texts, labels_ = list(found), np.array(list(found.values()))
    order = rng.permutation(len(texts))[:_ROWS_READ]
    order = order[can_be_anchors(labels_[order])][:most]
    return [texts[i] for i in order], labels_[order]


def with_action(file: str, labels: dict[str, str]) -> dict[str, str]:
    """Two sets write the action into the intent: `alarm set`, `create alarm`."""
    intent = labels.get("intent", "")
    if file == "massive_en" and "scenario" in labels:
        return labels | {"action": intent.removeprefix(labels["scenario"]).strip()}
    if file == "mtop_en" and intent:
        return labels | {"action": intent.split()[0]}
    return labels


def measure_wordings(
    task: Task, split: Split, generic: InstructEncoder, encoder: InstructEncoder
) -> Iterator[dict[str, Any]]:
    """The same instruction in other words should change little, another question much."""
    methods = {
        PREFIX: lambda asked: embed(generic, split.pool_texts, asked),
        OURS: lambda asked: unit_rows(embed_under(encoder, split.pool_texts, asked)),
    }
    labels = split.pool_labels[: len(split.pool_texts)]
    relevant = labels[:, None] == labels[None]
    for name, encode in methods.items():
        right = encode(task.instruction)
        row = {"task": task.name, "rows": len(labels), "method": name}
        row["precision@10"] = round(_precision(right, relevant), 4)
        for kind, asked in (("paraphrase", task.paraphrase), ("other", task.other)):
            changed = encode(asked)
            row[f"{kind} overlap@10"] = round(_overlap(_scores(right), _scores(changed)), 4)
            row[f"{kind} cosine"] = round(float((right * changed).sum(1).mean()), 4)
            row[f"{kind} precision@10"] = round(_precision(changed, relevant), 4)
        yield row


def _overlap(scores: FloatArray, others: FloatArray) -> float:
    """Share of the best ten rows of each query that are also the best under other scores."""
    best, also = (np.argsort(-found, axis=1)[:, :K] for found in (scores, others))
    return float((best[:, :, None] == also[:, None]).sum((1, 2)).mean() / K)


def _scores(vectors: FloatArray) -> FloatArray:
    return leave_self_out(vectors @ vectors.T)


def _precision(vectors: FloatArray, relevant: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    return float(precision_at_k(_scores(vectors), relevant, K).mean())
