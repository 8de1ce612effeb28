"""The steps of GSTransform's label construction (arXiv 2505.24754, section 3.2), and their cost.

Categories are found by summarising the texts, clustering the summaries, naming each cluster and
merging the names; then each text is given one of them, or none.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from itertools import groupby
from typing import TypeAlias, TypeVar

import numpy as np

from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides.base import Embed, embed_all
from instruct_embeddings.guides.chat import Answer, ChatClient, Cost, Prompt, estimate
from instruct_embeddings.guides.llm.categories import Categories, LabellingReport
from instruct_embeddings.guides.llm.prompts import (
    LABEL,
    MERGE,
    NAME,
    SUMMARISE,
    Step,
    ask,
    category_line,
    declined,
    read_choices,
    read_merged,
    read_names,
    read_summaries,
)
from instruct_embeddings.transform.vectors import nearest_centre, spherical_k_means, unit_rows

T = TypeVar("T")

# Examples of usual length, for an estimate.
_SUMMARY = "a summary of about twelve words, as the model is asked for it"
_CATEGORY = "name of the category: one sentence on what belongs to this category and what does not"
_CATEGORIES = 15

_MIN_SUMMARIES = 4
_MOST_CLUSTERS = 30
# Members that represent a cluster: nearest to its centre, and drawn from the rest.
_NEAREST = 6
_OTHERS = 4
# A model that fails on more batches than these will fail on single texts too.
_MOST_FAILED = 0.25
_MOST_FAILED_BATCHES = 2


class Unlabelled(Enum):
    """Why a text has no category."""

    NONE = "none of the categories"
    REFUSED = "the model refused it"
    UNPARSABLE = "the reply could not be read"


Verdict: TypeAlias = str | Unlabelled
"""The name of a category, or why there is none."""


@dataclass
class Labelling:
    """What is known of texts under one instruction; each method asks only for the rest."""

    instruction: str
    categories: Categories | None
    embed: Embed
    new_client: Callable[..., ChatClient]  # each labelling has caps of its own
    per_call: int  # texts in one call
    seed: int  # of the marks around texts, of clusters and of the choice of their members
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    clients: list[ChatClient] = field(default_factory=list)

    def estimate(self, texts: Sequence[str], *, labels: bool = True) -> Cost:
        """What it will cost at most, without repair rounds."""
        cost = Cost()
        if self.categories is None:
            clusters = cluster_count(len(texts))
            naming = self._prompt(NAME, [_SUMMARY] * (_NEAREST + _OTHERS))
            merging = self._prompt(MERGE, [_CATEGORY] * (2 * clusters))
            cost += self._cost(SUMMARISE, texts)
            cost += estimate([naming] * clusters, output_tokens=NAME.tokens)
            cost += estimate([merging], output_tokens=MERGE.tokens)
        if labels:
            lines = self.categories.lines() if self.categories else [_CATEGORY] * _CATEGORIES
            cost += self._cost(LABEL, [text for text in texts if text not in self.verdicts], lines)
        return cost

    def find_categories(self, texts: Sequence[str]) -> Categories:
        """The categories by which different texts answer the instruction."""
        if self.categories is None:
            with self._client(self.estimate(texts, labels=False)) as client:
                self.categories = self._found(client, texts)
        return self.categories

    def judge(self, texts: Sequence[str]) -> dict[str, Verdict]:
        """A verdict on each of different texts. Failures are not kept: they are asked again."""
        found = {text: self.verdicts[text] for text in texts if text in self.verdicts}
        unknown = [text for text in texts if text not in found]
        if unknown:
            with self._client(self.estimate(texts)) as client:
                self.categories = self.categories or self._found(client, texts)
                found |= zip(unknown, self._label(client, unknown, self.categories), strict=True)
        failures = (Unlabelled.REFUSED, Unlabelled.UNPARSABLE)
        self.verdicts |= {text: one for text, one in found.items() if one not in failures}
        return found

    def report(self, verdicts: Sequence[Verdict | None]) -> LabellingReport:
        """Counts of the verdicts on the rows of a sample; None for rows that were not read."""
        counts = Counter(verdicts)
        names = self.categories.names if self.categories else ()
        found = {name: counts[name] for name in sorted(names, key=lambda one: -counts[one])}
        return LabellingReport(
            rows=len(verdicts),
            labelled=sum(found.values()),
            none=counts[Unlabelled.NONE],
            refused=counts[Unlabelled.REFUSED],
            unparsable=counts[Unlabelled.UNPARSABLE],
            unread=counts[None],
            calls=sum(client.calls for client in self.clients),
            cached=sum(client.cached for client in self.clients),
            cost=sum((client.budget.spent for client in self.clients), Cost()),
            categories=found,
        )

    @contextmanager
    def _client(self, estimated: Cost) -> Iterator[ChatClient]:
        """A client whose caps have to suffice."""
        client = self.new_client(planned=estimated.calls)
        client.budget.check(estimated)
        self.clients.append(client)
        yield client
        client.finish()

    def _found(self, client: ChatClient, texts: Sequence[str]) -> Categories:
        embed_all(self.embed, [self.instruction])  # fails before the first call, if it does
        groups = _groups(self._summarise(client, texts), self.embed, self.seed)
        found = self._merge(client, self._name(client, groups))
        if len(found) < 2:
            raise GuideError(
                f"The model found {len(found)} categories for {self.instruction!r} "
                f"({list(found)}); at least 2 are needed to tell texts apart. "
                "Ask something in which the texts differ, or pass categories of your own."
            )
        return Categories(self.instruction, tuple(found), found)

    def _label(
        self, client: ChatClient, texts: Sequence[str], categories: Categories
    ) -> list[Verdict]:
        """A verdict for each text, in order.

        Texts of a batch whose reply cannot be used are asked again one by one, so that a single
        text that the model refuses, or that confuses it, costs the verdict of no other.
        """
        names = categories.names
        parser = partial(read_choices, categories=len(names))
        batches = split(texts, self.per_call)
        answers = self._ask(client, LABEL, batches, parser, categories.lines())
        found = [_verdicts(a, len(b), names) for a, b in zip(answers, batches, strict=True)]
        failed = [i for i, a in enumerate(answers) if a.value is None and len(batches[i]) > 1]
        if len(failed) <= max(_MOST_FAILED_BATCHES, _MOST_FAILED * len(batches)):
            single = [[text] for i in failed for text in batches[i]]
            alone = iter(self._ask(client, LABEL, single, parser, categories.lines()))
            for i in failed:
                found[i] = [_verdicts(next(alone), 1, names)[0] for _ in batches[i]]
        return [verdict for verdicts in found for verdict in verdicts]

    def _summarise(self, client: ChatClient, texts: Sequence[str]) -> list[str]:
        answers = self._ask(client, SUMMARISE, split(texts, self.per_call), read_summaries)
        found = [summary for answer in answers for summary in answer.value or [] if summary]
        if len(found) < _MIN_SUMMARIES:
            raise GuideError(
                f"The model says of {len(found)} of {len(texts)} texts what they say about "
                f"{self.instruction!r}; at least {_MIN_SUMMARIES} are needed.{_problem(answers)} "
                "Take a larger sample, ask something that the texts answer, or use another model."
            )
        return found

    def _name(self, client: ChatClient, groups: Sequence[Sequence[str]]) -> dict[str, str]:
        """Descriptions of proposed categories; the same name counts once, whatever its case."""
        asked = [self._prompt(NAME, group) for group in groups]
        answers = client.ask_all(asked, read_names, output_tokens=NAME.tokens)
        found: dict[str, tuple[str, str]] = {}
        for named in (one for answer in answers for one in (answer.value or {}).items()):
            found.setdefault(named[0].casefold(), named)
        if not found:
            raise GuideError(
                f"The model named no category for {self.instruction!r}.{_problem(answers)} Pass "
                "categories of your own, or use another model."
            )
        return dict(found.values())

    def _merge(self, client: ChatClient, proposed: dict[str, str]) -> dict[str, str]:
        """Without a readable answer the proposed categories stay as they are."""
        if len(proposed) < 2:
            return proposed
        asked = self._prompt(MERGE, [category_line(*one) for one in proposed.items()])
        read = read_merged(len(proposed))
        [answer] = client.ask_all([asked], read, output_tokens=MERGE.tokens)
        return answer.value or proposed

    def _ask(
        self,
        client: ChatClient,
        step: Step,
        batches: Sequence[Sequence[str]],
        parser: Callable[[int], Callable[[str], T]],
        categories: Sequence[str] = (),
    ) -> list[Answer[T]]:
        """One answer a batch, in order; replies are parsed for the size of their batch."""
        answers: list[Answer[T]] = []
        for size, group in groupby(batches, key=len):
            asked = [self._prompt(step, batch, categories) for batch in group]
            tokens = size * step.tokens
            answers += client.ask_all(asked, parser(size), output_tokens=tokens)
        return answers

    def _prompt(self, step: Step, texts: Sequence[str], categories: Sequence[str] = ()) -> Prompt:
        return ask(step, self.instruction, texts, self.seed, categories)

    def _cost(self, step: Step, texts: Sequence[str], categories: Sequence[str] = ()) -> Cost:
        asked = [self._prompt(step, batch, categories) for batch in split(texts, self.per_call)]
        return estimate(asked, output_tokens=step.tokens * min(self.per_call, len(texts)))


def split(texts: Sequence[str], size: int) -> list[Sequence[str]]:
    """Texts in batches of a size, in order; the last may be shorter."""
    return [texts[start : start + size] for start in range(0, len(texts), size)]


def cluster_count(rows: int) -> int:
    """Clusters for a number of summaries: the square root, from 2 to 30.

    More than there are categories: one in a cluster with a larger one may be overlooked.
    """
    return max(2, min(_MOST_CLUSTERS, round(math.sqrt(rows))))


def cluster_rows(vectors: FloatArray, count: int, seed: int) -> list[IntArray]:
    """At most `count` groups of rows, shape (n, d), n >= 1, of similar direction.

    Positions of the members of each, nearest to its centre first; no cluster is empty.
    """
    rows = unit_rows(vectors)
    centres = spherical_k_means(rows, count, seed)
    nearest = nearest_centre(rows, centres)
    closeness = (rows @ centres.T).max(axis=1)
    order = np.argsort(-closeness, kind="stable")
    groups = [order[nearest[order] == cluster] for cluster in range(len(centres))]
    return [group for group in groups if len(group)]


def pick_members(members: list[str], *, nearest: int, others: int, seed: int) -> list[str]:
    """The first few different members, and some drawn from the rest, the edge of the cluster."""
    different = list(dict.fromkeys(members))
    rest = different[nearest:]
    drawn = np.random.default_rng(seed).permutation(len(rest))[:others]
    return different[:nearest] + [rest[i] for i in sorted(drawn)]


def _groups(summaries: Sequence[str], embed: Embed, seed: int) -> list[list[str]]:
    """Members that represent each cluster, the largest cluster first."""
    different = list(dict.fromkeys(summaries))
    vectors = dict(zip(different, embed_all(embed, different), strict=True))
    rows = np.stack([vectors[summary] for summary in summaries])
    clusters = cluster_rows(rows, cluster_count(len(rows)), seed)
    return [
        pick_members([summaries[i] for i in cluster], nearest=_NEAREST, others=_OTHERS, seed=seed)
        for cluster in sorted(clusters, key=len, reverse=True)
    ]


def _verdicts(answer: Answer[list[int | None]], count: int, names: Sequence[str]) -> list[Verdict]:
    if answer.value is None:
        refused = answer.refused or declined(answer.raw)
        return [Unlabelled.REFUSED if refused else Unlabelled.UNPARSABLE] * count
    verdicts: dict[int | None, Verdict] = {None: Unlabelled.REFUSED, 0: Unlabelled.NONE}
    verdicts |= enumerate(names, start=1)
    return [verdicts[choice] for choice in answer.value]


def _problem(answers: Sequence[Answer[T]]) -> str:
    """Why the first of the replies that could not be used could not, for a message."""
    problem = next((answer.problem for answer in answers if answer.problem), None)
    return f" A reply could not be used: {problem.rstrip('.')}." if problem else ""
