"""`demo`: precision by true labels, a few questions, and what they cost."""

import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from instruct_embeddings._extras import require
from instruct_embeddings._printable import one_line, plain_table
from instruct_embeddings.cli import models
from instruct_embeddings.cli.demo_corpus import (
    ASPECTS,
    CONSTRAINTS,
    QUESTIONS,
    collection_name,
    read_tickets,
)
from instruct_embeddings.cli.index import Target, fill
from instruct_embeddings.cli.models import check_model
from instruct_embeddings.cli.options import JsonOption, command
from instruct_embeddings.cli.output import finish, hit_dict, note, program_name, progress
from instruct_embeddings.cli.store import Store
from instruct_embeddings.config import FitConfig

if TYPE_CHECKING:
    from chromadb import Collection
    from rich.console import RenderableType
    from rich.table import Table

    from chroma_instruct_embeddings import ChromaVectors
    from chroma_instruct_embeddings.database import ChromaDatabase
    from instruct_embeddings._types import FloatArray
    from instruct_embeddings.cli.records import Record
    from instruct_embeddings.encoder import InstructEncoder
    from instruct_embeddings.protocols import InstantMover
    from instruct_embeddings.transform.transform import InstructionTransform

Hits: TypeAlias = list[dict[str, Any]]
_K, _HITS, _WIDTH = 10, 5, 100
_SIDES = ("generic", "instant", "fitted")
_MANY = 100_000  # rows that costs are scaled to
_SLICE = 100  # texts that the speed of encoding is measured on
_PATIENCE = 600.0  # seconds; a busy machine shall show the same figures


@command
def demo(
    path: Annotated[
        Path, typer.Option(help="Folder of the demo's collection and transforms.")
    ] = Path(".demo"),
    as_json: JsonOption = False,
) -> None:
    """Ask 480 support tickets under several instructions, measure by true labels.

    A Chroma collection, a sentence encoder and the retriever behind the classes for LangChain and
    LlamaIndex. A second run reuses the collection and the transforms.
    """
    require("chromadb", extra="chroma")
    with Store(f"chroma:{path}") as store:
        document = _run(store)
    finish(document, *_screen(document), as_json=as_json)


def _run(place: Store) -> dict[str, Any]:
    """Build or reuse the collection, fit or reuse the transforms, ask and measure."""
    from chroma_instruct_embeddings import ChromaVectors
    from instruct_embeddings.guides import EncoderGuide
    from instruct_embeddings.retrieval.retriever import InstructRetriever
    from instruct_embeddings.transform.store import TransformStore

    note("Loading the sentence encoder ...")
    encoder, instant = models.load_encoder(), models.load_instant()
    records = read_tickets()
    built, reused = build_collection(place.chroma(), records, encoder)
    collection = ChromaVectors(built)
    quick = InstructRetriever(collection, instant=instant)
    store, fit = TransformStore(place.transforms), FitConfig(guide_budget=_PATIENCE)
    guide = EncoderGuide(models.load_instructed())
    retriever = InstructRetriever(collection, guide, store=store, fit=fit)
    times: list[float] = []

    def ask(text: str, instruction: str | None = None, *, fitted: bool = False) -> Hits:
        vector = encoder.encode([text])[0]
        started = time.perf_counter()
        by = retriever if fitted else quick
        hits = by.search(vector, query=text, instruction=instruction, k=_K, force=True)
        if instruction and not fitted:
            times.append(time.perf_counter() - started)
        return [hit_dict(hit) for hit in hits]

    ask("What?", "What is it?")  # loads the weights
    times.clear()
    constraints = [
        asdict(one) | one.counts(generic=ask(one.text), instant=ask(one.text, one.instruction))
        for one in CONSTRAINTS
    ]
    note("Fitting a transform for each instruction ...")
    known = set(store.keys())
    transforms = retriever.prepare(list(ASPECTS.values()))
    searches = [
        {
            "query": text,
            "instruction": ASPECTS[key],
            "label_key": key,
            "label": label,
            "generic": ask(text),
            "instant": ask(text, ASPECTS[key]),
            "fitted": ask(text, ASPECTS[key], fitted=True),
        }
        for key, (text, label) in QUESTIONS.items()
    ]
    sample = [record.text for record in records[:_SLICE]]
    started = time.perf_counter()
    encoder.encode(sample)
    encoding = (time.perf_counter() - started) / len(sample)
    precisions = _precisions(collection, instant, transforms)
    return {
        "collection": built.name,
        "path": str(place.chroma()),
        "folder": str(place.transforms),
        "model": encoder.name,
        "rows": len(records),
        "collection_reused": reused,
        "k": _K,
        "seconds": {
            "answer": median(times),
            "encoding": encoding,
            "fit": sum(one.report.seconds for one in transforms) / len(transforms),
        },
        "instructions": [
            {
                "instruction": one.instruction,
                "label_key": key,
                "key": one.key,
                "reused": one.key in known,
                "report": one.report.to_dict(),
                "precision": precision,
            }
            for key, one, precision in zip(ASPECTS, transforms, precisions, strict=True)
        ],
        "searches": searches,
        "constraints": constraints,
    }


def build_collection(
    database: "ChromaDatabase", records: "Sequence[Record]", encoder: "InstructEncoder"
) -> tuple["Collection", bool]:
    """The collection of the tickets, and whether it was there."""
    largest = database.client(create=True).get_max_batch_size()
    target = Target(database, collection_name(records), encoder.name)
    if target.found is not None:
        check_model(target.found.metadata, target.found.name, encoder.name)
        if target.found.count() == len(records):
            return target.found, True
    with progress(f"Encoding {len(records):,} texts", len(records)) as advance:
        fill(target, records, encoder, largest_batch=largest, on_rows=advance)
    return target.collection(), False


def _precisions(
    collection: "ChromaVectors", instant: "InstantMover", transforms: "list[InstructionTransform]"
) -> list[dict[str, Any]]:
    """The precision of each ranking by the labels of each aspect, every ticket asked."""
    import numpy as np

    from instruct_embeddings.protocols import Rows
    from instruct_embeddings.retrieval.instant import InstantAnswers
    from instruct_embeddings.transform.vectors import unit_rows

    stored = Rows.joined(list(collection.scan(vectors=True, records=True)))
    vectors, answers, found = unit_rows(stored.vectors), InstantAnswers(collection, instant), []
    rows = [vectors[[row]] for row in range(len(vectors))]
    with progress(f"Asking {len(rows)} texts", len(ASPECTS)) as advance:
        for key, transform in zip(ASPECTS, transforms, strict=True):
            moved = [
                answers.ranker(text or "", row, transform.instruction).score(row, vectors)
                for text, row in zip(stored.read_texts, rows, strict=True)
            ]
            scores = {
                "generic": vectors @ vectors.T,
                "instant": np.array(moved),
                "fitted": np.array([transform.score(row, vectors) for row in rows]),
            }
            labels = [str(metadata[key]) for metadata in stored.metadatas]
            found.append(label_precision(labels, scores, _K))
            advance(1)
    return found


def label_precision(
    labels: Sequence[str], scores: "Mapping[str, FloatArray]", k: int
) -> dict[str, Any]:
    """Precision at k: the share of the closest other rows that have the label of the row asked.

    Scores of all rows for all rows, shape (n, n), by what ranks; estimates with intervals.
    """
    import numpy as np

    from instruct_embeddings.transform.quality import bootstrap, mean_of, precision_at_k

    own = np.eye(len(labels), dtype=bool)
    names = np.array(labels)
    relevant = (names == names[:, None]) & ~own
    precisions = {
        side: precision_at_k(np.where(own, -np.inf, similar), relevant, k)
        for side, similar in scores.items()
    }
    return {
        side: bootstrap(mean_of(values), len(labels)).to_dict()
        for side, values in precisions.items()
    }


def _screen(document: dict[str, Any]) -> "Iterator[RenderableType]":
    """The parts of the screen, from top to bottom, with an empty line behind each."""
    from rich.text import Text

    for part in _parts(document):
        yield part
        yield ""
    instruction = ASPECTS["area"]
    name, where = program_name(), "--store chroma:FOLDER --collection NAME"
    yield Text(
        "The same on a collection of your own, in Python with LangChain:\n\n"
        "  retriever = InstructionTransformRetriever(vectorstore=your_chroma)\n"
        f'  retriever.invoke("your query", instruction="{instruction}")\n\n'
        "and on the command line:\n\n"
        f'  {name} adapt "{instruction}" {where}\n'
        f'  {name} query "your query" {where} --instruction "{instruction}"'
    )


def _parts(document: dict[str, Any]) -> "Iterator[RenderableType]":
    how = "reused from an earlier run" if document["collection_reused"] else "built now"
    yield (
        f"{document['rows']:,} texts of tickets.jsonl in the Chroma collection "
        f"{document['collection']}\nin {document['path']}: {how}, by {document['model']}.\n"
        "generic: the stored vectors as they are. instant: the query moved by the instruction, at "
        "once.\nfitted: the same vectors through a transform, taught by\n"
        "the encoder of the package, which reads a sample; no labels."
    )
    yield _table(
        f"Precision@{_K} by true labels: {document['rows']} texts asked; ± 95% interval",
        ["instruction", "label"],
        _SIDES,
        (
            [one["instruction"], one["label_key"], *map(_figure, one["precision"].values())]
            for one in document["instructions"]
        ),
    )
    yield from map(_search_table, document["searches"])
    yield _table(
        f"Of {_K} hits, how many are as the instruction says, without and with it; and how many "
        "are on topic",
        ["query", "instruction"],
        ["as it says", "on topic"],
        (
            [one["text"], one["instruction"]]
            + [f"{c['generic']} → {c['instant']}" for c in (one["satisfied"], one["on_topic"])]
            for one in document["constraints"]
        ),
    )
    yield _costs(document)


def _figure(one: Mapping[str, float]) -> str:
    return f"{one['value']:.3f} ±{(one['high'] - one['low']) / 2:.3f}"


def _table(
    title: str, heads: Sequence[str], figures: Sequence[str], lines: Iterator[list[str]]
) -> "Table":
    table = plain_table(*heads, title=title, width=_WIDTH)
    for head in figures:
        table.add_column(head, justify="right")
    for line in lines:
        table.add_row(*line)
    return table


def _search_table(search: dict[str, Any]) -> "Table":
    """The first hits next to each other: whether each is right, its label, and how it begins."""
    asked = textwrap.shorten(search["query"], _WIDTH, placeholder=" ...")
    said = f"{search['instruction']} ({search['label']}; ✓: the same label)"
    table = plain_table(title=f"{asked}\n{said}", width=_WIDTH)
    for side in _SIDES:
        table.add_column(side, no_wrap=True, overflow="ellipsis", ratio=1)
    key, own = search["label_key"], search["label"]
    rows = list(zip(*(search[side][:_HITS] for side in _SIDES), strict=True))
    width = max(len(hit["metadata"][key]) for hits in rows for hit in hits)
    for hits in rows:
        named = [(hit["metadata"][key], one_line(hit["text"])) for hit in hits]
        table.add_row(
            *(f"{'✓' if name == own else ' '} {name:<{width}} {text}" for name, text in named)
        )
    return table


def _costs(document: dict[str, Any]) -> str:
    """What a new instruction costs, beside encoding all texts again."""
    seconds, rows = document["seconds"], document["rows"]
    again = [f"{count:,} texts {seconds['encoding'] * count:,.0f} s" for count in (rows, _MANY)]
    return (
        f"A new instruction: first answer {seconds['answer'] * 1000:.0f} ms, transform "
        f"{seconds['fit']:.0f} s in the background, from at most 1,000 rows of any collection.\n"
        f"Encoding all texts under it instead: {again[0]}, {again[1]} (at the speed of "
        f"{min(rows, _SLICE)} texts, measured now).\nTransforms are kept in {document['folder']}."
    )
