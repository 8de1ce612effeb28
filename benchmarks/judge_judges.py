"""Judges of graded skill; each says the same of the same query and document, however often asked.

Some know the answers and say the opposite of a share of them. Others know nothing: guesses, our own
encoder, and words in common.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from benchmarks.judge_sets import JudgedSet
from benchmarks.tasks import embed_under
from instruct_embeddings import InstructEncoder
from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder import DEFAULT_MODEL
from instruct_embeddings.feedback import EncoderJudge

TRUTH, GUESS, ENCODER, WORDS = "truth", "guesses", "our encoder", "words in common"
NOISES = (0.0, 0.1, 0.3)
# Cosines of words are small; judged as marks, not taken for probabilities.
_MARKS = 1000.0


def noisy(noise: float) -> str:
    """Name of the judge who says the opposite of a share of what is true."""
    return f"{TRUTH}, {noise:.0%} flipped" if noise else TRUTH


@dataclass(frozen=True)
class TruthJudge:
    """Knows the answers of a set.

    Attributes:
        answers: Texts that answer, by query and instruction.
        noise: Share of verdicts that are the opposite of what is true.
        seed: Of the choice which ones.
    """

    answers: Mapping[tuple[str, str], frozenset[str]]
    noise: float = 0.0
    seed: int = 0

    @classmethod
    def of(cls, own: JudgedSet, noise: float = 0.0, seed: int = 0) -> "TruthJudge":
        """The judge of a set."""
        answers: dict[tuple[str, str], frozenset[str]] = {}
        for query in own.queries:
            texts = frozenset(own.documents[int(row)] for row in query.relevant)
            key = query.text, query.instruction
            answers[key] = answers.get(key, frozenset()) | texts
        return cls(answers, noise, seed)

    @property
    def key(self) -> str:
        """By its noise."""
        return noisy(self.noise)

    def relevance(self, query: str, instruction: str | None, texts: Sequence[str]) -> list[float]:
        """1 for what answers, 0 for what does not, apart from flipped ones."""
        known = self.answers[query, instruction or ""]
        flipped = [drawn(self.seed, query, instruction, text) < self.noise for text in texts]
        return [float((text in known) != bad) for text, bad in zip(texts, flipped, strict=True)]


@dataclass(frozen=True)
class GuessingJudge:
    """Says anything from 0 to 1."""

    seed: int = 0
    key: str = GUESS

    def relevance(self, query: str, instruction: str | None, texts: Sequence[str]) -> list[float]:
        """Uniformly distributed."""
        return [drawn(self.seed, query, instruction, text) for text in texts]


class WordJudge:
    """Cosines of TF-IDF vectors; the query is read with its instruction in front of it."""

    key = WORDS

    def __init__(self, documents: Sequence[str]) -> None:
        """Learn how rare words are in the documents."""
        self._vectorizer = TfidfVectorizer(sublinear_tf=True).fit(documents)

    def relevance(self, query: str, instruction: str | None, texts: Sequence[str]) -> list[float]:
        """Marks, which are no probabilities."""
        asked = self._vectorizer.transform([f"{instruction or ''} {query}"])
        cosines = (self._vectorizer.transform(texts) @ asked.T).toarray()[:, 0]
        return [_MARKS * float(cosine) for cosine in cosines]


@dataclass
class KeptEncoder:
    """Our encoder, with what it has read kept: whatever is `read` together is encoded together."""

    encoder: InstructEncoder
    _kept: dict[tuple[str | None, str], FloatArray] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the encoder."""
        return self.encoder.name

    def read(self, texts: Iterable[str], instruction: str | None) -> None:
        """Encode what is not known yet."""
        missing = [t for t in dict.fromkeys(texts) if (instruction, t) not in self._kept]
        if missing:
            for text, row in zip(
                missing, embed_under(self.encoder, missing, instruction), strict=True
            ):
                self._kept[instruction, text] = row

    def encode(self, texts: Sequence[str], *, instruction: str | None = None) -> FloatArray:
        """Vectors of texts under an instruction, shape (n, d)."""
        self.read(texts, instruction)
        return np.stack([self._kept[instruction, text] for text in texts])


def encoder_judge() -> tuple[EncoderJudge, KeptEncoder]:
    """The judge that comes with the package, and what it reads with."""
    kept = KeptEncoder(InstructEncoder.from_pretrained(DEFAULT_MODEL))
    return EncoderJudge(kept), kept  # type: ignore[arg-type]


def drawn(seed: int, *parts: str | None) -> float:
    """A number from 0 to 1 that is always the same for the same texts, uniformly distributed."""
    digest = blake2b(repr((seed, *parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64
