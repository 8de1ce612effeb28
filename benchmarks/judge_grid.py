"""How the constants of relevance feedback were chosen: a few values each, on half of the sets.

Every other set is one to choose on; the others are shown apart. The first table trusts every judge
fully, so that each value shows its gain and its harm; the second learns trust from the judge's
answers in order, as the product does. Rankings are by numpy over all stored vectors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.judge_contestants import Case, Measured
from benchmarks.judge_judges import GUESS, NOISES, noisy
from benchmarks.retrieval_metrics import NDCG_AT, RECALL_AT
from instruct_embeddings._types import BoolArray, FloatArray
from instruct_embeddings.feedback.regression import PENALTY, learnable, relevance_direction
from instruct_embeddings.retrieval import feedback
from instruct_embeddings.retrieval.judged_search import MIX, STRENGTH

PENALTIES, STRENGTHS, MIXES = (0.3, 1.0, 3.0), (0.5, 1.0, 2.0), (0.1, 0.3, 1.0)
JUDGES = (*map(noisy, NOISES), GUESS)
QUERIES = 75
_FORGET = feedback._FORGET
_OUT = -9.0  # behind all that is found


@dataclass(frozen=True)
class Trust:
    """How trust is learned: what is believed at first, and which skill is none and which enough.

    Attributes:
        questions: The first belief counts as so many questions.
        skill: Of the first belief.
        none: Mean skill at which nothing is listened to.
        full: Mean skill at which all is; `None` trusts always.
        power: The verdicts in the final order count by so high a power of the trust.
    """

    questions: float
    skill: float
    none: float
    full: float | None
    power: int = 1

    def name(self) -> str:
        """As it is shown."""
        if self.full is None:
            return "always trusted"
        scaled = "" if self.power == 1 else f", MIX by its power of {self.power}"
        return (
            f"{self.questions:g} questions of {self.skill:g}, {self.none:g} to {self.full:g}"
            f"{scaled}"
        )


PRODUCT = Trust(
    feedback._PRIOR_QUESTIONS,
    feedback._PRIOR_SKILL,
    feedback._NO_SKILL,
    feedback._FULL_SKILL,
)
TRUSTS = (
    PRODUCT,
    Trust(0, 0, 0, None),
    Trust(5, 0.4, 0.03, 0.12),
    Trust(5, 0.4, 0.03, 0.4),
    Trust(2, 0.4, 0.03, 0.12),
    Trust(2, 0.4, 0.03, 0.25),
    Trust(2, 0.2, 0.03, 0.4),
    Trust(1, 0.2, 0.03, 0.4),
    Trust(2, 0.4, 0.03, 0.4, power=2),
)


@dataclass
class Learned:
    """What is learned from one verdict, for the penalties that are tried.

    Attributes:
        along: Documents' shares in the direction, by penalty, each of shape (documents,).
        squared: Squared length of each direction.
        forward: Share of the query in each direction.
        skill: See `learnable`.
    """

    along: dict[float, FloatArray]
    squared: dict[float, float]
    forward: dict[float, float]
    skill: float | None


def grid_of(measured: Measured) -> dict[str, dict[str, list[float]]]:
    """Means of one set: by setting and judge nDCG@10 and recall@100."""
    cases, vectors = measured.cases[:QUERIES], measured.own.vectors
    settings = list(product(PENALTIES, STRENGTHS, MIXES))
    names = [_named(*setting) for setting in settings] + [trust.name() for trust in TRUSTS]
    found: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    for judge in JUDGES:
        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
        weighed = [(trust.questions * trust.skill, float(trust.questions)) for trust in TRUSTS]
        for case in cases:
            start = vectors @ case.start
            learned = _learn(case, vectors, case.verdicts[judge])
            for penalty, strength, mix in settings:
                scores = _moved(case, start, learned, judge, penalty, strength, mix)
                figures[_named(penalty, strength, mix)].append(_figures(scores, case.relevant))
            for place, trust in enumerate(TRUSTS):
                weighed[place], believed = _believe(trust, weighed[place], learned.skill)
                mix = MIX * believed**trust.power
                scores = _moved(case, start, learned, judge, PENALTY, STRENGTH * believed, mix)
                figures[trust.name()].append(_figures(scores, case.relevant))
        for name in names:
            found[name][judge] = np.mean(figures[name], axis=0).tolist()
    return found


def summarise(
    by_set: Sequence[Mapping[str, Mapping[str, Sequence[float]]]],
) -> list[dict[str, Any]]:
    """Means over every other set, and over the others: `chosen on` and `apart`."""
    if not by_set:
        return []
    return [
        {
            "setting": name,
            **{
                half: {
                    judge: [
                        round(float(value), 4)
                        for value in np.mean([one[name][judge] for one in sets], axis=0)
                    ]
                    for judge in JUDGES
                }
                for half, sets in (("chosen on", by_set[::2]), ("apart", by_set[1::2]))
                if sets
            },
        }
        for name in by_set[0]
    ]


def is_product(setting: str) -> bool:
    """Whether it is what the package does."""
    return setting in (_named(PENALTY, STRENGTH, MIX), PRODUCT.name())


def _named(penalty: float, strength: float, mix: float) -> str:
    return f"{penalty:g} / {strength:g} / {mix:g}"


def _learn(case: Case, vectors: FloatArray, relevance: FloatArray) -> Learned:
    documents = vectors[case.rows]
    learned = Learned({}, {}, {}, learnable(case.start, documents, relevance))
    for penalty in PENALTIES:
        direction = relevance_direction(documents, relevance, penalty)
        learned.along[penalty] = vectors @ direction
        learned.squared[penalty] = float(direction @ direction)
        learned.forward[penalty] = float(direction @ case.start)
    return learned


def _moved(
    case: Case,
    start: FloatArray,
    learned: Learned,
    judge: str,
    penalty: float,
    strength: float,
    mix: float,
) -> FloatArray:
    """Final scores of all documents, shape (documents,)."""
    length = np.sqrt(
        1 + 2 * strength * learned.forward[penalty] + strength**2 * learned.squared[penalty]
    )
    scores = (start + np.float32(strength) * learned.along[penalty]) / np.float32(length)
    scores[case.rows] += np.float32(mix) * (case.verdicts[judge] - np.float32(0.5))
    scores[case.hidden] = _OUT
    return np.asarray(scores)


def _believe(
    trust: Trust, weighed: tuple[float, float], skill: float | None
) -> tuple[tuple[float, float], float]:
    """What is known of a judge after one more question, and the trust in it."""
    if trust.full is None:
        return weighed, 1.0
    if skill is not None:
        weighed = weighed[0] * _FORGET + skill, weighed[1] * _FORGET + 1
    mean = weighed[0] / weighed[1]
    return weighed, float(np.clip((mean - trust.none) / (trust.full - trust.none), 0.0, 1.0))


_DISCOUNTS: NDArray[np.float64] = 1 / np.log2(np.arange(NDCG_AT) + 2)


def _figures(scores: FloatArray, relevant: BoolArray) -> tuple[float, float]:
    best = np.argpartition(-scores, RECALL_AT)[:RECALL_AT]
    best = best[np.argsort(-scores[best], kind="stable")]
    hits, count = relevant[best], int(relevant.sum())
    ideal = _DISCOUNTS[:count].sum()
    return float(hits[:NDCG_AT] @ _DISCOUNTS / ideal), float(hits.sum() / min(count, RECALL_AT))
