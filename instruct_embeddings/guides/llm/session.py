"""What a guide knows under one instruction, and how it finds out the rest."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from instruct_embeddings.guides._common import Embed
from instruct_embeddings.guides.asking import Asker, Cost
from instruct_embeddings.guides.asking.budget import Budget
from instruct_embeddings.guides.llm.categories import Categories
from instruct_embeddings.guides.llm.construct import find_categories
from instruct_embeddings.guides.llm.estimating import estimate_labels, estimate_search
from instruct_embeddings.guides.llm.labelling import Unlabelled, Verdict, label_texts
from instruct_embeddings.guides.llm.report import LabellingReport
from instruct_embeddings.guides.llm.run import OnProgress, Progress, Run


@dataclass(frozen=True)
class Means:
    """What a guide works with, the same under all instructions.

    Attributes:
        asker: Makes the asker of one run; takes `on_progress`.
        caps: What one run may cost; nothing is spent of it.
        embed: Embeds summaries.
        sample: Most texts to read; None for all.
        per_call: Texts in one call.
        seed: Seed of every choice.
        on_progress: Called with the questions answered and planned.
    """

    asker: Callable[..., Asker]
    caps: Budget
    embed: Embed
    sample: int | None
    per_call: int
    seed: int
    on_progress: OnProgress | None


@dataclass
class Session:
    """The work under one instruction. Each method asks only for what is not known yet.

    Attributes:
        means: What the guide works with.
        instruction: The instruction.
        categories: Given or found; None before they are found.
        calls: Calls made so far.
        cached: Questions answered from the cache so far.
        cost: What was sent and received so far.
    """

    means: Means
    instruction: str
    categories: Categories | None
    calls: int = 0
    cached: int = 0
    cost: Cost = field(default_factory=Cost)
    _verdicts: dict[str, Verdict] = field(default_factory=dict)

    def choose(self, texts: Sequence[str]) -> list[str]:
        """Different texts to read, in the order given, as many as the guide may read.

        Those that are judged already come first, since they cost nothing: a larger sample around
        the same texts is not paid for again.
        """
        different = [text for text in dict.fromkeys(texts) if text]
        drawn = np.random.default_rng(self.means.seed).permutation(len(different)).tolist()
        drawn.sort(key=lambda position: different[position] not in self._verdicts)
        return [different[position] for position in sorted(drawn[: self.means.sample])]

    def estimate(self, texts: Sequence[str], *, labels: bool = True) -> Cost:
        """What chosen texts will cost at most, without repair rounds."""
        per_call, cost = self.means.per_call, Cost()
        if self.categories is None:
            cost += estimate_search(self.instruction, texts, per_call)
        if labels:
            unknown = self._unknown(texts)
            cost += estimate_labels(self.instruction, unknown, per_call, self.categories)
        return cost

    def find_categories(self, texts: Sequence[str]) -> Categories:
        """The categories, found in chosen texts where there are none yet.

        Raises:
            GuideError: A cap does not suffice, or there is too little to tell apart.
        """
        if self.categories is not None:
            return self.categories
        with self._run(self.estimate(texts, labels=False)) as run:
            return self._find(run, texts)

    def judge(self, texts: Sequence[str]) -> dict[str, Verdict]:
        """A verdict on each of the chosen texts. Failures are not kept: they are asked again.

        Raises:
            GuideError: A cap does not suffice, or there is too little to tell apart.
        """
        unknown = self._unknown(texts)
        if not unknown:
            return {text: self._verdicts[text] for text in texts}
        with self._run(self.estimate(texts)) as run:
            found = label_texts(
                run,
                self.categories or self._find(run, texts),
                self.instruction,
                unknown,
                per_call=self.means.per_call,
                seed=self.means.seed,
            )
        fresh = dict(zip(unknown, found, strict=True))
        for text, verdict in fresh.items():
            if verdict not in (Unlabelled.REFUSED, Unlabelled.UNPARSABLE):
                self._verdicts[text] = verdict
        return {text: self._verdicts.get(text) or fresh[text] for text in texts}

    def report(self, verdicts: Sequence[Verdict | None]) -> LabellingReport:
        """Counts of the verdicts on the rows of a sample; None for rows that were not read."""
        counts = Counter(verdicts)
        names = self.categories.names if self.categories else ()
        found = sorted(((name, counts[name]) for name in names), key=lambda one: -one[1])
        return LabellingReport(
            rows=len(verdicts),
            labelled=sum(count for _, count in found),
            none=counts[Unlabelled.NONE],
            refused=counts[Unlabelled.REFUSED],
            unparsable=counts[Unlabelled.UNPARSABLE],
            unread=counts[None],
            calls=self.calls,
            cached=self.cached,
            cost=self.cost,
            categories=dict(found),
        )

    def _unknown(self, texts: Sequence[str]) -> list[str]:
        return [text for text in texts if text not in self._verdicts]

    def _find(self, run: Run, texts: Sequence[str]) -> Categories:
        means = self.means
        self.categories = find_categories(
            run,
            self.instruction,
            texts,
            embed=means.embed,
            per_call=means.per_call,
            seed=means.seed,
        )
        return self.categories

    @contextmanager
    def _run(self, estimated: Cost) -> Iterator[Run]:
        """A run that may cost what was estimated; what it did cost is counted however it ends."""
        self.means.caps.check(estimated)
        progress = Progress(estimated.calls, self.means.on_progress)
        run = Run(self.means.asker(on_progress=progress.update), progress)
        try:
            yield run
            progress.finish()
        finally:
            self.calls += run.calls
            self.cached += run.cached
            self.cost += run.cost
