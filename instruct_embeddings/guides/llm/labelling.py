"""One category, "none", or no verdict for each text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import TypeAlias

from instruct_embeddings.guides.asking import Answer, Prompt
from instruct_embeddings.guides.llm import prompts
from instruct_embeddings.guides.llm.categories import Categories
from instruct_embeddings.guides.llm.parsing import declined, read_choices
from instruct_embeddings.guides.llm.run import Run, split

CHOICE_TOKENS = 6
# A model that fails on more batches than these fails for reasons that smaller ones do not mend.
_SPLIT_SHARE = 0.25
_SPLIT_AT_LEAST = 2


class Unlabelled(Enum):
    """Why a text has no category."""

    NONE = "none of the categories"
    REFUSED = "the model refused it"
    UNPARSABLE = "the reply could not be read"


Verdict: TypeAlias = str | Unlabelled
"""The name of a category, or why there is none."""


def label_texts(
    run: Run,
    categories: Categories,
    instruction: str,
    texts: Sequence[str],
    *,
    per_call: int,
    seed: int,
) -> list[Verdict]:
    """A verdict for each text, in order.

    Texts of a batch whose reply cannot be used are asked again one by one, so that a single text
    that the model refuses, or that confuses it, costs the verdict of no other.

    Args:
        run: Asks the model.
        categories: The categories to choose from.
        instruction: The instruction.
        texts: Texts as they are shown to the model.
        per_call: Texts in one call.
        seed: Seed of the keys.
    """
    step = _Step(
        run,
        partial(prompts.label, instruction, categories.lines(), seed=seed),
        partial(read_choices, categories=len(categories.names)),
        categories.names,
    )
    batches = split(texts, per_call)
    answers = step.ask(batches)
    found = [step.verdicts(a, len(b)) for a, b in zip(answers, batches, strict=True)]
    failed = [i for i, answer in enumerate(answers) if answer.value is None and len(batches[i]) > 1]
    if len(failed) <= max(_SPLIT_AT_LEAST, _SPLIT_SHARE * len(batches)):
        alone = iter(step.ask([[text] for i in failed for text in batches[i]]))
        for i in failed:
            found[i] = [step.verdicts(next(alone), 1)[0] for _ in batches[i]]
    return [verdict for verdicts in found for verdict in verdicts]


@dataclass(frozen=True)
class _Step:
    run: Run
    prompt: Callable[[Sequence[str]], Prompt]
    parser: Callable[[int], Callable[[str], list[int | None]]]
    names: Sequence[str]

    def ask(self, batches: Sequence[Sequence[str]]) -> list[Answer[list[int | None]]]:
        return self.run.ask_batches(batches, self.prompt, self.parser, CHOICE_TOKENS)

    def verdicts(self, answer: Answer[list[int | None]], count: int) -> list[Verdict]:
        if answer.value is None:
            refused = answer.refused or declined(answer.raw)
            return [Unlabelled.REFUSED if refused else Unlabelled.UNPARSABLE] * count
        return [self._verdict(choice) for choice in answer.value]

    def _verdict(self, choice: int | None) -> Verdict:
        if choice is None:
            return Unlabelled.REFUSED
        return self.names[choice - 1] if choice else Unlabelled.NONE
