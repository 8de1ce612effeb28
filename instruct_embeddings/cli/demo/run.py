"""The demo itself, apart from how it looks."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from instruct_embeddings.cli import encoders
from instruct_embeddings.cli.comparison import hit_dict
from instruct_embeddings.cli.demo.build import Built, build
from instruct_embeddings.cli.demo.corpus import Corpus, read_corpus
from instruct_embeddings.cli.demo.guides import GuideName, guide_of
from instruct_embeddings.cli.demo.measure import Everything, K
from instruct_embeddings.cli.demo.questions import (
    TICKET_CONSTRAINTS,
    Aspect,
    Constrained,
    Question,
)
from instruct_embeddings.cli.encoders import TextEncoder
from instruct_embeddings.cli.output import note, progress
from instruct_embeddings.cli.places import Place
from instruct_embeddings.config import FitConfig

if TYPE_CHECKING:
    from instruct_embeddings.retrieval.ranking import Hit
    from instruct_embeddings.retrieval.retriever import InstructRetriever
    from instruct_embeddings.transform.transform import InstructionTransform

_WARM_UP = "What is it?"
# Seconds; a busy machine shall show the same figures.
_PATIENCE = 600.0


@dataclass(frozen=True)
class Search:
    """A question under one instruction.

    Attributes:
        question: What was asked.
        aspect: In what respect.
        hits: By what ranked: generic, instant, fitted.
    """

    question: Question
    aspect: Aspect
    hits: "Mapping[str, Sequence[Hit]]"


@dataclass(frozen=True)
class Obeyed:
    """A question with a constraint.

    Attributes:
        asked: What was asked.
        hits: Generic ones, and instant ones under the constraint.
    """

    asked: Constrained
    hits: "Mapping[str, Sequence[Hit]]"

    def counts(self, judge: Callable[[Mapping[str, object]], bool]) -> dict[str, int]:
        """How many hits a judge accepts, by what ranked."""
        return {side: sum(judge(hit.metadata) for hit in hits) for side, hits in self.hits.items()}


@dataclass(frozen=True)
class Taught:
    """An instruction and what it gains.

    Attributes:
        aspect: Where the labels are, and the instruction.
        transform: What was fitted.
        reused: Whether it was fitted by an earlier run.
        precision: By the true labels, by what ranked; None without labels.
    """

    aspect: Aspect
    transform: "InstructionTransform"
    reused: bool
    precision: Mapping[str, float] | None


@dataclass(frozen=True)
class Demo:
    """What the demo found.

    Attributes:
        corpus: What it ran on.
        place: The folder.
        built: The collection.
        model: Name of the encoder of the vectors.
        guide: What taught the transforms.
        asked: Rows that were asked for the precision.
        taught: One entry an instruction.
        searches: The questions.
        constraints: The questions with constraints.
        seconds: Medians of embedding a query, of a generic search, and of the first answers under
            new instructions; and what the fits took together.
    """

    corpus: Corpus
    place: Place
    built: Built
    model: str
    guide: GuideName
    asked: int
    taught: Sequence[Taught]
    searches: Sequence[Search]
    constraints: Sequence[Obeyed]
    seconds: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "corpus": str(self.corpus.source),
            "collection": self.corpus.name,
            "path": str(self.place),
            "store": str(self.place.store()),
            "model": self.model,
            "guide": self.guide.value,
            "rows": len(self.corpus.records),
            "collection_reused": self.built.added == 0,
            "build_seconds": self.built.seconds,
            "k": K,
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
                    **_hits(one.hits),
                }
                for one in self.searches
            ],
            "constraints": [
                {
                    **asdict(one.asked),
                    "satisfied": one.counts(one.asked.satisfied),
                    "on_topic": one.counts(one.asked.on_topic),
                    **_hits(one.hits),
                }
                for one in self.constraints
            ],
        }


def run_demo(
    file: Path | None,
    limit: int | None,
    keys: Sequence[str],
    instructions: Sequence[str],
    guide: GuideName,
    path: Path,
) -> Demo:
    """Build or reuse the collection, ask at once, fit or reuse the transforms, ask and measure.

    Args:
        file: The user's texts, or None for the sample corpus.
        limit: Read at most so many rows.
        keys: Keys that hold labels; empty to choose.
        instructions: What to ask; empty to ask for the labels of keys.
        guide: What teaches.
        path: Folder of the collection and of the transforms.
    """
    from chroma_instruct_embeddings import ChromaVectors
    from instruct_embeddings.retrieval.instant import InstantAnswers
    from instruct_embeddings.retrieval.retriever import InstructRetriever

    corpus = read_corpus(file, limit, keys, instructions)
    teacher = guide_of(guide, corpus.aspects)
    place = Place(path)
    note("Loading the sentence encoder ...")
    encoder, instant = encoders.load_encoder(), encoders.load_instant()
    built = build(place, corpus, encoder)
    collection = ChromaVectors(built.collection)
    quick = _Asker(InstructRetriever(collection, instant=instant), encoder)
    fit = FitConfig(guide_budget=_PATIENCE)
    retriever = InstructRetriever(collection, teacher, store=place.store(), fit=fit)
    pairs = [
        (question, corpus.aspects[i % len(corpus.aspects)])
        for i, question in enumerate(corpus.questions)
    ]
    quick.ask(corpus.questions[0].text, _WARM_UP)  # loads the weights
    quick.seconds.clear()
    at_once = [quick.ask(question.text, aspect.instruction) for question, aspect in pairs]
    generic = [quick.ask(question.text) for question, _ in pairs]
    seconds = {name: median(times) for name, times in quick.seconds.items()}
    constraints = [_obeyed(quick, one) for one in TICKET_CONSTRAINTS if corpus.written]
    note("Fitting a transform for each instruction ...")
    known = set(retriever.store.keys()) if retriever.store is not None else set()
    started = time.perf_counter()
    transforms = retriever.prepare([aspect.instruction for aspect in corpus.aspects])
    seconds["fits"] = time.perf_counter() - started
    slow = _Asker(retriever, encoder)
    fitted = [slow.ask(question.text, aspect.instruction) for question, aspect in pairs]
    rows = Everything.read(collection)
    answers = InstantAnswers(collection, instant)
    taught = []
    with progress(f"Asking {len(rows.asked)} texts", len(corpus.aspects)) as advance:
        for aspect, transform in zip(corpus.aspects, transforms, strict=True):
            precision = rows.precision(aspect, answers, transform)
            taught.append(Taught(aspect, transform, transform.key in known, precision))
            advance(1)
    searches = [
        Search(*pair, {"generic": one, "instant": two, "fitted": three})
        for pair, one, two, three in zip(pairs, generic, at_once, fitted, strict=True)
    ]
    return Demo(
        corpus,
        place,
        built,
        encoder.name,
        guide,
        len(rows.asked),
        taught,
        searches,
        constraints,
        seconds,
    )


class _Asker:
    """Asks a retriever, and notes how long that takes."""

    def __init__(self, retriever: "InstructRetriever", encoder: TextEncoder) -> None:
        self._retriever, self._encoder = retriever, encoder
        self.seconds: dict[str, list[float]] = {}

    def ask(self, text: str, instruction: str | None = None) -> "list[Hit]":
        started = time.perf_counter()
        vector = self._encoder.encode([text])[0]
        embedded = time.perf_counter()
        hits = self._retriever.search(vector, query=text, instruction=instruction, k=K, force=True)
        searched = time.perf_counter() - embedded
        self.seconds.setdefault("embedding", []).append(embedded - started)
        self.seconds.setdefault("answer" if instruction else "generic", []).append(searched)
        return hits


def _obeyed(quick: _Asker, asked: Constrained) -> Obeyed:
    hits = {"generic": quick.ask(asked.text), "instant": quick.ask(asked.text, asked.instruction)}
    return Obeyed(asked, hits)


def _hits(sides: "Mapping[str, Sequence[Hit]]") -> dict[str, list[dict[str, Any]]]:
    return {side: [hit_dict(hit) for hit in hits] for side, hits in sides.items()}
