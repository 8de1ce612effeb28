"""Tasks of papers with their own loading code, on toys in the layout of their data on the hub."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import mteb
import pytest

from instruct_embeddings import InstructEncoder
from instruct_embeddings.evaluation.mteb_models import MtebEncoder, MtebRetriever
from instruct_embeddings.evaluation.mteb_run import TaskScore, run_task
from instruct_embeddings.guides import EncoderGuide
from tests.integrations.mteb.conftest import COLOURS, INSTRUCTIONS, OTHERS, SHAPES

pytestmark = [
    # Reading all tasks of mteb for the first time takes long on a busy machine.
    pytest.mark.timeout(240),
    # BRIGHT, of which there is a newer version too.
    pytest.mark.filterwarnings("ignore:This task contains wrong prompts:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The task 'BrightRetrieval' is superseded:UserWarning"),
]

COLOUR, SHAPE = INSTRUCTIONS.values()
TOYS = {
    f"{colour}-{shape}-{other}": f"{colour} {colour} {shape} {shape} {other}"
    for colour in COLOURS
    for shape in SHAPES
    for other in OTHERS
}
ASKED = {
    f"q{number}": f"{c} {c} {s} {s}"
    for number, (c, s) in enumerate(zip(COLOURS, SHAPES, strict=True))
}
Rows = Sequence[Mapping[str, Any]]


def like(text: str, part: int) -> list[str]:
    """Toys of the same colour (0), or of the same shape (1)."""
    return [name for name in TOYS if name.split("-")[part] == text.split()[2 * part]]


def hub(folder: Path, parts: Mapping[str, Mapping[str, Rows]]) -> Path:
    """Files by configuration and split, and the card that names them."""
    card = ["---", "configs:"]
    for config, splits in parts.items():
        card += [f"- config_name: {config}", "  data_files:"]
        for split, rows in splits.items():
            file = folder / f"{config}.{split}.jsonl"
            file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
            card += [f"  - split: {split}", f"    path: {file.name}"]
    (folder / "README.md").write_text("\n".join([*card, "---", ""]), encoding="utf-8")
    return folder


def beir(queries: Mapping[str, str], relevant: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Corpus, queries and judgements as most tasks have them."""
    rows = [
        {"query-id": query, "corpus-id": document, "score": 1}
        for query, documents in relevant.items()
        for document in documents
    ]
    return {
        "corpus": {"test": [{"_id": name, "title": "", "text": t} for name, t in TOYS.items()]},
        "queries": {"test": [{"_id": name, "text": text} for name, text in queries.items()]},
        "default": {"test": rows},
    }


def instructed(queries: Mapping[str, str]) -> dict[str, Any]:
    rows = [{"query-id": query, "instruction": text} for query, text in queries.items()]
    return {"instruction": {"test": rows}}


def under_both(first: str, second: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Each query once for its colour and once for its shape; the instruction of each."""
    sides = ((first, 0, COLOUR), (second, 1, SHAPE))
    texts = {f"{name}{end}": text for name, text in ASKED.items() for end, _, _ in sides}
    relevant = {f"{n}{end}": like(t, part) for n, t in ASKED.items() for end, part, _ in sides}
    asked = {f"{name}{end}": ask for name in ASKED for end, _, ask in sides}
    return beir(texts, relevant) | instructed(asked), asked


def follow_ir() -> dict[str, Any]:
    parts, asked = under_both("-og", "-changed")
    changed = [
        {"query-id": name, "corpus-ids": sorted({*like(text, 0)} - {*like(text, 1)})}
        for name, text in ASKED.items()
    ]
    ranked = [{"query-id": query, "corpus-ids": list(TOYS)} for query in asked]
    return parts | {"qrel_diff": {"qrel_diff": changed}, "top_ranked": {"test": ranked}}


def instruct_ir() -> dict[str, Any]:
    """Its queries are called `<query>_<instruction>`."""
    return under_both("_0", "_1")[0]


def ifir() -> dict[str, Any]:
    """Three levels of detail, told by the names of the queries."""
    texts = {f"{name}-v{level}": text for name, text in ASKED.items() for level in (1, 2, 3)}
    relevant = {name: like(text, 0) for name, text in texts.items()}
    return beir(texts, relevant) | instructed(dict.fromkeys(texts, COLOUR))


def bright() -> dict[str, Any]:
    """Twelve domains, each with documents and questions of its own."""
    domains = mteb.get_task("BrightRetrieval").hf_subsets
    documents = [{"id": name, "content": text} for name, text in TOYS.items()]
    examples = [{"id": n, "query": text, "gold_ids": like(text, 0)} for n, text in ASKED.items()]
    return {
        "documents": dict.fromkeys(domains, documents),
        "examples": dict.fromkeys(domains, examples),
    }


def limit() -> dict[str, Any]:
    """Two documents answer each query, and there is no instruction."""
    return beir(ASKED, {name: like(text, 0)[:2] for name, text in ASKED.items()})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def scores(name: str, folder: Path, encoder: InstructEncoder) -> dict[str, TaskScore]:
    task = mteb.get_task(name)
    where = {**task.metadata.dataset, "path": str(folder)}
    # mteb takes the metadata of a task from its class when it unloads the data.
    metadata = task.metadata.model_copy(update={"dataset": where})
    here = type(name, (type(task),), {"metadata": metadata})()
    models = {
        "encoder": MtebEncoder(encoder),
        "transform": MtebRetriever(encoder, EncoderGuide(encoder)),
    }
    return {one.method: one for one in run_task(here, models)}


@pytest.mark.parametrize(
    ("name", "parts", "measure", "asked"),
    [
        ("Core17InstructionRetrieval", follow_ir(), "p-MRR", 2),
        ("InstructIR", instruct_ir(), "robustness_at_10", 2),
        ("IFIRScifact", ifir(), "ndcg_at_20", 1),
        ("BrightRetrieval", bright(), "ndcg_at_10", 0),
        ("LIMITSmallRetrieval", limit(), "recall_at_2", 0),
    ],
)
def test_a_published_task_is_loaded_by_its_own_code(
    name: str,
    parts: dict[str, Any],
    measure: str,
    asked: int,
    tmp_path: Path,
    encoder: InstructEncoder,
) -> None:
    found = scores(name, hub(tmp_path, parts), encoder)
    assert list(found) == ["encoder", "transform"]
    for one in found.values():
        assert (one.task, one.measure, one.problem) == (name, measure, None)
        [split] = one.scores.values()
        assert one.score == pytest.approx(mean(subset[measure] for subset in split))
        assert one.instructions == asked
    assert (found["encoder"].remarks == ()) == (asked > 0)
