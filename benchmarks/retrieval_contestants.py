"""Who answers a query under an instruction; all rank the same generic document vectors.

To add one, write a function from `Asked` and `Stored` to scores and give it a row in `contestants`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeAlias

import numpy as np

from benchmarks.tasks import embed, embed_under
from instruct_embeddings import FitConfig, InstructEncoder
from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder import BASE_MODEL
from instruct_embeddings.errors import InstructEmbeddingsError
from instruct_embeddings.protocols import CollectionInfo
from instruct_embeddings.retrieval.constraints import CANDIDATES, find_constraints, obey
from instruct_embeddings.retrieval.instant import InstantAnswers
from instruct_embeddings.supervision import Targets
from instruct_embeddings.testing import InMemoryCollection
from instruct_embeddings.transform import fit_transform
from instruct_embeddings.transform.vectors import unit_rows

GENERIC = "generic"
PREFIX = "instruction in front of the query"
SUM = "q + .3 v(instruction)"
ENCODER = "our encoder on the query side"
ADDED = "v + z of our encoder"
INSTANT = "instant query"
TRANSFORM = "fitted transform"
_SHARE = 0.3
_INSTANT_MODULE = "instruct_embeddings.instant"


@dataclass(frozen=True)
class Asked:
    """Queries under one instruction.

    Attributes:
        texts: Of the queries.
        instruction: Of all of them.
        vectors: Generic, unit rows, shape (q, d).
    """

    texts: list[str]
    instruction: str
    vectors: FloatArray


@dataclass(frozen=True)
class Stored:
    """A collection.

    Attributes:
        name: Of the set.
        texts: Of the documents.
        vectors: Generic, unit rows, shape (n, d).
        fitted: Instructions under which a transform is fitted, to bound the time.
    """

    name: str
    texts: list[str]
    vectors: FloatArray
    fitted: Sequence[str]


@dataclass(frozen=True)
class Models:
    """What contestants are made of.

    Attributes:
        generic: Made the document vectors.
        encoder: Reads a text under an instruction.
        instant: The instant query; None where there is none.
        sample: Texts that a transform is fitted on; 0 for no transform.
        seed: Seed of the sample and of the fit.
    """

    generic: InstructEncoder
    encoder: InstructEncoder
    instant: Any
    sample: int
    seed: int

    @classmethod
    def load(cls, model: str | None, instant: str | None, sample: int, seed: int) -> "Models":
        """Describe the models; weights are loaded where they are needed.

        Args:
            model: Folder or hub id of the encoder; None for the package's own.
            instant: Folder of an instant query; None for the package's own, if there is one.
            sample: See `sample`.
            seed: See `seed`.
        """
        generic, encoder = (InstructEncoder.from_pretrained(name) for name in (BASE_MODEL, model))
        return cls(generic, encoder, find_instant(instant), sample, seed)

    def names(self) -> dict[str, str]:
        """Names of the models, for the results."""
        found = {"generic": self.generic.name, "encoder": self.encoder.name}
        return found | ({"instant": str(self.instant.name)} if self.instant else {})


Contestant: TypeAlias = Callable[[Asked, Stored], FloatArray | None]
"""Scores of all documents, shape (q, n); None where it does not compete."""


def contestants(models: Models) -> dict[str, Contestant]:
    """The table: who competes, by name; the first is what all others are compared with."""
    table: dict[str, Contestant] = {
        GENERIC: lambda asked, stored: asked.vectors @ stored.vectors.T,
        PREFIX: partial(_in_front, models.generic),
        SUM: partial(_sum, models.generic),
        ENCODER: partial(_encoded, models.encoder),
        ADDED: partial(_added, models.encoder),
    }
    if models.instant is not None:
        table[INSTANT] = partial(instant_scores, models.instant)
    if models.sample:
        table[TRANSFORM] = partial(_transformed, models.encoder, models.sample, models.seed)
    return table


def find_instant(folder: str | None) -> Any:
    """An instant query, or None where this version of the package has none.

    Args:
        folder: Of its checkpoint; None for the one that comes with the package.
    """
    if find_spec(_INSTANT_MODULE) is None:
        return None
    try:
        return import_module(_INSTANT_MODULE).InstantQuery.from_pretrained(folder)
    except InstructEmbeddingsError:
        if folder is not None:
            raise
        return None


def _in_front(generic: InstructEncoder, asked: Asked, stored: Stored) -> FloatArray:
    return embed(generic, asked.texts, asked.instruction) @ stored.vectors.T


def _sum(generic: InstructEncoder, asked: Asked, stored: Stored) -> FloatArray:
    return (
        unit_rows(asked.vectors + _SHARE * embed(generic, [asked.instruction])) @ stored.vectors.T
    )


def _encoded(encoder: InstructEncoder, asked: Asked, stored: Stored) -> FloatArray:
    return unit_rows(embed_under(encoder, asked.texts, asked.instruction)) @ stored.vectors.T


def _added(encoder: InstructEncoder, asked: Asked, stored: Stored) -> FloatArray:
    own = unit_rows(embed_under(encoder, asked.texts, asked.instruction))
    return unit_rows(asked.vectors + own) @ stored.vectors.T


def instant_scores(instant: Any, asked: Asked, stored: Stored) -> FloatArray:
    """As a retriever answers: every row scored, the best reordered where there are constraints."""
    collection = InMemoryCollection(stored.vectors, texts=stored.texts, name=stored.name)
    answers = InstantAnswers(collection, instant)
    directions = answers.directions(find_constraints(asked.instruction))
    rows = []
    for text, vector in zip(asked.texts, asked.vectors, strict=True):
        ranker = answers.ranker(text, vector[None], asked.instruction)
        scores = ranker.score(vector[None], stored.vectors)
        if directions:
            best = np.argsort(-scores, kind="stable")[:CANDIDATES]
            obeyed = obey(scores[best], stored.vectors[best], directions)
            scores = scores - 10  # behind all candidates
            scores[best] = obeyed
        rows.append(scores)
    return np.stack(rows)


def _transformed(
    encoder: InstructEncoder, sample: int, seed: int, asked: Asked, stored: Stored
) -> FloatArray | None:
    """What the encoder teaches on a sample: folded, every row rescored, helpful or not."""
    if asked.instruction not in stored.fitted:
        return None
    rows = np.random.default_rng(seed).permutation(len(stored.texts))[:sample]
    targets = embed_under(encoder, [stored.texts[row] for row in rows], asked.instruction)
    transform = fit_transform(
        stored.vectors[rows],
        Targets(targets, np.ones(len(rows), dtype=np.bool_)),
        instruction=asked.instruction,
        guide=f"encoder:{stored.name}",
        collection=CollectionInfo(stored.name, stored.name, stored.vectors.shape[1], "cosine"),
        config=FitConfig(seed=seed, time_budget=600),
    )
    folded = transform.fold(asked.vectors) @ stored.vectors.T
    space = transform.space.score(asked.vectors, stored.vectors)
    return np.asarray((1 - transform.mix) * folded + transform.mix * space, dtype=np.float32)
