"""Checks of what callers pass in."""

from collections.abc import Sequence

from instruct_embeddings.config import check_instruction


def check_texts(texts: Sequence[str]) -> list[str]:
    """A list of strings.

    Raises:
        TypeError: It is a bare string, or holds something else than strings.
    """
    if isinstance(texts, (str, bytes)):
        raise TypeError(
            f"encode() takes a list of texts, got a bare {type(texts).__name__}; wrap it: [text]."
        )
    found = list(texts)
    for position, text in enumerate(found):
        if not isinstance(text, str):
            raise TypeError(
                f"Text {position} is of type {type(text).__name__}, not str. Convert it first."
            )
    return found


def check_instructions(instructions: Sequence[str | None]) -> list[str | None]:
    """A list of sentences, None among them for generic embeddings.

    Raises:
        TypeError: It is a bare string.
        InstructionError: One is empty or too long.
    """
    if isinstance(instructions, str):
        raise TypeError(
            "encode_grid() takes a list of instructions, got a bare str; wrap it: [instruction]."
        )
    return [None if one is None else check_instruction(one) for one in instructions]
