"""What is held out to measure: decided by hashes, whatever the order of the files' lines."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from instruct_embeddings.training.data.examples import Example


@dataclass(frozen=True)
class ValidationTask:
    """Examples that are never trained on.

    Attributes:
        name: Set and aspect, "nlupp/domain", or the set alone where rows bring instructions.
        kind: "set": the whole set is held out; "instruction": the set is trained on, but never
            under these instructions (and, where rows have labels, never on these texts).
        examples: At most as many as asked for. Answers of one `group` can be compared.
    """

    name: str
    kind: Literal["set", "instruction"]
    examples: tuple[Example, ...]


def stable_hash(seed: int, text: str) -> int:
    """64 bits, signed: the same on every machine and in every run."""
    return int.from_bytes(sha256(f"{seed}\n{text}".encode()).digest()[:8], "big", signed=True)


def held_out_count(total: int, fraction: float) -> int:
    """How many of `total` instructions are held out; one at least is kept."""
    return max(0, min(round(fraction * total), total - 1))


def held_out_wordings(
    wordings: Mapping[str, tuple[str, ...]], fraction: float, *, seed: int
) -> dict[str, tuple[str, ...]]:
    """Choose wordings that are never trained on.

    Args:
        wordings: By aspect.
        fraction: Of all wordings together, so that aspects of few wordings have their turn too.
        seed: Seed of the choice.

    Returns:
        The held-out wordings of each aspect that has some. An aspect keeps at least one, and a
        wording is held out in all aspects that have it, or in none.
    """
    texts = sorted({text for texts in wordings.values() for text in texts})
    wanted = held_out_count(len(texts), fraction)
    kept = {name: len(texts) for name, texts in wordings.items()}
    held: set[str] = set()
    for text in sorted(texts, key=lambda text: stable_hash(seed, text)):
        owners = [name for name, texts in wordings.items() if text in texts]
        if len(held) < wanted and all(kept[name] > 1 for name in owners):
            held.add(text)
            for name in owners:
                kept[name] -= 1
    chosen = {name: tuple(t for t in texts if t in held) for name, texts in wordings.items()}
    return {name: texts for name, texts in chosen.items() if texts}
