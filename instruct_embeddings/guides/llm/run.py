"""One run over several steps: batches of different sizes, one count of calls, one progress."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from instruct_embeddings.guides.asking import Answer, Asker, Cost, Prompt

T = TypeVar("T")
OnProgress = Callable[[int, int], None]


class Progress:
    """Progress over several steps of which only some sizes are known beforehand."""

    def __init__(self, planned: int, report: OnProgress | None) -> None:
        """Plan a number of questions; where steps turn out larger, the plan grows with them."""
        self._planned = planned
        self._report = report
        self._before = 0
        self._step = 0

    def begin(self, questions: int) -> None:
        """The next step, with its size."""
        self._before += self._step
        self._step = questions
        self._planned = max(self._planned, self._before + questions)

    def update(self, done: int, total: int) -> None:
        """Questions of this step that are answered."""
        del total
        if self._report is not None:
            self._report(self._before + done, self._planned)

    def finish(self) -> None:
        """Nothing more comes, even where more was planned."""
        if self._report is not None:
            self._report(self._before + self._step, self._before + self._step)


class Run:
    """Asks in steps and counts.

    Attributes:
        calls: Calls made.
        cached: Questions that were answered from the cache.
    """

    def __init__(self, asker: Asker, progress: Progress) -> None:
        """Ask through an asker that reports to this progress."""
        self._asker = asker
        self._progress = progress
        self.calls = 0
        self.cached = 0

    @property
    def cost(self) -> Cost:
        """What was sent and received, in estimated tokens."""
        return self._asker.spent

    def ask(
        self, prompts: Sequence[Prompt], parse: Callable[[str], T], output_tokens: int
    ) -> list[Answer[T]]:
        """One answer a prompt, in order; see `Asker.ask_all`."""
        if not prompts:
            return []
        self._progress.begin(len(prompts))
        answers = self._asker.ask_all(prompts, parse, output_tokens=output_tokens)
        self.calls += sum(answer.calls for answer in answers)
        self.cached += sum(answer.cached for answer in answers)
        return answers

    def ask_batches(
        self,
        batches: Sequence[Sequence[str]],
        prompt: Callable[[Sequence[str]], Prompt],
        parser: Callable[[int], Callable[[str], T]],
        tokens_per_text: int,
    ) -> list[Answer[T]]:
        """One answer a batch, in order.

        Args:
            batches: Texts; all batches of one size but the last, which may be shorter.
            prompt: Makes the prompt of a batch.
            parser: Makes the parser of replies for a number of texts.
            tokens_per_text: Expected length of the reply for one text.
        """
        answers: list[Answer[T]] = []
        for part in _of_one_size(batches):
            size = len(part[0])
            prompts = [prompt(batch) for batch in part]
            answers += self.ask(prompts, parser(size), size * tokens_per_text)
        return answers


def split(texts: Sequence[str], size: int) -> list[Sequence[str]]:
    """Texts in batches of a size, in order; the last may be shorter."""
    return [texts[start : start + size] for start in range(0, len(texts), size)]


def _of_one_size(batches: Sequence[Sequence[str]]) -> list[Sequence[Sequence[str]]]:
    if not batches or len(batches[-1]) == len(batches[0]):
        return [batches] if batches else []
    return [batches[:-1], batches[-1:]]
