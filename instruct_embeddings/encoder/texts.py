"""Checks of what callers pass in, and the warning about texts that were cut."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from instruct_embeddings._warnings import warn
from instruct_embeddings.config import check_instruction
from instruct_embeddings.errors import TextError, TruncationWarning

# (texts that were cut, tokens left for a text)
Cut = tuple[int, int]
_collected: ContextVar[list[Cut] | None] = ContextVar("collected", default=None)


def check_texts(texts: Sequence[str]) -> list[str]:
    """A list of strings.

    Raises:
        TypeError: It is a bare string, or holds something else than strings.
        TextError: A text holds a lone surrogate.
    """
    if isinstance(texts, (str, bytes)):
        raise TypeError(
            f"encode() takes a list of texts, got a bare {type(texts).__name__}; wrap it: [text]."
        )
    try:
        items = iter(texts)
    except TypeError as exc:
        raise TypeError(
            f"encode() takes a list of texts, got a value of type {type(texts).__name__}. "
            "Pass a list of str."
        ) from exc
    found = list(items)
    for position, text in enumerate(found):
        if not isinstance(text, str):
            raise TypeError(
                f"Text {position} is of type {type(text).__name__}, not str. Convert it first."
            )
        check_surrogates(position, text)
    return found


def check_sentence(instruction: str | None) -> str | None:
    """An instruction without surrounding white space; None for generic embeddings.

    Raises:
        InstructionError: It is empty, too long, not a string, or holds half of a surrogate pair.
    """
    return None if instruction is None else check_instruction(instruction)


def check_instructions(instructions: Sequence[str | None]) -> list[str | None]:
    """A list of sentences, None among them for generic embeddings.

    Raises:
        TypeError: It is a bare string.
        InstructionError: One is empty, too long, not a string, or holds half of a surrogate pair.
    """
    if isinstance(instructions, (str, bytes)):
        raise TypeError(
            "encode_grid() takes a list of instructions, got a bare "
            f"{type(instructions).__name__}; wrap it: [instruction]."
        )
    return [check_sentence(one) for one in instructions]


def check_surrogates(position: int, text: str) -> None:
    """Refuse what no tokenizer reads.

    Args:
        position: Of the text among those of a call, for the message.
        text: The text.

    Raises:
        TextError: The text holds a lone surrogate.
    """
    if text.isascii():
        return
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
def collected_cuts() -> Iterator[list[Cut]]:
    """Keeps back the warnings of a call that is part of another, which then warns once."""
    cuts: list[Cut] = []
    token = _collected.set(cuts)
    try:
        yield cuts
    finally:
        _collected.reset(token)


@contextmanager
def one_warning(total: int) -> Iterator[None]:
    """Several calls over the same texts warn once of those that were cut.

    Args:
        total: Number of texts.
    """
    with collected_cuts() as cuts:
        yield
    if cuts:
        cut, room = max(cuts)
        warn_of_cut_texts(cut, total, room)


def warn_of_cut_texts(cut: int, total: int, room: int) -> None:
    """Say once in a call that texts were cut.

    Args:
        cut: Number of texts whose ends were not read.
        total: Number of texts.
        room: Tokens left for a text.
    """
    if not cut:
        return
    cuts = _collected.get()
    if cuts is not None:
        cuts.append((cut, room))
        return
    warn(
        f"{cut:,} of {total:,} texts are longer than the {room:,} tokens that are left for a text "
        "beside instruction and special tokens; their ends were not embedded. Split them, or raise "
        "max_tokens where the model allows it.",
        TruncationWarning,
    )


def one_text(text: str) -> list[str]:
    """A query as an encoder takes it.

    Raises:
        TypeError: It is not a string.
    """
    if not isinstance(text, str):
        raise TypeError(
            f"A query is one text, got {type(text).__name__}. Pass a str, and lists of texts to "
            "the methods for documents."
        )
    return [text]
