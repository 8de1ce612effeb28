"""Groups of queries with instructions and right documents; each is drawn by seed and step."""

import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from instruct_embeddings._types import BoolArray, FloatArray, IntArray
from instruct_embeddings.training.instant.sets import Aspect, LabelledSet, Query, RetrievalSet

Kind: TypeAlias = Literal["only", "prefer", "no", "both"]

_BALANCED = 0.7  # fraction of rows drawn by label, not by text
_TOPIC_IN_WORDS = 0.4
_NEAR = (40, 80, 150)  # neighbours that count as on the topic of a query
_CONSTRAINTS: dict[Kind, float] = {"only": 0.38, "no": 0.38, "prefer": 0.12, "both": 0.12}
_UNKNOWN_OF_PLAIN, _PLAIN_OF_KEPT, _KEPT_OF_RETRIEVAL = 0.35, 0.65, 0.4
_MOST_KEPT = 6000
_TRIES = 400
_GIVEN = {"question": "question", "claim": "claim", "any": "text"}
_CLAUSE_OF_KIND, _WHOLE, _WHOLE_OF_KIND = 0.7, 0.3, 0.6
_GIVEN_SHARE, _FULL_STOP, _CAPITAL = 0.15, 0.6, 0.8
_UNFRAMED = 0.5


@dataclass(frozen=True)
class Words:
    """Makes instructions from the table of `instant-instructions.toml`."""

    table: dict[str, Any]

    def relation(self, rng: random.Random, name: str, aspect: str) -> str:
        """A wording of what a retrieval set is asked for; the aspect where the table has none.

        "siblings" are asked what a passage is about, in the words of the relation.
        """
        siblings = name == "siblings"
        table = self.table["relations"].get("medquad_train" if siblings else name, {})
        text = str(rng.choice(table[aspect]["instructions"])) if aspect in table else aspect
        if not siblings:
            return text
        form = str(rng.choice(self.table["frames"]["siblings"]))
        return form.format(i=text, j=text[:1].lower() + text[1:])

    def plain(self, rng: random.Random, kind: str) -> str:
        """An instruction for a "question", a "claim" or "any" query that asks for nothing else."""
        table = self.table["plain"]
        if rng.random() < _WHOLE:
            own = kind if rng.random() < _WHOLE_OF_KIND else "any"
            return str(rng.choice(table[own]["whole"]))
        own = kind if rng.random() < _CLAUSE_OF_KIND else "any"
        clause = rng.choice(table[own]["clauses"])
        text = f"{rng.choice(table['verbs'])} {rng.choice(table['documents'])} {clause}"
        if rng.random() < _GIVEN_SHARE:
            text = f"Given a {_GIVEN[kind]}, {text[0].lower()}{text[1:]}"
        return text + ("." if rng.random() < _FULL_STOP else "")

    def unknown(self, rng: random.Random) -> str:
        """A question about something that the texts may not speak of."""
        thing, other = rng.sample(self.table["unknown"]["things"], 2)
        text = str(rng.choice(self.table["unknown"]["forms"])).format(t=thing, u=other)
        return text[0].upper() + text[1:] if rng.random() < _CAPITAL else text.lower()

    def constraint(self, rng: random.Random, kind: Kind, wanted: str, other: str = "") -> str:
        """A constraint as users write it; "both" asks for `wanted` and against `other`."""
        x = wanted.strip().rstrip(".?")
        form = str(rng.choice(self.table["constraints"][kind]))
        return form.format(x=x, X=x[:1].upper() + x[1:], y=other.strip().rstrip(".?"))

    def framed(self, rng: random.Random, instruction: str) -> str:
        """A question as it is, or in a frame that asks for texts with the same answer."""
        if rng.random() < _UNFRAMED:
            return instruction
        return str(rng.choice(self.table["frames"]["forms"])).format(i=instruction)


@dataclass(frozen=True)
class Drawn:
    """Some queries of one set."""

    kind: str  # how it was drawn; the loss weighs by it
    texts: list[str]
    instructions: list[str]  # one for each
    vectors: FloatArray  # generic vectors of the queries, shape (b, d)
    documents: FloatArray  # frozen vectors of the candidates, shape (n, d)
    allowed: BoolArray  # candidates of each query, shape (b, n): not itself, nothing unjudged
    # The right ones, shape (b, n); None where nothing is asked for.
    relevant: BoolArray | None = None
    keep: bool = False  # whether the ranking must stay that of the generic vectors
    # Vectors of the names of the labels, shape (c, d), where labels are asked for.
    words: FloatArray | None = None
    word: IntArray | None = None  # label of each query, shape (b,)


@dataclass(frozen=True)
class Draws:
    """Draws groups."""

    labelled: Sequence[LabelledSet]
    relations: Sequence[RetrievalSet]  # retrieval sets under relations
    # Retrieval sets whose queries want nothing but what any search gives.
    plain: Sequence[RetrievalSet]
    words: Words
    kinds: Mapping[str, float]  # fraction of each kind of group; see `KINDS` of the configuration
    shares: Mapping[str, float]  # fraction of each retrieval set by name

    def group(self, rng: random.Random, rows: int) -> Drawn:
        """One group of `rows` queries."""
        makers: dict[str, Callable[[random.Random, int], Drawn]] = {
            "labels": self._labels,
            "relations": self._relations,
            "constraints": self._constraints,
            "plain": self._plain,
            "keep": self._keep,
        }
        return makers[_chosen(rng, self.kinds, makers)](rng, rows)

    def _labels(self, rng: random.Random, rows: int) -> Drawn:
        """Texts of one set: those with the same label are right."""
        one, aspect = self._aspect(rng)
        picked = [self._pick(rng, aspect) for _ in range(rows)]
        asked = [self.words.framed(rng, rng.choice(aspect.instructions)) for _ in range(rows)]
        drawn = _of_texts("labels", one, picked, asked, aspect.labels >= 0)
        own = aspect.labels[picked]
        relevant = (aspect.labels[None] == own[:, None]) & drawn.allowed
        return replace(drawn, relevant=relevant, words=aspect.word_vectors, word=own)

    @staticmethod
    def _pick(rng: random.Random, aspect: Aspect) -> int:
        if rng.random() < _BALANCED:
            label = rng.choice(range(len(aspect.words)))
            return int(rng.choice(np.flatnonzero(aspect.labels == label)))
        return int(rng.choice(np.flatnonzero(aspect.labels >= 0)))

    def _relations(self, rng: random.Random, rows: int) -> Drawn:
        """Queries of one retrieval set, each under one of its relations."""
        one = self._retrieval(rng, self.relations)
        queries, asked = [], []
        for _ in range(rows):
            aspect = rng.choice(sorted(one.queries))
            asked.append(self.words.relation(rng, one.name, aspect))
            queries.append(rng.choice(one.queries[aspect]))
        return _of_queries("relations", one, queries, asked)

    def _plain(self, rng: random.Random, rows: int) -> Drawn:
        """Questions and claims under instructions that ask for nothing else."""
        one = self._retrieval(rng, self.plain)
        kind = sorted(one.queries)[0]
        unknown = rng.random() < _UNKNOWN_OF_PLAIN
        asked = [
            self.words.unknown(rng) if unknown else self.words.plain(rng, kind) for _ in range(rows)
        ]
        queries = [rng.choice(one.queries[kind]) for _ in range(rows)]
        return replace(_of_queries("plain", one, queries, asked), keep=True)

    def _keep(self, rng: random.Random, rows: int) -> Drawn:
        """Queries of any set under what asks for nothing, or for what the texts do not hold."""
        if rng.random() < _KEPT_OF_RETRIEVAL:
            one = self._retrieval(rng, self.relations)
            queries = [
                rng.choice(one.queries[rng.choice(sorted(one.queries))]) for _ in range(rows)
            ]
            drawn = _of_queries("keep", one, queries, self._nothing(rng, rows))
        else:
            texts = self._labelled(rng)
            picked = [rng.randrange(len(texts.texts)) for _ in range(rows)]
            every = np.ones(len(texts.texts), dtype=np.bool_)
            drawn = _of_texts("keep", texts, picked, self._nothing(rng, rows), every)
        over = len(drawn.documents) - _MOST_KEPT
        start = rng.randrange(over) if over > 0 else 0
        some = slice(start, start + _MOST_KEPT)
        documents, allowed = drawn.documents[some], drawn.allowed[:, some]
        return replace(drawn, documents=documents, allowed=allowed, relevant=None, keep=True)

    def _nothing(self, rng: random.Random, rows: int) -> list[str]:
        return [
            self.words.plain(rng, "any")
            if rng.random() < _PLAIN_OF_KEPT
            else self.words.unknown(rng)
            for _ in range(rows)
        ]

    def _constraints(self, rng: random.Random, rows: int) -> Drawn:
        """The topic in the query, what is wanted or not wanted of it in the instruction.

        The generic neighbours of a query are on its topic; those of them that satisfy the
        constraint are right. So the topic is kept while the aspect changes.
        """
        for _ in range(_TRIES):
            one, aspect = self._aspect(rng)
            cases: list[_Case] = []
            for _ in range(6 * rows):
                cases += self._case(rng, one, aspect)
                if len(cases) == rows:
                    texts, vectors, asked, allowed, relevant = zip(*cases, strict=True)
                    return Drawn(
                        "constraints",
                        list(texts),
                        list(asked),
                        vectors=np.stack(vectors),
                        documents=one.vectors,
                        allowed=np.stack(allowed),
                        relevant=np.stack(relevant),
                    )
        raise RuntimeError("No labelled set has aspects that constraints can be made of.")

    def _case(self, rng: random.Random, one: LabelledSet, aspect: Aspect) -> "list[_Case]":
        """A query with its constraint; none where its neighbours do not differ enough."""
        labels = aspect.labels
        row = int(rng.choice(np.flatnonzero(labels >= 0)))
        text, vector = one.texts[row], one.vectors[row]
        allowed = labels >= 0
        topic = one.aspects[rng.choice(sorted(one.aspects))]
        if rng.random() < _TOPIC_IN_WORDS and topic.labels[row] >= 0:
            number = int(topic.labels[row])
            text, vector = topic.words[number], topic.word_vectors[number]
        else:
            allowed[row] = False
        scores = np.where(allowed, one.vectors @ vector, -np.inf)
        size = min(rng.choice(_NEAR), int(allowed.sum()) - 1)
        near = np.argpartition(-scores, size)[:size]
        counts = Counter(labels[near].tolist())
        [kind] = rng.choices(list(_CONSTRAINTS), list(_CONSTRAINTS.values()))
        fewest, most = (0.12 * size, 0.85 * size) if kind == "no" else (2, 0.7 * size)
        usable = [n for n, c in counts.items() if fewest <= c <= most]
        others = sorted((n for n in counts if n not in usable[:1]), key=lambda n: -counts[n])
        if not usable or (kind == "both" and len(counts) < 2):
            return []
        wanted = rng.choice(sorted(usable))
        other = next((n for n in others if n != wanted), wanted)
        holds = labels[near] == wanted
        relevant = np.zeros(len(labels), dtype=np.bool_)
        relevant[near[~holds if kind == "no" else holds]] = True
        asked = self.words.constraint(rng, kind, aspect.words[wanted], aspect.words[other])
        return [(text, vector, asked, allowed, relevant)]

    def _aspect(self, rng: random.Random) -> tuple[LabelledSet, Aspect]:
        one = self._labelled(rng)
        return one, one.aspects[rng.choice(sorted(one.aspects))]

    def _labelled(self, rng: random.Random) -> LabelledSet:
        """A labelled set; those with several aspects come more often, small ones less."""
        weights = [
            (0.25 if set(one.aspects) == {"answer"} else 1.0) * min(2.0, len(one.aspects) ** 0.5)
            for one in self.labelled
        ]
        return rng.choices(self.labelled, weights)[0]

    def _retrieval(self, rng: random.Random, among: Sequence[RetrievalSet]) -> RetrievalSet:
        by_name = {one.name: one for one in among}
        return by_name[_chosen(rng, self.shares, by_name)]


# Text and vector of a query, its instruction, documents that may be judged and right ones.
_Case: TypeAlias = tuple[str, FloatArray, str, BoolArray, BoolArray]


def _of_texts(
    kind: str, one: LabelledSet, picked: list[int], asked: list[str], judged: BoolArray
) -> Drawn:
    """Texts of a set as queries for its other texts."""
    allowed = np.repeat(judged[None], len(picked), axis=0)
    allowed[np.arange(len(picked)), picked] = False
    texts = [one.texts[i] for i in picked]
    return Drawn(kind, texts, asked, one.vectors[picked], one.vectors, allowed)


def _of_queries(kind: str, one: RetrievalSet, queries: Sequence[Query], asked: list[str]) -> Drawn:
    """Queries of a retrieval set with their right documents."""
    shape = (len(queries), len(one.documents))
    allowed, relevant = np.ones(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
    for row, query in enumerate(queries):
        relevant[row, list(query.relevant)] = True
        if query.own is not None:
            allowed[row, query.own] = False
    vectors = one.query_vectors[[query.vector for query in queries]]
    texts = [query.text for query in queries]
    return Drawn(kind, texts, asked, vectors, one.documents, allowed, relevant & allowed)


def _chosen(rng: random.Random, shares: Mapping[str, float], among: Collection[str]) -> str:
    """One of some names, by their shares."""
    names = [name for name in sorted(among) if shares.get(name, 0) > 0]
    return rng.choices(names, [shares[name] for name in names])[0]
