"""Constraints in an instruction: what has to be there, what must not; how candidates obey them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np

from instruct_embeddings._types import FloatArray
from instruct_embeddings.protocols import VectorCollection
from instruct_embeddings.retrieval.ranking import Ranking
from instruct_embeddings.transform.vectors import has_direction, unit_rows

# Chosen on the constraint suite of `make bench-retrieval` and on plain questions, in round numbers.
CANDIDATES = 400
SEEN = (0.15, 0.30)
_STRENGTH = {"only": 1.0, "prefer": 1.0, "no": 4.0}
_CLOSEST = 40  # one candidate in so many has to be close

Kind: TypeAlias = Literal["only", "no", "prefer"]


@dataclass(frozen=True)
class Constraint:
    """What an instruction names, such as "games": it has to be there, must not be, or is a wish."""

    kind: Kind
    phrase: str


_PLEASE = r"(?:(?:please|kindly|and|but|or)\s+)*"
_NOT = r"(?:do(?:es)?\s*n[o']?t|don'?t|not|never|should\s*n[o']?t|must\s*n[o']?t|can\s*not|can'?t)"
_SHOW = r"(?:show|include|return|give|list|find|want|need|bring|mention|use|contain|be)"
_HOLDS = (
    r"(?:mention|contain|include|use|need|require|involve|concern|cover|discuss|have|talk\s+about"
    r"|speak\s+of|deal\s+with)"
)
# "tickets that are not about games", "which don't mention it"; "that does not support the claim"
# says how a text relates to the query, and names nothing.
_HOLDS_NOT = (
    rf"(?:(?:do|does|did)\s*(?:not|n'?t)\s+{_HOLDS}|(?:are|is|were|was)\s*(?:not|n'?t)\s+"
    r"(?:about|on|for|from|related\s+to|concerned\s+with|written\s+in|made\s+for))\b"
)
# What opens a clause, and what it says of the rest. The first that fits counts.
_OPENINGS: tuple[tuple[Kind | None, str], ...] = (
    # "nothing else", "ignore everything else": they repeat what was said before.
    (None, r"(?:nothing|ignore\s+everything|no(?:thing)?\s+others?)\s+else$"),
    # About the answer, not about what is looked for.
    (None, r"(?:only|just)\s+(?:use|answer|cite|quote|tell|look|search|respond|reply|say|write)\b"),
    # Numbers, and "not only reports".
    (None, r"(?:no|not)\s+(?:more|fewer|less|longer|shorter|later|earlier|older|newer)\s+than\b"),
    (None, r"not\s+(?:only|just|merely|necessarily)\b"),
    (None, rf"{_NOT}\s+(?:make|invent|guess|explain|repeat|answer|use|worry|forget|assume)\b"),
    ("only", r"(?:nothing|none|no\s+others?|not(?:hing)?)\s+(?:but|except|other\s+than|than)\b"),
    ("no", r"(?:anything|everything|all|any|everyone)\s+(?:but|except(?:\s+for)?|other\s+than)\b"),
    ("no", r"(?:everything|anything|all)\s+(?:that|which)\s+(?:is|are|does|do)\s*n(?:o|')t\b"),
    ("no", r"(?:(?:that|which|who)\s+)?" + _HOLDS_NOT),
    (
        "no",
        r"(?:nothing|none)\s*(?:(?:to\s+do|that\s+has\s+to\s+do)\s+with|about|on|for|from|with|of"
        r"|that|which)?\b",
    ),
    ("no", r"(?:i|we)\s+(?:am|are|'m|'re)\s+not\s+interested\s+in\b|not\s+interested\s+in\b"),
    ("no", rf"(?:(?:i|we|you|it|they|results?)\s+)?{_NOT}\s+(?:{_SHOW}\b\s*)?(?:me\s+)?"),
    (
        "no",
        r"(?:no|without|exclud(?:e|ing)|except(?:\s+for)?|avoid|skip|omit|drop|hide|remove|ignore"
        r"|discard|reject|ban|leave\s+out|leave\s+away|filter\s+out|rule\s+out|keep\s+out|get\s+rid\s+of"
        r"|other\s+than|apart\s+from|rather\s+not|minus)\b",
    ),
    (
        "only",
        r"(?:(?:show|find|give\s+me|return|list|keep|include|i\s+want|i\s+need|we\s+need|search|i)\s+)?"
        r"(?:only|just|exclusively|solely|nothing\s+but|strictly)\b"
        r"(?:\s+(?:show|find|return|list|include|give|want|need|if\s+(?:it|they)\s+"
        r"(?:is|are|has|have|mentions?|contains?|uses?|concerns?))\b"
        r"(?:\s+me\b)?)?",
    ),
    (
        "only",
        r"(?:restrict|limit|narrow|confine)\s+(?:(?:it|this|them|the\s+\w+|results?)\s+)?(?:down\s+)?to\b"
        r"|(?:it|they|results?|this)?\s*(?:must|has\s+to|have\s+to|should|needs?\s+to)\s+(?:be|have|"
        r"concern|contain|come\s+from|support|use|mention|cover|discuss|involve|include)\b|stick\s+to\b|filter\s+(?:for|by|on)\b|require\b",
    ),
    (
        "prefer",
        r"(?:i|we)?\s*(?:'d|would)?\s*(?:prefer(?:ably|red)?|rather|favou?r|ideally|prioriti[sz]e"
        r"|if\s+possible|best\s+if|mostly|mainly|like\s+best)\b",
    ),
    (
        "only",
        r"(?:(?:written|made|meant|intended|designed|suitable|built|good|fit|aimed)\s+(?:for|at|in|with)"
        r"|aimed\s+at|for\s+use\s+(?:in|with|on|over))\b",
    ),
)
# "For KDE" on its own; "for a question, find ..." says what queries are.
_FOR = re.compile(_PLEASE + r"for\s+(?P<x>.+)$")
_PATTERNS = [(kind, re.compile(_PLEASE + opening)) for kind, opening in _OPENINGS]
_CLOSINGS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("only", re.compile(r"^(?P<x>.{2,60}?)\s+(?:only|exclusively|alone)$")),
    (
        "prefer",
        re.compile(
            r"^(?P<x>.{2,60}?)\s+(?:first|preferred|on\s+top|if\s+there\s+(?:is|are)\s+any)$"
        ),
    ),
    (
        "no",
        re.compile(
            r"^(?P<x>.{2,60}?)\s+(?:(?:is|are)\s+)?(?:excluded|unwanted|not\s+(?:wanted|needed))$"
        ),
    ),
)
_CLAUSES = re.compile(
    r"[.;!?\n]+|,\s*(?:and|but)?\s*|\s*:\s*|\s+and\s+(?=not\b|no\b|without\b)"
    rf"|\s+(?:that|which|who)\s+(?={_HOLDS_NOT})"
    r"|(?<!anything)(?<!everything)(?<!nothing)(?<!none)(?<!\ball)(?<!\bany)\s+but\s+(?!not\b)"
)
# "A rather than B"; after a word such as "only" also "A without B".
_RATHER = re.compile(r"\s+(?:rather\s+than|instead\s+of|but\s+not)\s+")
_VERSUS = re.compile(
    r"\s+(?:rather\s+than|instead\s+of|over|without|except(?:\s+for)?|but\s+not|not)\s+"
)
_FILLER = re.compile(
    r"^(?:(?:please|any|anything|everything|something|results?|those|ones?|things?|texts?|entries|"
    r"documents?|items?|all|the|a|an|to\s+be|what|else)\s+)*"
    r"(?:(?:that|which|who)\s+(?:is|are|has|have|uses?|needs?|deals?\s+with)\s+)?"
    r"(?:(?:about|on|concerning|regarding|related\s+to|to\s+do\s+with|dealing\s+with|from|with|in|for|"
    r"of|is|are)\s+)*(?:(?:a|an|the|any)\s+)?"
)
_TRAILING = re.compile(r"(?:,?\s*(?:please|only|at\s+all|either|from\s+the\s+results?))+$")
_LONGEST = 80  # characters
_SHORT = 6  # words


@lru_cache(maxsize=512)
def find_constraints(instruction: str) -> tuple[Constraint, ...]:
    """The constraints that an instruction states, in their order; none in most instructions.

    English only. A sentence that states none, such as "What is it about?" or "Find the abstract
    that supports the claim", gives an empty tuple.
    """
    found: list[Constraint] = []
    parts = _CLAUSES.split(instruction.casefold().replace("\u2019", "'"))
    clauses = [clause.strip() for clause in parts if clause.strip()]
    for clause in clauses:
        found += _read(clause)
    if len(clauses) == 1 and not found and (match := _FOR.match(clauses[0])):
        found += _split("only", match["x"])
    return tuple(dict.fromkeys(found))


def _read(clause: str) -> Iterator[Constraint]:
    for kind, pattern in _PATTERNS:
        if match := pattern.match(clause):
            if kind is not None:
                yield from _split(kind, clause[match.end() :])
            return
    for kind, pattern in _CLOSINGS:
        if match := pattern.match(_TRAILING.sub("", clause) if kind != "only" else clause):
            yield from _split(kind, match["x"])
            return
    if _RATHER.search(clause) and len(clause.split()) <= _SHORT:
        yield from _split("prefer", clause)


def _split(kind: Kind, rest: str) -> Iterator[Constraint]:
    """What is named; "A rather than B" names what is not wanted too."""
    named, *unwanted = _VERSUS.split(rest, maxsplit=1)
    if phrase := _tidy(named):
        yield Constraint(kind, phrase)
    if kind != "no" and unwanted and (phrase := _tidy(unwanted[0])):
        yield Constraint("no", phrase)


def _tidy(phrase: str) -> str:
    """The words that name something."""
    text = _TRAILING.sub("", phrase.strip(" '\"()-"))
    text = _FILLER.sub("", text).strip(" '\"()-")
    return text if len(text) <= _LONGEST else ""


@dataclass(frozen=True)
class Direction:
    """A constraint with the generic unit vector of what it names, shape (d,).

    `seen` are cosines: at the lower one the collection does not speak of it, at the higher fully.
    """

    constraint: Constraint
    vector: FloatArray
    seen: tuple[float, float] = SEEN


def reorder(
    collection: VectorCollection,
    ranking: Ranking,
    directions: Sequence[Direction],
    *,
    k: int,
    blend: float = 1.0,
) -> Ranking:
    """The best `k` of some candidates under constraints, which a blend of 1 obeys fully."""
    rows = ranking.vectors_of(collection)
    if not rows.ids:
        return ranking
    scores = dict(zip(ranking.ids, ranking.scores.tolist(), strict=True))
    before = np.array([scores[row] for row in rows.ids], dtype=np.float32)
    obeyed = obey(before, unit_rows(rows.vectors), directions)
    after = before + np.float32(blend) * (obeyed - before)
    after = np.where(has_direction(rows.vectors), after, -np.inf)
    best = np.argsort(-after, kind="stable")[:k]
    return Ranking(tuple(rows.ids[i] for i in best), np.clip(after[best], -1.0, 1.0), rows)


def obey(scores: FloatArray, documents: FloatArray, directions: Sequence[Direction]) -> FloatArray:
    """Scores of candidates that obey constraints.

    To the score of a candidate the cosine with what is wanted is added, and that with what is not
    wanted taken away, but only the part of it that the score itself does not explain: so the topic
    of the query is kept while the aspect changes. What is not wanted never raises a candidate.
    Where no candidate speaks of what is named, the scores stay as they are.

    Shapes: scores (n,), unit vectors of documents (n, d), to (n,). Scores may leave [-1, 1], as
    what is wanted adds up.
    """
    found = scores.astype(np.float64)
    if len(scores) < 2:
        return scores
    topic = scores - scores.mean()
    spread = max(float(topic @ topic), 1e-12)
    for direction in directions:
        cosines = documents @ direction.vector
        apart = cosines - cosines.mean()
        apart = apart - topic * (apart @ topic / spread)
        kind = direction.constraint.kind
        share = _STRENGTH[kind] * speaks(cosines, direction.seen)
        found = found - share * np.maximum(apart, 0) if kind == "no" else found + share * apart
    return np.asarray(found, dtype=np.float32)


def speaks(cosines: FloatArray, seen: tuple[float, float]) -> float:
    """How far candidates speak of something, from 0 to 1, by the closest fortieth of them.

    `cosines` are those of the candidates with it, shape (n,).

    "Passages that report experimental results" is close to nothing in a collection of abstracts,
    "programs written in Python" to many package descriptions.
    """
    rank = max(1, len(cosines) // _CLOSEST)
    level = float(np.partition(cosines, -rank)[-rank])
    low, high = seen
    return float(np.clip((level - low) / (high - low), 0.0, 1.0))
