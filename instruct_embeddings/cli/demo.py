"""`demo`: precision by true labels, a few questions, and what they cost."""

import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from instruct_embeddings._extras import require
from instruct_embeddings._printable import one_line, plain_table
from instruct_embeddings.cli import models
from instruct_embeddings.cli.demo_corpus import Aspect, Corpus, read_corpus
from instruct_embeddings.cli.index import Target, fill
from instruct_embeddings.cli.models import check_model
from instruct_embeddings.cli.options import JsonOption, command
from instruct_embeddings.cli.output import finish, hit_dict, note, program_name, progress
from instruct_embeddings.cli.records import SEPARATOR
from instruct_embeddings.cli.store import Store
from instruct_embeddings.config import FitConfig
from instruct_embeddings.errors import ConfigError

if TYPE_CHECKING:
    from chromadb import Collection
    from rich.console import RenderableType
    from rich.table import Table

    from chroma_instruct_embeddings import ChromaVectors
    from chroma_instruct_embeddings.database import ChromaDatabase
    from instruct_embeddings._types import FloatArray
    from instruct_embeddings.encoder import InstructEncoder
    from instruct_embeddings.protocols import Guide, InstantMover
    from instruct_embeddings.transform.transform import InstructionTransform

Hits: TypeAlias = list[dict[str, Any]]
GuideName: TypeAlias = Literal["encoder", "labels"]
_K, _HITS, _MOST_ASKED, _WIDTH = 10, 5, 500, 100
_SIDES = ("generic", "instant", "fitted")
_MANY = 100_000  # rows that costs are scaled to
_SLICE = 100  # texts that the speed of encoding is measured on
_PATIENCE = 600.0  # seconds; a busy machine shall show the same figures
_TAUGHT_BY: Mapping[GuideName, str] = {
    "encoder": "the encoder of the package, which reads a sample; no labels",
    "labels": "the labels, so that its precision below is no fair figure",
}


@command
def demo(
    corpus: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="JSONL with `text`, labels and, if there is one, `id`. By default 480 support "
            "tickets that come with the package.",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Read at most so many rows.", min=20)] = None,
    label_key: Annotated[
        list[str] | None,
        typer.Option(
            help="Key of labels, nested ones with a dot; can be given several times. By default up "
            "to three keys with 2 to 50 different values."
        ),
    ] = None,
    instruction: Annotated[
        list[str] | None,
        typer.Option(
            "--instruction",
            "-i",
            help="What to ask, where there are no labels; can be given several times.",
        ),
    ] = None,
    guide: Annotated[
        GuideName, typer.Option(help="What teaches the instructions: no labels, or the labels.")
    ] = "encoder",
    path: Annotated[
        Path, typer.Option(help="Folder of the demo's collection and transforms.")
    ] = Path(".demo"),
    as_json: JsonOption = False,
) -> None:
    """Build a collection, ask it under several instructions, measure by true labels.

    A Chroma collection, a sentence encoder and the retriever behind the classes for LangChain and
    LlamaIndex. A second run reuses the collection and the transforms.
    """
    require("chromadb", extra="chroma")
    texts = read_corpus(corpus, limit, label_key or [], instruction or [])
    teacher = _guide(guide, texts.aspects)
    with Store(f"chroma:{path}") as store:
        document = {"guide": guide} | _run(store, texts, teacher)
    finish(document, *_screen(document, texts), as_json=as_json)


def _guide(name: GuideName, aspects: Sequence[Aspect]) -> "Guide":
    from instruct_embeddings.guides import EncoderGuide, GuideByInstruction, MetadataGuide

    if name == "encoder":
        return EncoderGuide(models.load_instructed())
    guides = {
        one.instruction: MetadataGuide(one.key, separator=SEPARATOR) for one in aspects if one.key
    }
    if not guides:
        raise ConfigError(
            "--guide labels needs labels, and an --instruction names none. Leave out "
            "--instruction, or take --guide encoder."
        )
    return GuideByInstruction(guides)


def _run(place: Store, corpus: Corpus, teacher: "Guide") -> dict[str, Any]:
    """Build or reuse the collection, fit or reuse the transforms, ask and measure."""
    from chroma_instruct_embeddings import ChromaVectors
    from instruct_embeddings.retrieval.retriever import InstructRetriever
    from instruct_embeddings.transform.store import TransformStore

    note("Loading the sentence encoder ...")
    encoder, instant = models.load_encoder(), models.load_instant()
    built, reused = build_collection(place.chroma(), corpus, encoder)
    collection = ChromaVectors(built)
    quick = InstructRetriever(collection, instant=instant)
    store = TransformStore(place.transforms)
    fit = FitConfig(guide_budget=_PATIENCE)
    retriever = InstructRetriever(collection, teacher, store=store, fit=fit)
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
        for one in corpus.constraints
    ]
    note("Fitting a transform for each instruction ...")
    known = set(store.keys())
    transforms = retriever.prepare([aspect.instruction for aspect in corpus.aspects])
    searches = [
        {
            "query": question.text,
            "instruction": aspect.instruction,
            "labels": sorted(aspect.labels(question.metadata)),
            "generic": ask(question.text),
            "instant": ask(question.text, aspect.instruction),
            "fitted": ask(question.text, aspect.instruction, fitted=True),
        }
        for question, aspect in corpus.pairs()
    ]
    sample = [record.text for record in corpus.records[:_SLICE]]
    started = time.perf_counter()
    encoder.encode(sample)
    encoding = (time.perf_counter() - started) / len(sample)
    asked, precisions = _precisions(collection, instant, corpus.aspects, transforms)
    return {
        "corpus": str(corpus.source),
        "collection": corpus.name,
        "path": str(place.chroma()),
        "folder": str(place.transforms),
        "model": encoder.name,
        "rows": len(corpus.records),
        "collection_reused": reused,
        "k": _K,
        "asked": asked,
        "seconds": {
            "answer": median(times),
            "encoding": encoding,
            "fit": sum(one.report.seconds for one in transforms) / len(transforms),
        },
        "instructions": [
            {
                "instruction": aspect.instruction,
                "label_key": aspect.key,
                "key": one.key,
                "reused": one.key in known,
                "report": one.report.to_dict(),
                "precision": precision,
            }
            for aspect, one, precision in zip(corpus.aspects, transforms, precisions, strict=True)
        ],
        "searches": searches,
        "constraints": constraints,
    }


def build_collection(
    database: "ChromaDatabase", corpus: Corpus, encoder: "InstructEncoder"
) -> tuple["Collection", bool]:
    """The collection of a corpus, and whether it was there."""
    largest = database.client(create=True).get_max_batch_size()
    target = Target(database, corpus.name, encoder.name)
    if target.found is not None:
        check_model(target.found.metadata, corpus.name, encoder.name)
        if target.found.count() == len(corpus.records):
            return target.found, True
    with progress(f"Encoding {len(corpus.records):,} texts", len(corpus.records)) as advance:
        fill(target, corpus.records, encoder, largest_batch=largest, on_rows=advance)
    return target.collection(), False


def _precisions(
    collection: "ChromaVectors",
    instant: "InstantMover",
    aspects: Sequence[Aspect],
    transforms: "Sequence[InstructionTransform]",
) -> tuple[int, list[dict[str, Any] | None]]:
    """How many texts are asked, and by their labels the precision of each ranking, by aspect."""
    import numpy as np

    from instruct_embeddings.protocols import Rows
    from instruct_embeddings.retrieval.instant import InstantAnswers
    from instruct_embeddings.transform.vectors import unit_rows

    stored = Rows.joined(list(collection.scan(vectors=True, records=True)))
    vectors, texts = unit_rows(stored.vectors), stored.read_texts
    asked = sorted(Random(0).sample(range(len(texts)), min(len(texts), _MOST_ASKED)))
    answers = InstantAnswers(collection, instant)
    found = []
    with progress(f"Asking {len(asked)} texts", len(aspects)) as advance:
        for aspect, transform in zip(aspects, transforms, strict=True):
            labels = [aspect.labels(metadata) for metadata in stored.metadatas]
            rows = [row for row in asked if labels[row]]
            moves = [
                answers.ranker(texts[row] or "", vectors[[row]], aspect.instruction) for row in rows
            ]
            scored = {
                "generic": vectors[rows] @ vectors.T,
                "instant": [
                    move.score(vectors[[row]], vectors)
                    for row, move in zip(rows, moves, strict=True)
                ],
                "fitted": [transform.score(vectors[[row]], vectors) for row in rows],
            }
            scores = {side: np.array(found) for side, found in scored.items()}
            found.append(label_precision(labels, rows, scores, _K))
            advance(1)
    return len(asked), found


def label_precision(
    labels: Sequence[frozenset[str]],
    asked: Sequence[int],
    scores: "Mapping[str, FloatArray]",
    k: int,
) -> dict[str, Any] | None:
    """Precision at k: the share of the closest other rows that have a label of the row asked.

    Scores of the rows that are asked and all rows, shape (a, n), by what ranks; estimates with
    intervals. None where none of those asked shares a label with another row.
    """
    import numpy as np

    from instruct_embeddings.transform.quality import bootstrap, mean_of, precision_at_k

    names = sorted(frozenset().union(*labels))
    carried = np.array([[name in own for name in names] for own in labels], dtype=np.float32)
    own = np.zeros((len(asked), len(labels)), dtype=np.float32)
    own[np.arange(len(asked)), list(asked)] = -np.inf
    relevant = (carried[list(asked)] @ carried.T > 0) & (own == 0)
    if not relevant.any():
        return None
    return {
        side: bootstrap(
            mean_of(precision_at_k(similar + own, relevant, k)), len(relevant)
        ).to_dict()
        for side, similar in scores.items()
    }


def _screen(document: dict[str, Any], corpus: Corpus) -> "Iterator[RenderableType]":
    """The parts of the screen, from top to bottom, with an empty line behind each."""
    from rich.text import Text

    for part in _parts(document, corpus):
        yield part
        yield ""
    instruction = corpus.aspects[0].instruction
    name, where = program_name(), "--store chroma:FOLDER --collection NAME"
    yield Text(
        "The same on a collection of your own, in Python with LangChain:\n\n"
        "  retriever = InstructionTransformRetriever(vectorstore=your_chroma)\n"
        f'  retriever.invoke("your query", instruction="{instruction}")\n\n'
        "and on the command line:\n\n"
        f'  {name} adapt "{instruction}" {where}\n'
        f'  {name} query "your query" {where} --instruction "{instruction}"'
    )


def _parts(document: dict[str, Any], corpus: Corpus) -> "Iterator[RenderableType]":
    how = "reused from an earlier run" if document["collection_reused"] else "built now"
    yield (
        f"{document['rows']:,} texts of {corpus.source.name} in the Chroma collection "
        f"{document['collection']}\nin {document['path']}: {how}, by {document['model']}.\n"
        "generic: the stored vectors as they are. instant: the query moved by the instruction, at "
        "once.\nfitted: the same vectors through a transform, taught by\n"
        f"{_TAUGHT_BY[document['guide']]}."
    )
    measured = [one for one in document["instructions"] if one["precision"]]
    if measured:
        yield _table(
            f"Precision@{_K} by true labels: {document['asked']} texts asked; ± 95% interval",
            ["instruction", "label"],
            _SIDES,
            (
                [one["instruction"], one["label_key"], *map(_figure, one["precision"].values())]
                for one in measured
            ),
        )
    for search, (_, aspect) in zip(document["searches"], corpus.pairs(), strict=True):
        yield _search_table(search, aspect)
    if constraints := document["constraints"]:
        yield _table(
            f"Of {_K} hits, how many are as the instruction says, without and with it; and how "
            "many are on topic",
            ["query", "instruction"],
            ["as it says", "on topic"],
            (
                [one["text"], one["instruction"]]
                + [f"{c['generic']} → {c['instant']}" for c in (one["satisfied"], one["on_topic"])]
                for one in constraints
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


def _search_table(search: dict[str, Any], aspect: Aspect) -> "Table":
    """The first hits next to each other: whether each is right, its label, and how it begins."""
    own = set(search["labels"])
    asked = textwrap.shorten(search["query"], _WIDTH, placeholder=" ...")
    said = f" ({', '.join(search['labels'])}; ✓: the same label)" if own else ""
    table = plain_table(title=f"{asked}\n{aspect.instruction}{said}", width=_WIDTH)
    for side in _SIDES:
        table.add_column(side, no_wrap=True, overflow="ellipsis", ratio=1)
    rows = list(zip(*(search[side][:_HITS] for side in _SIDES), strict=False))
    labels = [[aspect.labels(hit["metadata"]) for hit in row] for row in rows]
    names = [[", ".join(sorted(found)) for found in row] for row in labels]
    width = max((len(name) for row in names for name in row), default=0)
    for hits, found, called in zip(rows, labels, names, strict=True):
        cells = zip(hits, found, called, strict=True)
        table.add_row(
            *(f"{'✓' if own & x else ' '} {n:<{width}} {one_line(h['text'])}" for h, x, n in cells)
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
