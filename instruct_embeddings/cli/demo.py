"""`demo`: the whole product on a small corpus, or on one of the user's own."""

import textwrap
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from instruct_embeddings._extras import require
from instruct_embeddings._printable import one_line, plain_table
from instruct_embeddings.cli import models
from instruct_embeddings.cli.demo_corpus import Aspect, Constrained, Corpus, read_corpus
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
    from instruct_embeddings.retrieval.retriever import InstructRetriever
    from instruct_embeddings.transform.report import FitReport
    from instruct_embeddings.transform.transform import InstructionTransform

Hits: TypeAlias = list[dict[str, Any]]
Judge: TypeAlias = Callable[[Mapping[str, object]], bool]
GuideName: TypeAlias = Literal["encoder", "labels"]
_K, _HITS = 10, 5
_MOST_ASKED = 500
_WARM_UP = "What is it?"
# Seconds; a busy machine shall show the same figures.
_PATIENCE = 600.0
_SIDES = ("generic", "instant", "fitted")
_WIDTH = 100
_TAUGHT_BY: Mapping[GuideName, str] = {
    "encoder": "the instruction-aware encoder, which reads a sample; no labels",
    "labels": "the labels in the metadata",
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
            help="Key that holds labels, nested ones with a dot; can be given several times. "
            "By default up to three keys with 2 to 50 different values. With the encoder as "
            "guide they only judge the hits.",
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
    """Build a collection, ask it under several instructions, show what changes.

    Everything is real: a Chroma collection, a sentence encoder, the retriever that the classes for
    LangChain and LlamaIndex wrap. A second run reuses the collection and the transforms.
    """
    require("chromadb", extra="chroma")
    texts = read_corpus(corpus, limit, label_key or [], instruction or [])
    teacher = _guide(guide, texts.aspects)
    with Store(f"chroma:{path}") as store:
        document, reports = _run(store, texts, guide, teacher)
    finish(document, *_screen(document, texts, reports), as_json=as_json)


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


def _run(
    place: Store, corpus: Corpus, guide: GuideName, teacher: "Guide"
) -> tuple[dict[str, Any], "list[FitReport]"]:
    """Build or reuse the collection, ask at once, fit or reuse the transforms, ask and measure."""
    from chroma_instruct_embeddings import ChromaVectors
    from instruct_embeddings.retrieval.retriever import InstructRetriever
    from instruct_embeddings.transform.store import TransformStore

    note("Loading the sentence encoder ...")
    encoder, instant = models.load_encoder(), models.load_instant()
    database = place.chroma()
    built, build_seconds = build_collection(database, corpus, encoder)
    collection = ChromaVectors(built)
    quick = _Asker(InstructRetriever(collection, instant=instant), encoder)
    quick.ask(corpus.questions[0].text, _WARM_UP)  # loads the weights
    quick.seconds.clear()
    searches: list[dict[str, Any]] = [
        {
            "query": question.text,
            "instruction": aspect.instruction,
            "labels": sorted(aspect.labels(question.metadata)),
            "generic": quick.ask(question.text),
            "instant": quick.ask(question.text, aspect.instruction),
        }
        for question, aspect in corpus.pairs()
    ]
    constraints = [_constrained(one, quick) for one in corpus.constraints]
    seconds = {name: median(times) for name, times in quick.seconds.items()}

    note("Fitting a transform for each instruction ...")
    store = TransformStore(place.transforms)
    known = set(store.keys())
    fit = FitConfig(guide_budget=_PATIENCE)
    retriever = InstructRetriever(collection, teacher, store=store, fit=fit)
    started = time.perf_counter()
    transforms = retriever.prepare([aspect.instruction for aspect in corpus.aspects])
    seconds["fits"] = time.perf_counter() - started
    fitted = _Asker(retriever, encoder)
    for search in searches:
        search["fitted"] = fitted.ask(search["query"], search["instruction"])
    asked, precisions = _precisions(collection, instant, corpus.aspects, transforms)
    document = {
        "corpus": str(corpus.source),
        "collection": corpus.name,
        "path": str(database),
        "folder": str(place.transforms),
        "model": encoder.name,
        "guide": guide,
        "rows": len(corpus.records),
        "collection_reused": build_seconds is None,
        "build_seconds": build_seconds or 0.0,
        "k": _K,
        "asked": asked,
        "seconds": seconds,
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
    return document, [transform.report for transform in transforms]


class _Asker:
    """Asks a retriever, and notes how long that takes."""

    def __init__(self, retriever: "InstructRetriever", encoder: "InstructEncoder") -> None:
        self._retriever, self._encoder = retriever, encoder
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def ask(self, text: str, instruction: str | None = None) -> Hits:
        started = time.perf_counter()
        vector = self._encoder.encode([text])[0]
        embedded = time.perf_counter()
        hits = self._retriever.search(vector, query=text, instruction=instruction, k=_K, force=True)
        self.seconds["answer" if instruction else "generic"].append(time.perf_counter() - embedded)
        self.seconds["embedding"].append(embedded - started)
        return [hit_dict(hit) for hit in hits]


def _constrained(one: Constrained, asker: _Asker) -> dict[str, Any]:
    sides = {"generic": asker.ask(one.text), "instant": asker.ask(one.text, one.instruction)}
    counts = {
        name: {side: sum(judge(hit["metadata"]) for hit in hits) for side, hits in sides.items()}
        for name, judge in (("satisfied", one.satisfied), ("on_topic", one.on_topic))
    }
    return asdict(one) | counts | sides


def build_collection(
    database: "ChromaDatabase", corpus: Corpus, encoder: "InstructEncoder"
) -> tuple["Collection", float | None]:
    """The collection of a corpus, and how long it took to store it; None where it was there."""
    largest = database.client(create=True).get_max_batch_size()
    target = Target(database, corpus.name, encoder.name)
    if target.found is not None:
        check_model(target.found.metadata, corpus.name, encoder.name)
        if target.found.count() == len(corpus.records):
            return target.found, None
    started = time.perf_counter()
    with progress(f"Encoding {len(corpus.records):,} texts", len(corpus.records)) as advance:
        fill(target, corpus.records, encoder, largest_batch=largest, on_rows=advance)
    return target.collection(), time.perf_counter() - started


def _precisions(
    collection: "ChromaVectors",
    instant: "InstantMover",
    aspects: Sequence[Aspect],
    transforms: "Sequence[InstructionTransform]",
) -> tuple[int, list[dict[str, float] | None]]:
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
            moved = [
                answers.ranker(texts[row] or "", vectors[[row]], aspect.instruction).score(
                    vectors[[row]], vectors
                )
                for row in rows
            ]
            scores = {
                "generic": vectors[rows] @ vectors.T,
                "instant": np.array(moved),
                "fitted": np.array([transform.score(vectors[[row]], vectors) for row in rows]),
            }
            found.append(label_precision(labels, rows, scores, _K))
            advance(1)
    return len(asked), found


def label_precision(
    labels: Sequence[frozenset[str]],
    asked: Sequence[int],
    scores: "Mapping[str, FloatArray]",
    k: int,
) -> dict[str, float] | None:
    """Precision at k: the share of the closest other rows that have a label of the row asked.

    Scores of the rows that are asked and all rows, shape (a, n), by what ranks. None where none of
    those asked shares a label with another row.
    """
    import numpy as np

    from instruct_embeddings.transform.quality import precision_at_k

    names = sorted(frozenset().union(*labels))
    carried = np.array([[name in own for name in names] for own in labels], dtype=np.float32)
    own = np.zeros((len(asked), len(labels)), dtype=np.float32)
    own[np.arange(len(asked)), list(asked)] = -np.inf
    relevant = (carried[list(asked)] @ carried.T > 0) & (own == 0)
    if not relevant.any():
        return None
    return {
        side: float(precision_at_k(similar + own, relevant, k).mean())
        for side, similar in scores.items()
    }


def _screen(
    document: dict[str, Any], corpus: Corpus, reports: "Sequence[FitReport]"
) -> "Iterator[RenderableType]":
    """The parts of the screen, from top to bottom, with an empty line behind each."""
    from rich.text import Text

    for part in _parts(document, corpus, reports):
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


def _parts(
    document: dict[str, Any], corpus: Corpus, reports: "Sequence[FitReport]"
) -> "Iterator[RenderableType]":
    yield _opening(document, corpus.source.name)
    by_labels = document["guide"] == "labels"
    measured = [one for one in document["instructions"] if one["precision"]]
    if measured:
        seen = " (fitted has seen these labels)" if by_labels else ""
        asked = f"{document['asked']} texts asked, right are those with the same label{seen}"
        lines = (
            [one["instruction"], one["label_key"], *(f"{one['precision'][s]:.3f}" for s in _SIDES)]
            for one in measured
        )
        yield _table(f"Precision@{_K}: {asked}", ["instruction", "label"], _SIDES, lines)
    for aspect, report in zip(corpus.aspects, reports, strict=True):
        if by_labels or not report.used:
            yield f'"{aspect.instruction}" {report}'
    for search, (_, aspect) in zip(document["searches"], corpus.pairs(), strict=True):
        yield _search_table(search, aspect)
    if constraints := document["constraints"]:
        yield _table(
            f"Constraints: of {_K} hits, how many satisfy it, without and with it; and how many "
            "are on topic",
            ["query", "instruction"],
            ["satisfied", "on topic"],
            (
                [one["text"], one["instruction"]]
                + [f"{c['generic']} → {c['instant']}" for c in (one["satisfied"], one["on_topic"])]
                for one in constraints
            ),
        )
        first = corpus.constraints[0]
        yield _hit_table(
            f"{first.text}\n{first.instruction}",
            {side: constraints[0][side] for side in _SIDES[:2]},
            first.satisfied,
            lambda metadata: str(metadata.get(first.named[0], "-")),
        )
    yield _times(document, sum(report.seconds for report in reports))


def _opening(document: dict[str, Any], source: str) -> str:
    if document["collection_reused"]:
        how = f"reused from an earlier run, nothing encoded (vectors of {document['model']})"
    else:
        how = f"built now in {document['build_seconds']:.1f} s with {document['model']}"
    return (
        f"{document['rows']:,} texts of {source} in the Chroma collection "
        f"{document['collection']}\nin {document['path']}: {how}.\n"
        "generic: the stored vectors as they are. instant: the query moved by the instruction, at "
        "once.\n"
        "fitted: the same vectors through a transform, taught by\n"
        f"{_TAUGHT_BY[document['guide']]}.\n"
        "✓ marks what is right by the labels, which stand there for the reader."
    )


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
    own = set(search["labels"])
    asked = textwrap.shorten(search["query"], _WIDTH, placeholder=" ...")
    label = f" ({', '.join(search['labels'])})" if own else ""
    return _hit_table(
        f"{asked}\n{aspect.instruction}{label}",
        {side: search[side] for side in _SIDES},
        lambda metadata: bool(own & aspect.labels(metadata)),
        lambda metadata: ", ".join(sorted(aspect.labels(metadata))),
    )


def _hit_table(
    title: str,
    sides: Mapping[str, Hits],
    judge: Judge,
    label: Callable[[Mapping[str, object]], str],
) -> "Table":
    """The first hits next to each other: whether each is right, its label, and how it begins."""
    table = plain_table(title=title, width=_WIDTH)
    for side in sides:
        table.add_column(side, no_wrap=True, overflow="ellipsis", ratio=1)
    shown = [hits[:_HITS] for hits in sides.values()]
    width = max((len(label(hit["metadata"])) for hits in shown for hit in hits), default=0)

    def cell(hit: dict[str, Any]) -> str:
        mark = "✓" if judge(hit["metadata"]) else " "
        return f"{mark} {label(hit['metadata']):<{width}} {one_line(hit['text'])}"

    for row in zip(*shown, strict=False):
        table.add_row(*map(cell, row))
    return table


def _times(document: dict[str, Any], fitted: float) -> str:
    seconds = document["seconds"]
    times = {name: f"{one * 1000:.0f} ms" for name, one in seconds.items()}
    if all(one["reused"] for one in document["instructions"]):
        fits = f"Transforms were fitted by an earlier run, in {fitted:.1f} s then"
    else:
        fits = f"Fitting {len(document['instructions'])} transforms took {seconds['fits']:.1f} s"
    return (
        f"Time of a first answer under a new instruction: {times['answer']} beside the "
        f"{times['embedding']} that embed the query\n(a generic search: {times['generic']}). "
        f"{fits};\nretrievers do that in the background. They are kept in {document['folder']}."
    )
