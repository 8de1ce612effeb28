"""The demo itself, apart from how it looks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instruct_embeddings.cli import encoders
from instruct_embeddings.cli.comparison import Comparison
from instruct_embeddings.cli.demo.build import Built, build
from instruct_embeddings.cli.demo.corpus import Corpus, read_corpus
from instruct_embeddings.cli.demo.guides import GuideName, guide_of_aspects
from instruct_embeddings.cli.demo.hosts import Hosts
from instruct_embeddings.cli.demo.measure import query_seconds, reencoding
from instruct_embeddings.cli.demo.questions import Aspect, Question
from instruct_embeddings.cli.encoders import TextEncoder
from instruct_embeddings.cli.output import note, progress
from instruct_embeddings.cli.places import Place
from instruct_embeddings.errors import MissingExtraError

if TYPE_CHECKING:
    from instruct_embeddings._types import Metadata
    from instruct_embeddings.retrieval.explanation import Explanation
    from instruct_embeddings.transform.transform import InstructionTransform

K = 5


@dataclass(frozen=True)
class Search:
    """One question under one instruction.

    Attributes:
        question: What was asked.
        comparison: Generic and adapted hits.
        same_ids: Whether LangChain and LlamaIndex gave the same ids.
    """

    question: Question
    comparison: Comparison
    same_ids: bool


@dataclass(frozen=True)
class Asked:
    """Everything about one instruction.

    Attributes:
        aspect: Where the labels are, and the instruction.
        transform: What was fitted.
        reused: Whether it was fitted by an earlier run.
        searches: The questions.
        seconds: Medians of a query.
    """

    aspect: Aspect
    transform: "InstructionTransform"
    reused: bool
    searches: Sequence[Search]
    seconds: dict[str, float]

    def matches(self, metadata: "Metadata", question: Question) -> bool:
        """Whether a row shares a label with the question."""
        return bool(self.aspect.labels(metadata) & self.aspect.labels(question.metadata))

    def matching(self) -> dict[str, tuple[int, int]]:
        """Labelled hits that share a label with their question, and of how many, by side."""
        sides: dict[str, tuple[int, int]] = {}
        for side in ("generic", "adapted"):
            marks = [
                self.matches(hit.metadata, one.question)
                for one in self.searches
                for hit in getattr(one.comparison, side)
                if self.aspect.labels(hit.metadata)
            ]
            sides[side] = (sum(marks), len(marks))
        return sides


@dataclass(frozen=True)
class Demo:
    """What the demo found.

    Attributes:
        corpus: What it ran on.
        place: The folder.
        built: The collection.
        model: Name of the encoder of the vectors.
        guide: What taught the transforms.
        asked: One entry an instruction.
        reencoding: What encoding everything again would take.
        explanation: What the first instruction did to the first question.
        picture: The map of that, or None where it cannot be drawn.
    """

    corpus: Corpus
    place: Place
    built: Built
    model: str
    guide: GuideName
    asked: Sequence[Asked]
    reencoding: dict[str, float]
    explanation: "Explanation"
    picture: Path | None

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
            "reencoding": self.reencoding,
            "explanation": self.explanation.to_dict(),
            "picture": None if self.picture is None else str(self.picture),
            "same_ids": all(one.same_ids for asked in self.asked for one in asked.searches),
            "instructions": [_asked_dict(asked) for asked in self.asked],
        }


def run_demo(
    file: Path | None,
    limit: int | None,
    keys: Sequence[str],
    instructions: Sequence[str],
    guide: GuideName,
    path: Path,
) -> Demo:
    """Build or reuse the collection, fit or reuse the transforms, ask and measure.

    Args:
        file: The user's texts, or None for the sample corpus.
        limit: Read at most so many rows.
        keys: Keys that hold labels; empty to choose.
        instructions: What to ask; empty to ask for the labels of keys.
        guide: What teaches.
        path: Folder of the collection and of the transforms.
    """
    corpus = read_corpus(file, limit, keys, instructions)
    place = Place(path)
    note("Loading the sentence encoder ...")
    encoder = encoders.load_encoder()
    built = build(place, corpus, encoder)
    teach = guide_of_aspects(guide)
    hosts = [
        Hosts(built, aspect, encoder, teach(aspect), place.store(), K) for aspect in corpus.aspects
    ]
    asked = []
    with progress("Fitting and asking", len(corpus.aspects)) as advance:
        for own, aspect in zip(hosts, corpus.aspects, strict=True):
            asked.append(_ask(own, aspect, encoder, corpus.questions))
            advance(1)
    explanation = hosts[0].explain(corpus.questions[0].text)
    cost = reencoding(encoder, [record.text for record in corpus.records])
    picture = _draw(explanation, path / "map.png")
    return Demo(corpus, place, built, encoder.name, guide, asked, cost, explanation, picture)


def _draw(explanation: "Explanation", file: Path) -> Path | None:
    """The map, where the plotting libraries are installed."""
    try:
        return explanation.draw(file)
    except MissingExtraError as exc:
        note(str(exc))
        return None


def _ask(
    hosts: Hosts, aspect: Aspect, encoder: TextEncoder, questions: Sequence[Question]
) -> Asked:
    engine = hosts.engine
    stored = set(engine.store.keys()) if engine.store is not None else set()
    transform = engine.transform(aspect.instruction)
    searches = [Search(question, *hosts.ask(question.text)) for question in questions]
    seconds = query_seconds(engine, encoder, questions[0].text, aspect.instruction, K)
    return Asked(aspect, transform, transform.key in stored, searches, seconds)


def _asked_dict(asked: Asked) -> dict[str, Any]:
    matching = {
        side: {"hits": hits, "of": total} for side, (hits, total) in asked.matching().items()
    }
    return {
        "instruction": asked.aspect.instruction,
        "label_key": asked.aspect.key,
        "key": asked.transform.key,
        "reused": asked.reused,
        "report": asked.transform.report.to_dict(),
        "query_seconds": asked.seconds,
        "matching": matching,
        "searches": [
            {
                "labels": sorted(asked.aspect.labels(one.question.metadata)),
                "same_ids": one.same_ids,
                **one.comparison.to_dict(),
            }
            for one in asked.searches
        ],
    }
