"""LIMIT: whether 384 dimensions are too few, and what an instruction transform makes of them.

    python -m benchmarks.limit --data FOLDER [--quick]

46 documents each name some fifty things that a person likes; 1,000 questions ask who likes one of
them, and every question has another pair of documents for its answer. Rankings are measured on
judged questions, from which a transform may learn, and on the other half, whose answers no method
has seen. Beside them stand the best that any query vectors, and any linear map of the questions,
can do with the same stored vectors, and the bound itself (`limit_bound`).
"""

import argparse
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from sklearn.feature_extraction.text import TfidfVectorizer

from benchmarks import limit_bound as bound
from benchmarks.environment import environment, save
from benchmarks.tasks import embed, embed_under
from benchmarks.transform import GENERIC
from instruct_embeddings import InstructEncoder
from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.encoder import BASE_MODEL
from instruct_embeddings.errors import TransformWarning
from instruct_embeddings.evaluation.jsonl_tasks import read_retrieval
from instruct_embeddings.guides import EncoderGuide, JudgementGuide
from instruct_embeddings.protocols import Guide
from instruct_embeddings.retrieval.retriever import InstructRetriever
from instruct_embeddings.testing import InMemoryCollection

ENCODER = "our encoder, both sides under an instruction"
GUIDED = "transform learned from the encoder"
JUDGED = "transform learned from the judged questions"
CORRECTED = "transform learned from the encoder and the judged questions"
LINEAR = "least squares from the judged questions"
WORDS = "words in common (TF-IDF)"
ASKED, ABOUT = "Who likes it?", "Which things does the person like?"
CUTS = (2, 10)
SEEDS = range(3)
_IRRELEVANT = 10  # judged for each question, beside its two answers
_OPTIMISED = (4, 8, 12, 16, 32)
_STEPS = 500
Ranker: TypeAlias = Callable[[IntArray], FloatArray]
"""Scores of all documents for all questions, (q, n), from the places of judged questions."""


@dataclass(frozen=True)
class Questions:
    """Texts, generic vectors and answers.

    Attributes:
        texts: Of the questions.
        documents: Their texts.
        asked: Unit rows, shape (q, d).
        stored: Unit rows of the documents, shape (n, d).
        answers: Which documents answer which question, shape (q, n).
    """

    texts: list[str]
    documents: list[str]
    asked: FloatArray
    stored: FloatArray
    answers: NDArray[np.bool_]

    @classmethod
    def read(cls, data: Path, generic: InstructEncoder) -> "Questions":
        """The small version of LIMIT."""
        found = read_retrieval(data / "dev" / "limit_small")
        texts, documents = ([row["text"] for row in part] for part in (found.queries, found.corpus))
        answers = [
            [d["id"] in found.relevant[q["id"]] for d in found.corpus] for q in found.queries
        ]
        vectors = embed(generic, texts), embed(generic, documents)
        return cls(texts, documents, *vectors, np.array(answers))


def main() -> None:
    """Measure, print, keep the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds dev/")
    parser.add_argument("--model", help="folder or hub id; by default the package's own model")
    parser.add_argument("--quick", action="store_true", help="one seed, few steps; keeps nothing")
    arguments = parser.parse_args()
    generic = InstructEncoder.from_pretrained(BASE_MODEL)
    encoder = InstructEncoder.from_pretrained(arguments.model)
    questions = Questions.read(arguments.data, generic)
    seeds, steps = (SEEDS[:1], 100) if arguments.quick else (SEEDS, _STEPS)
    results = {
        "environment": environment(SEEDS[0]),
        "model": encoder.name,
        "seeds": list(seeds),
        "questions": len(questions.texts),
        "documents": len(questions.documents),
        "irrelevant": _IRRELEVANT,
        "instructions": {"questions": ASKED, "documents": ABOUT},
        "chance": {f"recall@{k}": round(k / len(questions.documents), 4) for k in CUTS},
        "methods": measure(questions, rankers(questions, encoder), seeds),
        "ceilings": ceilings(questions),
        "bound": bounds(questions, steps),
        "steps": steps,
        "published": {str(d): n for d, n in bound.PUBLISHED.items()},
        "critical": bound.critical(questions.stored.shape[1]),
    }
    Console().print_json(data={k: results[k] for k in ("methods", "ceilings", "bound", "critical")})
    if not arguments.quick:
        Console().print(f"kept in {save('limit', results)}")


def rankers(questions: Questions, encoder: InstructEncoder) -> dict[str, Ranker]:
    """What is compared."""
    under = [
        embed_under(encoder, texts, instruction)
        for texts, instruction in ((questions.texts, ASKED), (questions.documents, ABOUT))
    ]
    words = TfidfVectorizer(ngram_range=(1, 3)).fit(questions.documents)
    common = [words.transform(texts) for texts in (questions.texts, questions.documents)]
    guide = EncoderGuide(encoder)
    guided = searched(questions, guide)
    return {
        GENERIC: lambda judged: questions.asked @ questions.stored.T,
        ENCODER: lambda judged: under[0] @ under[1].T,
        GUIDED: lambda judged: guided,
        JUDGED: lambda judged: searched(questions, judgements(questions, judged)),
        CORRECTED: lambda judged: searched(questions, judgements(questions, judged, guide)),
        LINEAR: partial(least_squares, questions),
        WORDS: lambda judged: (common[0] @ common[1].T).toarray(),
    }


def measure(
    questions: Questions, methods: Mapping[str, Ranker], seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """Recall on both halves of the questions, mean and spread over seeds."""
    found: dict[tuple[str, str], list[float]] = {}
    for seed in track(seeds, "seeds", console=Console(stderr=True)):
        judged, others = halves(len(questions.texts), seed)
        for name, rank in methods.items():
            scores = rank(judged)
            for half, rows in (("judged", judged), ("other", others)):
                for k, value in recalls(scores[rows], questions.answers[rows]).items():
                    found.setdefault((name, f"{half} {k}"), []).append(value)
    return [
        {"method": name}
        | {
            figure: {"mean": round(mean(values), 4), "spread": round(_spread(values), 4)}
            for (owner, figure), values in found.items()
            if owner == name
        }
        for name in methods
    ]


def halves(count: int, seed: int) -> tuple[IntArray, IntArray]:
    """Places of judged questions, and of the others."""
    order = np.random.default_rng(seed).permutation(count)
    return order[: count // 2], order[count // 2 :]


def recalls(scores: FloatArray, answers: NDArray[np.bool_]) -> dict[str, float]:
    """Mean share of the answers among the first documents."""
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = np.take_along_axis(answers, order, axis=1)
    return {
        f"recall@{k}": round(float((ranked[:, :k].sum(1) / answers.sum(1)).mean()), 4) for k in CUTS
    }


def searched(questions: Questions, guide: Guide) -> FloatArray:
    """Scores that the retriever gives, whether its transform helps on its own sample or not."""
    collection = InMemoryCollection(questions.stored, texts=questions.documents)
    engine = InstructRetriever(collection, guide, force=True)
    scores = np.empty((len(questions.texts), collection.count()), dtype=np.float32)
    with warnings.catch_warnings():
        # Whether it helps the questions is what is measured.
        warnings.simplefilter("ignore", TransformWarning)
        for row, vector in zip(scores, questions.asked, strict=True):
            for hit in engine.search(vector, instruction=ASKED, k=collection.count()):
                row[int(hit.id)] = hit.score
    return scores


def judgements(questions: Questions, judged: IntArray, start: Guide | None = None) -> Guide:
    """Both answers of each judged question, and some documents that are none."""
    rng = np.random.default_rng(0)
    found = []
    for place in judged:
        wrong = rng.permutation(np.flatnonzero(~questions.answers[place]))[:_IRRELEVANT]
        for row in (*np.flatnonzero(questions.answers[place]), *wrong):
            answers = bool(questions.answers[place, row])
            found.append((questions.texts[place], str(row), answers))
    known = dict(zip(questions.texts, questions.asked, strict=True))
    return JudgementGuide(found, lambda texts: [known[text] for text in texts], start=start)


def least_squares(questions: Questions, judged: IntArray) -> FloatArray:
    """Scores of the linear map of questions that comes nearest to the judged answers."""
    wanted = questions.answers[judged].astype(np.float32)
    fitted = np.linalg.lstsq(questions.asked[judged], wanted, rcond=None)[0]
    return questions.asked @ fitted


def ceilings(questions: Questions) -> dict[str, dict[str, float]]:
    """What the stored vectors allow to anyone who knows all answers."""
    wanted = 2.0 * questions.answers - 1
    best = np.linalg.lstsq(questions.stored, wanted.T, rcond=None)[0].T
    everything = np.arange(len(questions.texts))
    return {
        "any query vectors": recalls(best @ questions.stored.T, questions.answers),
        "any linear map of the questions": recalls(
            least_squares(questions, everything), questions.answers
        ),
    }


def bounds(questions: Questions, steps: int) -> list[dict[str, Any]]:
    """Pairs that vectors of so many dimensions can tell, by how the vectors came about."""
    count = len(questions.documents)
    pairs = bound.all_pairs(count)
    ways = {
        "placed on a curve": [bound.on_a_curve(count)],
        "gradient descent": [bound.optimised(count, d, steps=steps, seed=0) for d in _OPTIMISED],
        "orthogonal": [bound.orthogonal(count)],
    }
    return [
        {"vectors": way, **bound.found(own, pairs)} for way, all_ in ways.items() for own in all_
    ]


def _spread(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
