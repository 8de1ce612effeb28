"""What guides have in common: digests, the embedder of the user, and the choice by instruction."""

import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, TypeAlias

import numpy as np

from instruct_embeddings._printable import safe_message
from instruct_embeddings._reading import shown
from instruct_embeddings._types import FloatArray
from instruct_embeddings.config import normalise_instruction
from instruct_embeddings.errors import GuideError, InstructEmbeddingsError, InstructionError
from instruct_embeddings.protocols import Guide, Rows
from instruct_embeddings.supervision import Supervision
from instruct_embeddings.transform.vectors import has_direction

Embed: TypeAlias = Callable[[Sequence[str]], Any]
"""Embeds n texts, shape (n, d)."""


def digest(parts: object) -> str:
    """Hexadecimal digest of plain data, part of the keys of guides."""
    return sha256(json.dumps(parts).encode()).hexdigest()[:16]


def embed_all(embed: Embed, texts: Sequence[str], dimension: int | None = None) -> FloatArray:
    """Vectors of texts as float32, shape (n, d), where d is `dimension` if that is given.

    Raises:
        GuideError: The embedder failed or returned something else. Its own exception, which may
            show credentials, is quoted without them and is not chained.
    """
    try:
        vectors = np.asarray(embed(texts), dtype=np.float32)
    except InstructEmbeddingsError:
        raise
    except Exception as exc:
        problem = safe_message(exc)
    else:
        shape = (len(texts), vectors.shape[-1] if vectors.ndim and dimension is None else dimension)
        if vectors.shape == shape and has_direction(vectors).all():
            return vectors
        problem = f"it returned shape {vectors.shape}, zeros or numbers that are not finite"
    raise GuideError(
        f"embed() failed on {len(texts)} texts: {problem}. It has to return one vector of "
        f"numbers for each text, other than zero, shape ({len(texts)}, {dimension or 'd'}). Try it "
        "on one text, and pass the function that embeds texts for this collection."
    )


class OfAnyRow:
    """A guide that judges whichever rows are sampled."""

    def ids(self) -> Sequence[str] | None:
        """None: any row may be sampled."""
        return None


class GuideByInstruction(OfAnyRow):
    """Chooses the guide of an instruction.

    A guide such as `MetadataGuide("language")` teaches the same labels under every instruction. A
    retriever that answers several instructions from labels takes one guide for each:

    Instantiate:
        ```python
        guide = GuideByInstruction(
            {
                "What language is it written in?": MetadataGuide("language"),
                "What kind of interface does it have?": MetadataGuide("interface"),
            }
        )
        ```
    """

    def __init__(self, guides: Mapping[str, Guide]) -> None:
        """Keep guides by instruction, whose case, spacing and end marks do not count.

        Raises:
            GuideError: It is no mapping, or an empty one.
            InstructionError: An instruction is empty or too long, or two mean the same.
        """
        if not isinstance(guides, Mapping) or not guides:
            raise GuideError(
                f"GuideByInstruction got no guides: {shown(guides)}. At least one is wanted. Pass "
                "{instruction: guide}."
            )
        self._guides: dict[str, tuple[str, Guide]] = {}
        for text, guide in guides.items():
            other, _ = self._guides.setdefault(normalise_instruction(text), (text, guide))
            if other != text:
                raise InstructionError(
                    f"{other!r} and {text!r} are one instruction: case, spacing and end marks do "
                    "not count. Each has one guide. Keep one of them."
                )

    def __repr__(self) -> str:
        """The known instructions."""
        return f"GuideByInstruction({[text for text, _ in self._guides.values()]})"

    @property
    def key(self) -> str:
        """`by-instruction:<digest>`; transforms are stored under the key of the chosen guide."""
        parts = sorted([form, guide.key] for form, (_, guide) in self._guides.items())
        return f"by-instruction:{digest(parts)}"

    def choose(self, instruction: str) -> Guide:
        """The guide of an instruction.

        Raises:
            GuideError: No guide is given for it; the message lists the known instructions.
        """
        form = normalise_instruction(instruction)
        if form not in self._guides:
            raise GuideError(
                f"No guide is given for the instruction {instruction!r}. Known instructions: "
                f"{[text for text, _ in self._guides.values()]}. Add one, or use one of these."
            )
        return self._guides[form][1]

    def judge(self, instruction: str, sample: Rows) -> Supervision:
        """Supervision from the chosen guide."""
        return self.choose(instruction).judge(instruction, sample)


def chosen_guide(guide: Guide, instruction: str) -> Guide:
    """The guide given, or the one that a `GuideByInstruction` chooses."""
    return guide.choose(instruction) if isinstance(guide, GuideByInstruction) else guide
