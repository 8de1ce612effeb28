"""`demo`: the whole product on a small corpus, or on one of the user's own."""

import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from instruct_embeddings._extras import require
from instruct_embeddings.cli import encoders
from instruct_embeddings.cli.database import Database, check_model
from instruct_embeddings.cli.demo_corpus import Aspect, Constrained, Corpus, read_corpus
from instruct_embeddings.cli.indexing import Target, fill
from instruct_embeddings.cli.options import JsonOption, command
from instruct_embeddings.cli.output import (
    finish,
    hit_dict,
    note,
    one_line,
    plain_table,
    progress,
)
from instruct_embeddings.cli.records import Record
from instruct_embeddings.config import FitConfig
from instruct_embeddings.errors import ConfigError

if TYPE_CHECKING:
    from chromadb import Collection
    from rich.console import RenderableType
    from rich.table import Table

    from instruct_embeddings._types import FloatArray
    from instruct_embeddings.encoder import InstructEncoder
    from instruct_embeddings.protocols import Guide
    from instruct_embeddings.retrieval.ranking import Hit
    from instruct_embeddings.retrieval.retriever import InstructRetriever
    from instruct_embeddings.transform.transform import InstructionTransform

_K = 10
_MOST_ASKED = 500
_WARM_UP = "What is it?"
# Seconds; a busy machine shall show the same figures.
_PATIENCE = 600.0
_SIDES = ("generic", "instant", "fitted")
_QUESTIONS, _HITS = 3, 5
_WIDTH = 100


class GuideName(str, Enum):
    """What teaches the demo's instructions."""

    ENCODER = "encoder"
    LABELS = "labels"


_TAUGHT_BY = {
    GuideName.ENCODER: "the instruction-aware encoder, which reads a sample; no labels",
    GuideName.LABELS: "the labels in the metadata",
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
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Read at most so many rows.", min=20, show_default=False)
    ] = None,
    label_key: Annotated[
        list[str] | None,
        typer.Option(
            help="Key that holds labels, nested ones with a dot; can be given several times. "
            "By default up to three keys with 2 to 50 different values. With the encoder as "
            "guide they only judge the hits.",
            show_default=False,
        ),
    ] = None,
    instruction: Annotated[
        list[str] | None,
        typer.Option(
            "--instruction",
            "-i",
            help="What to ask, where there are no labels; can be given several times.",
            show_default=False,
        ),
    ] = None,
    guide: Annotated[
        GuideName, typer.Option(help="What teaches the instructions: no labels, or the labels.")
    ] = GuideName.ENCODER,
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
    asked = read_corpus(corpus, limit, label_key or [], instruction or [])
    teacher = _guide(guide, asked.aspects)
    with Database(path) as database:
        result = _run(database, asked, guide, teacher)
        finish(result.to_dict(), *_screen(result), as_json=as_json)


class _Search(NamedTuple):
    """A question under one instruction; hits by what ranked: generic, instant, fitted."""

    question: Record
    aspect: Aspect
    hits: "Mapping[str, Sequence[Hit]]"


class _Obeyed(NamedTuple):
    """A question with a constraint; generic hits, and instant ones under it."""

    asked: Constrained
    hits: "Mapping[str, Sequence[Hit]]"

    def counts(self, judge: Callable[[Mapping[str, object]], bool]) -> dict[str, int]:
        return {side: sum(judge(hit.metadata) for hit in hits) for side, hits in self.hits.items()}


class _Taught(NamedTuple):
    """An instruction, whether an earlier run fitted it, and precision by what ranked."""

    aspect: Aspect
    transform: "InstructionTransform"
    reused: bool
    precision: Mapping[str, float] | None


@dataclass(frozen=True)
class _Demo:
    """What the demo found; `seconds` are medians, and what the fits took together."""

    corpus: Corpus
    database: Database
    model: str
    guide: GuideName
    added: int
    build_seconds: float
    asked: int
    taught: Sequence[_Taught]
    searches: Sequence[_Search]
    constraints: Sequence[_Obeyed]
    seconds: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        return {
            "corpus": str(self.corpus.source),
            "collection": self.corpus.name,
            "path": str(self.database),
            "store": str(self.database.store()),
            "model": self.model,
            "guide": self.guide.value,
            "rows": len(self.corpus.records),
            "collection_reused": self.added == 0,
            "build_seconds": self.build_seconds,
            "k": _K,
            "asked": self.asked,
            "seconds": dict(self.seconds),
            "instructions": [
                {
                    "instruction": one.aspect.instruction,
                    "label_key": one.aspect.key,
                    "key": one.transform.key,
                    "reused": one.reused,
                    "report": one.transform.report.to_dict(),
                    "precision": one.precision,
                }
                for one in self.taught
            ],
            "searches": [
                {
                    "query": one.question.text,
                    "instruction": one.aspect.instruction,
                    "labels": sorted(one.aspect.labels(one.question.metadata)),
                    **_hit_dicts(one.hits),
                }
                for one in self.searches
            ],
            "constraints": [
                {
                    **asdict(one.asked),
                    "satisfied": one.counts(one.asked.satisfied),
                    "on_topic": one.counts(one.asked.on_topic),
                    **_hit_dicts(one.hits),
                }
                for one in self.constraints
            ],
        }


def _hit_dicts(sides: "Mapping[str, Sequence[Hit]]") -> dict[str, list[dict[str, Any]]]:
    return {side: [hit_dict(hit) for hit in hits] for side, hits in sides.items()}


def _guide(name: GuideName, aspects: Sequence[Aspect]) -> "Guide":
    from instruct_embeddings.guides import EncoderGuide, GuideByInstruction, MetadataGuide

    if name is GuideName.ENCODER:
        return EncoderGuide(encoders.load_instructed())
    guides = {}
    for aspect in aspects:
        if aspect.key is None:
            raise ConfigError(
                "--guide labels needs labels, and an --instruction names none. Leave out "
                "--instruction, or take --guide encoder."
            )
        guides[aspect.instruction] = MetadataGuide(aspect.key, separator=aspect.separator)
    return GuideByInstruction(guides)


def _run(database: Database, corpus: Corpus, guide: GuideName, teacher: "Guide") -> _Demo:
    """Build or reuse the collection, ask at once, fit or reuse the transforms, ask and measure."""
    import numpy as np

    from chroma_instruct_embeddings import ChromaVectors
    from instruct_embeddings.retrieval.instant import InstantAnswers
    from instruct_embeddings.retrieval.retriever import InstructRetriever
    from instruct_embeddings.retrieval.sampling import read_pages
    from instruct_embeddings.transform.store import TransformStore
    from instruct_embeddings.transform.vectors import unit_rows

    note("Loading the sentence encoder ...")
    encoder, instant = encoders.load_encoder(), encoders.load_instant()
    built, added, build_seconds = _build(database, corpus, encoder)
    collection = ChromaVectors(built)
    quick = _Asker(InstructRetriever(collection, instant=instant), encoder)
    pairs = [
        (question, corpus.aspects[i % len(corpus.aspects)])
        for i, question in enumerate(corpus.questions)
    ]
    quick.ask(corpus.questions[0].text, _WARM_UP)  # loads the weights
    quick.seconds.clear()
    at_once = [quick.ask(question.text, aspect.instruction) for question, aspect in pairs]
    generic = [quick.ask(question.text) for question, _ in pairs]
    seconds = {name: median(times) for name, times in quick.seconds.items()}
    constraints = [
        _Obeyed(
            one, {"generic": quick.ask(one.text), "instant": quick.ask(one.text, one.instruction)}
        )
        for one in corpus.constraints
    ]

    note("Fitting a transform for each instruction ...")
    store = TransformStore(database.store())
    known = set(store.keys())
    fit = FitConfig(guide_budget=_PATIENCE)
    retriever = InstructRetriever(collection, teacher, store=store, fit=fit)
    started = time.perf_counter()
    transforms = retriever.prepare([aspect.instruction for aspect in corpus.aspects])
    seconds["fits"] = time.perf_counter() - started
    slow = _Asker(retriever, encoder)
    fitted = [slow.ask(question.text, aspect.instruction) for question, aspect in pairs]
    searches = [
        _Search(*pair, dict(zip(_SIDES, sides, strict=True)))
        for pair, *sides in zip(pairs, generic, at_once, fitted, strict=True)
    ]

    pages = list(read_pages(collection, vectors=True, records=True))
    vectors = unit_rows(np.concatenate([page.vectors for page in pages]))
    texts = [text or "" for page in pages for text in page.read_texts]
    metadatas = [metadata for page in pages for metadata in page.metadatas]
    asked = sorted(Random(0).sample(range(len(texts)), min(len(texts), _MOST_ASKED)))
    answers = InstantAnswers(collection, instant)
    taught = []
    with progress(f"Asking {len(asked)} texts", len(corpus.aspects)) as advance:
        for aspect, transform in zip(corpus.aspects, transforms, strict=True):
            labels = [aspect.labels(metadata) for metadata in metadatas]
            rows = [row for row in asked if labels[row]]
            moved = [
                answers.ranker(texts[row], vectors[[row]], aspect.instruction).score(
                    vectors[[row]], vectors
                )
                for row in rows
            ]
            scores = {
                "generic": vectors[rows] @ vectors.T,
                "instant": np.array(moved),
                "fitted": np.array([transform.score(vectors[[row]], vectors) for row in rows]),
            }
            precision = label_precision(labels, rows, scores)
            taught.append(_Taught(aspect, transform, transform.key in known, precision))
            advance(1)
    return _Demo(
        corpus,
        database,
        encoder.name,
        guide,
        added,
        build_seconds,
        len(asked),
        taught,
        searches,
        constraints,
        seconds,
    )


def _build(
    database: Database, corpus: Corpus, encoder: "InstructEncoder"
) -> tuple["Collection", int, float]:
    """The collection of a corpus, how many rows were stored now, and how long that took."""
    largest = database.client(create=True).get_max_batch_size()
    target = Target(database, corpus.name, encoder.name)
    if target.found is not None:
        check_model(target.found.metadata, corpus.name, encoder.name)
        if target.found.count() == len(corpus.records):
            return target.found, 0, 0.0
    started = time.perf_counter()
    with progress(f"Encoding {len(corpus.records):,} texts", len(corpus.records)) as advance:
        counts = fill(target, corpus.records, encoder, largest_batch=largest, on_rows=advance)
    return target.collection(), counts.added, time.perf_counter() - started


class _Asker:
    """Asks a retriever, and notes how long that takes."""

    def __init__(self, retriever: "InstructRetriever", encoder: "InstructEncoder") -> None:
        self._retriever, self._encoder = retriever, encoder
        self.seconds: dict[str, list[float]] = {}

    def ask(self, text: str, instruction: str | None = None) -> "list[Hit]":
        started = time.perf_counter()
        vector = self._encoder.encode([text])[0]
        embedded = time.perf_counter()
        hits = self._retriever.search(vector, query=text, instruction=instruction, k=_K, force=True)
        searched = time.perf_counter() - embedded
        self.seconds.setdefault("embedding", []).append(embedded - started)
        self.seconds.setdefault("answer" if instruction else "generic", []).append(searched)
        return hits


def label_precision(
    labels: Sequence[frozenset[str]], asked: Sequence[int], scores: "Mapping[str, FloatArray]"
) -> dict[str, float] | None:
    """Share of the ten closest other rows that share a label with the row asked, by what ranks.

    Args:
        labels: Of each row, n of them.
        asked: The rows that are asked, a of them.
        scores: Their similarity to all rows, shape (a, n), by what ranks.

    Returns:
        None where none of them shares a label with another row.
    """
    import numpy as np

    from instruct_embeddings.transform.quality import precision_at_k

    names = {name: column for column, name in enumerate(sorted(frozenset().union(*labels)))}
    carried = np.zeros((len(labels), len(names)), dtype=np.float32)
    for row, own in enumerate(labels):
        carried[row, [names[name] for name in own]] = 1
    rows = np.arange(len(asked))
    relevant = carried[list(asked)] @ carried.T > 0
    relevant[rows, asked] = False
    if not relevant.any():
        return None
    found = {}
    for side, similar in scores.items():
        others = similar.copy()
        others[rows, asked] = -np.inf
        found[side] = float(precision_at_k(others, relevant, _K).mean())
    return found


def _screen(demo: _Demo) -> "Iterator[RenderableType]":
    """The parts of the screen, from top to bottom, with an empty line behind each."""
    from rich.text import Text

    for part in _parts(demo):
        yield part
        yield ""
    yield Text(_closing(demo.taught[0].aspect.instruction))


def _parts(demo: _Demo) -> "Iterator[RenderableType]":
    yield _opening(demo)
    if any(one.precision for one in demo.taught):
        yield _precision_table(demo)
    for one in demo.taught:
        if demo.guide is GuideName.LABELS or not one.transform.report.used:
            yield f'"{one.aspect.instruction}" {one.transform.report}'
    for search in demo.searches[:_QUESTIONS]:
        yield _search_table(search)
    if demo.constraints:
        yield _constraint_table(demo.constraints)
        first = demo.constraints[0]
        title = f"{first.asked.text}\n{first.asked.instruction}"
        judge, key = first.asked.satisfied, first.asked.named[0]
        yield _hit_table(title, first.hits, judge, lambda hit: str(hit.metadata.get(key, "-")))
    yield _times(demo)


def _opening(demo: _Demo) -> str:
    rows = f"{len(demo.corpus.records):,} texts of {demo.corpus.source.name}"
    if demo.added:
        how = f"built now in {demo.build_seconds:.1f} s with {demo.model}"
    else:
        how = f"reused from an earlier run, nothing encoded (vectors of {demo.model})"
    return (
        f"{rows} in the Chroma collection {demo.corpus.name}\nin {demo.database}: {how}.\n"
        "generic: the stored vectors as they are. instant: the query moved by the instruction, at "
        "once.\n"
        "fitted: the same vectors through a transform, taught by\n"
        f"{_TAUGHT_BY[demo.guide]}.\n"
        "✓ marks what is right by the labels, which stand there for the reader."
    )


def _precision_table(demo: _Demo) -> "Table":
    seen = " (fitted has seen these labels)" if demo.guide is GuideName.LABELS else ""
    title = f"Precision@{_K}: {demo.asked} texts asked, right are those with the same label{seen}"
    table = plain_table("instruction", "label", title=title, width=_WIDTH)
    for side in _SIDES:
        table.add_column(side, justify="right")
    for one in demo.taught:
        if one.precision is not None:
            figures = [f"{one.precision[side]:.3f}" for side in _SIDES]
            table.add_row(one.aspect.instruction, one.aspect.key or "", *figures)
    return table


def _search_table(search: _Search) -> "Table":
    aspect, question = search.aspect, search.question
    own = aspect.labels(question.metadata)
    asked = textwrap.shorten(question.text, _WIDTH, placeholder=" ...")
    label = f" ({', '.join(sorted(own))})" if own else ""
    return _hit_table(
        f"{asked}\n{aspect.instruction}{label}",
        search.hits,
        lambda metadata: bool(own & aspect.labels(metadata)),
        lambda hit: ", ".join(sorted(aspect.labels(hit.metadata))),
    )


def _hit_table(
    title: str,
    sides: "Mapping[str, Sequence[Hit]]",
    judge: Callable[[Mapping[str, object]], bool],
    label: "Callable[[Hit], str]",
) -> "Table":
    """The first hits next to each other: whether each is right, its label, and how it begins."""
    table = plain_table(title=title, width=_WIDTH)
    for side in sides:
        table.add_column(side, no_wrap=True, overflow="ellipsis", ratio=1)
    shown = [hits[:_HITS] for hits in sides.values()]
    width = max((len(label(hit)) for hits in shown for hit in hits), default=0)
    for row in zip(*shown, strict=False):
        marks = ["✓" if judge(hit.metadata) else " " for hit in row]
        cells = zip(marks, row, strict=True)
        table.add_row(
            *(f"{mark} {label(hit):<{width}} {one_line(hit.text)}" for mark, hit in cells)
        )
    return table


def _constraint_table(constraints: Sequence[_Obeyed]) -> "Table":
    title = (
        f"Constraints: of {_K} hits, how many satisfy it, without and with it; and how many are on "
        "topic"
    )
    table = plain_table("query", "instruction", title=title, width=_WIDTH)
    for head in ("satisfied", "on topic"):
        table.add_column(head, justify="right")
    for one in constraints:
        counts = [one.counts(one.asked.satisfied), one.counts(one.asked.on_topic)]
        shown = [f"{each['generic']} → {each['instant']}" for each in counts]
        table.add_row(one.asked.text, one.asked.instruction, *shown)
    return table


def _times(demo: _Demo) -> str:
    times = {name: f"{seconds * 1000:.0f} ms" for name, seconds in demo.seconds.items()}
    reports = [one.transform.report.seconds for one in demo.taught]
    if all(one.reused for one in demo.taught):
        fits = f"Transforms were fitted by an earlier run, in {sum(reports):.1f} s then"
    else:
        fits = f"Fitting {len(reports)} transforms took {demo.seconds['fits']:.1f} s"
    return (
        f"Time of a first answer under a new instruction: {times['answer']} beside the "
        f"{times['embedding']} that embed the query\n(a generic search: {times['generic']}). "
        f"{fits};\nretrievers do that in the background. They are kept in {demo.database.store()}."
    )


def _closing(instruction: str) -> str:
    name, where = _program(), "--path FOLDER --collection NAME"
    return (
        "The same on a collection of your own, in Python with LangChain:\n\n"
        "  retriever = InstructionTransformRetriever(vectorstore=your_chroma)\n"
        f'  retriever.invoke("your query", instruction="{instruction}")\n\n'
        "and on the command line:\n\n"
        f'  {name} adapt "{instruction}" {where}\n'
        f'  {name} query "your query" {where} --instruction "{instruction}"'
    )


def _program() -> str:
    """How this user calls the command: by its name where it is on the path."""
    name = "instruct-embeddings"
    called = Path(sys.argv[0])
    if shutil.which(name) or called.name != name:
        return name
    here = Path.cwd()
    return str(called.relative_to(here)) if called.is_relative_to(here) else str(called)
