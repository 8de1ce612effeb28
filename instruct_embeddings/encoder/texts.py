"""What a call asks for, and the warning about texts that were truncated."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from instruct_embeddings._warnings import warn
from instruct_embeddings.errors import TextError, TruncationWarning

# (number of truncated texts, tokens that are left for a text)
TruncatedTexts = tuple[int, int]
_collected: ContextVar[list[TruncatedTexts] | None] = ContextVar("collected", default=None)


@dataclass(frozen=True)
class Request:
    """What to embed and how, checked.

    Attributes:
        texts: n texts.
        instruction: None for generic embeddings.
        refine_steps: Soft tokens to generate.
        every_step: Keep the embedding after each step, not the last alone.
    """

    texts: Sequence[str]
    instruction: str | None
    refine_steps: int = 0
    every_step: bool = False


def check_surrogates(position: int, text: str) -> None:
    """Refuse what no tokenizer reads, of a text beyond ASCII."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise TextError(
            f"Text {position} holds the lone surrogate U+{ord(text[exc.start]):04X} at character "
            f"{exc.start}, which cannot be written as UTF-8 and which no tokenizer reads. "
            "Repair it where it is read, or replace it: "
            'text.encode("utf-8", "replace").decode("utf-8").'
        ) from exc


@contextmanager
def collect_truncations() -> Iterator[list[TruncatedTexts]]:
    """Collect instead of warning, for calls that are part of another one."""
    found: list[TruncatedTexts] = []
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


@contextmanager
def one_warning(total: int, *, known: bool = False) -> Iterator[list[TruncatedTexts]]:
    """Several calls over the same `total` texts warn once of those that were truncated.

    With `known` they do not, as that was said before.
    """
    with collect_truncations() as found:
        yield found
    if found and not known:
        warn_of_truncation(max(found)[0], total, max(found)[1])


def warn_of_truncation(truncated: int, total: int, room: int) -> None:
    """Warn once in a call that texts were truncated to `room` tokens."""
    if not truncated:
        return
    found = _collected.get()
    if found is not None:
        found.append((truncated, room))
        return
    warn(
        f"{truncated:,} of {total:,} texts are longer than the {room:,} tokens that are left for a "
        "text beside instruction and special tokens; their ends were not embedded. Split them, or "
        "raise max_tokens where the model allows it.",
        TruncationWarning,
    )


@contextmanager
def progress(
    total: int, show: bool, on_batch: Callable[[int], None] | None
) -> Iterator[Callable[[int], None]]:
    """Something to call with the number of texts that were done.

    Args:
        total: Number of texts.
        show: Draw a bar on stderr. Never for a single text.
        on_batch: Called in addition.
    """
    if not show or total < 2:
        yield on_batch or (lambda done: None)
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    # Redirection would send what the program prints meanwhile to stderr.
    with Progress(
        console=console, transient=True, redirect_stdout=False, redirect_stderr=False
    ) as bar:
        task = bar.add_task("Embedding", total=total)

        def report(done: int) -> None:
            bar.advance(task, done)
            if on_batch is not None:
                on_batch(done)

        yield report
