"""The suite of instruction following on every set whose texts carry several aspects.

    python -m benchmarks.instruction_following --data FOLDER [--model FOLDER] [--quick]

Clusters, triplets and conditioned similarities (`instruct_embeddings.evaluation.metrics`), three
wordings of each instruction, five seeds, gains over the generic vectors with the p-value of a
paired bootstrap. No method sees a label. `--quick` takes one set, fewer texts, triplets and
resamples.
"""

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.environment import environment, save
from benchmarks.tasks import embed, embed_under, labelled
from benchmarks.transform import GENERIC, PREFIX
from benchmarks.triplets import with_action
from instruct_embeddings import FitConfig, InstructEncoder
from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder import BASE_MODEL
from instruct_embeddings.evaluation import (
    Aspect,
    InstructionFollowingSizes,
    measure_instruction_following,
)
from instruct_embeddings.evaluation.instruction_following import Method
from instruct_embeddings.protocols import CollectionInfo
from instruct_embeddings.supervision import Targets
from instruct_embeddings.transform import fit_transform

OURS, GUIDE = "ours, everything re-encoded", "ours as guide"
SEEDS = range(5)
# Encoding, k-means and the bootstrap each take minutes for all sets and wordings at these sizes.
_TEXTS, _SIZES = 300, InstructionFollowingSizes(rows=200, triplets=300, rounds=500)
_QUICK_TEXTS, _QUICK_SIZES = 150, InstructionFollowingSizes(rows=100, triplets=100, rounds=100)
_QUICK_SETS = 1
_SAMPLE = 200
_MIN_ROWS_PER_LABEL = 10

_AREA = (
    "Which area of daily life is it about?",
    "What is the general domain of the request?",
    "Name the field of everyday life that this belongs to.",
)
_ACTION = (
    "Which action is requested?",
    "What operation should be carried out?",
    "What is to be done?",
)
SETS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "semeval14_rest": {
        "category": (
            "Which aspect of the restaurant is reviewed?",
            "What part of the dining experience does the guest comment on?",
            "Name the side of the restaurant that is being judged.",
        ),
        "polarity": (
            "Is the opinion positive or negative?",
            "How does the guest feel about it?",
            "What is the sentiment of the review?",
        ),
    },
    "hwu64": {"scenario": _AREA, "action": _ACTION},
    "massive_en": {"scenario": _AREA, "action": _ACTION},
    "mtop_en": {"domain": _AREA, "action": _ACTION},
    "debian_packages": {
        "role": (
            "What role does the package play?",
            "Is it a program, a library, data or documentation?",
            "Which kind of package is it?",
        ),
        "interface": (
            "What kind of user interface does it have?",
            "How does one interact with the program?",
            "Through which interface is it used?",
        ),
        "works-with": (
            "What kind of data does it work with?",
            "Which type of content does it handle?",
            "Name the sort of data that it processes.",
        ),
        "uitoolkit": (
            "Which user interface toolkit does it use?",
            "Name the graphical library it is built with.",
            "What toolkit are its windows made with?",
        ),
        "scope": (
            "Is it a utility, an application or a suite?",
            "How large is the scope of the program?",
            "Is it a small tool or a whole application?",
        ),
    },
}

_WORDINGS = len(_AREA)


def main() -> None:
    """Measure, print a table for each set, keep the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds dev/")
    parser.add_argument("--model", help="folder or hub id; by default the package's own model")
    parser.add_argument("--sets", nargs="*", choices=SETS, help="all by default")
    parser.add_argument("--quick", action="store_true", help="less of everything; keeps nothing")
    arguments = parser.parse_args()
    generic = InstructEncoder.from_pretrained(BASE_MODEL)
    encoder = InstructEncoder.from_pretrained(arguments.model)
    sizes, most = (_QUICK_SIZES, _QUICK_TEXTS) if arguments.quick else (_SIZES, _TEXTS)
    figures: list[dict[str, Any]] = []
    chosen = arguments.sets or list(SETS)[: _QUICK_SETS if arguments.quick else None]
    for name in track(chosen, "sets", console=Console(stderr=True)):
        texts, aspects = read(name, arguments.data, most)
        report = measure_instruction_following(
            aspects, methods(texts, generic, encoder), baseline=GENERIC, sizes=sizes, seeds=SEEDS
        )
        Console(width=200).print(name, report.table())
        figures += [{"set": name, **figure} for figure in report.to_dict()["figures"]]
    if not (arguments.sets or arguments.quick):
        kept: dict[str, Any] = {"environment": environment(SEEDS[0]), "figures": figures}
        kept["seeds"] = list(SEEDS)
        kept |= {"texts": most, "sample": _SAMPLE, "sizes": asdict(sizes), "wordings": _WORDINGS}
        kept["model"] = {"name": encoder.name, "fingerprint": encoder.fingerprint(instruction="x")}
        Console().print(f"kept in {save('instruction-following', kept)}")


def read(name: str, data: Path, most: int) -> tuple[list[str], list[Aspect]]:
    """Distinct texts, those that carry the most aspects, in random order, and their labels."""
    found = {text: with_action(name, labels) for text, labels in labelled(data, name)}
    known = {text: [labels.get(a) for a in SETS[name]] for text, labels in found.items()}
    rng = np.random.default_rng(0)
    texts = rng.permutation(list(known)).tolist()
    texts.sort(key=lambda text: sum(label is None for label in known[text]))  # stable
    texts = rng.permutation(texts[:most]).tolist()
    aspects = []
    for place, (aspect, wordings) in enumerate(SETS[name].items()):
        labels = [known[text][place] for text in texts]
        rare = {one for one in labels if labels.count(one) < _MIN_ROWS_PER_LABEL}
        kept = tuple(None if label in rare else label for label in labels)
        aspects.append(Aspect(aspect, wordings, kept))
    return texts, aspects


def methods(
    texts: list[str], generic: InstructEncoder, encoder: InstructEncoder
) -> dict[str, Method]:
    """What is compared, each as a function of the instruction."""
    stored = embed(generic, texts)
    return {
        GENERIC: lambda instruction: stored,
        PREFIX: lambda instruction: embed(generic, texts, instruction),
        OURS: lambda instruction: embed_under(encoder, texts, instruction),
        GUIDE: partial(_guided, texts, stored, encoder),
    }


def _guided(
    texts: list[str], stored: FloatArray, encoder: InstructEncoder, instruction: str
) -> FloatArray:
    """The space that a transform makes of the stored vectors, learned from a part of the texts."""
    sample = texts[:_SAMPLE]
    targets = embed_under(encoder, sample, instruction)
    transform = fit_transform(
        stored[: len(sample)],
        Targets(targets, np.ones(len(sample), dtype=np.bool_)),
        instruction=instruction,
        guide="encoder",
        collection=CollectionInfo("texts", "texts", stored.shape[1], "cosine"),
        config=FitConfig(),
    )
    return transform.space.encoder.encode(stored)


if __name__ == "__main__":
    main()
