"""Which embeddings belong together: fingerprints for caches, records for collections."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instruct_embeddings._printable import printed
from instruct_embeddings.errors import CollectionMismatchError

_KEY = "instruct_embeddings:"
_BLOCK = 1 << 16
_BLOCKS = 64


@dataclass(frozen=True)
class EmbeddingRecord:
    """What a collection remembers of the embeddings that fill it.

    Attributes:
        model: Name of the model.
        instruction: Instruction under which documents were embedded; None for generic embeddings.
        dimension: Their length.
        fingerprint: Equal where embeddings can be compared: the same model, adapter, instruction
            and shape. The type of the arithmetic and the device do not count.
    """

    model: str
    instruction: str | None
    dimension: int
    fingerprint: str

    def to_metadata(self) -> dict[str, str | int]:
        """Plain values, as collections hold them."""
        return {
            f"{_KEY}model": self.model,
            f"{_KEY}instruction": self.instruction or "",
            f"{_KEY}dimension": self.dimension,
            f"{_KEY}fingerprint": self.fingerprint,
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any] | None) -> "EmbeddingRecord | None":
        """The reverse of `to_metadata`; None where nothing was recorded."""
        found = {
            key.removeprefix(_KEY): value
            for key, value in (metadata or {}).items()
            if key.startswith(_KEY)
        }
        # A newer version may record more.
        if not {"model", "instruction", "dimension", "fingerprint"} <= set(found):
            return None
        return cls(
            str(found["model"]),
            str(found["instruction"]) or None,
            int(found["dimension"]),
            str(found["fingerprint"]),
        )

    def check(self, other: "EmbeddingRecord", collection: str) -> None:
        """Refuse to mix embeddings.

        Args:
            other: Of the encoder at hand; `self` is what the collection recorded.
            collection: Name of the collection, for the message.

        Raises:
            CollectionMismatchError: They cannot be compared; the message names both.
        """
        if self.fingerprint == other.fingerprint and self.dimension == other.dimension:
            return
        raise CollectionMismatchError(
            f"The collection {collection!r} was filled with {self}, and the encoder at hand is "
            f"{other}. Their vectors cannot be compared. Open it with the model and instruction "
            "that filled it, or fill another collection."
        )

    @printed
    def __str__(self) -> str:
        """Model, instruction and dimension in words; a piece of the fingerprint tells versions."""
        under = "no instruction" if self.instruction is None else f"{self.instruction!r}"
        return f"{self.model!r} under {under} ({self.dimension} dimensions, {self.fingerprint[:8]})"


def digest(content: Any) -> str:
    """A stable string of 32 characters for plain data."""
    written = json.dumps(content, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(written.encode()).hexdigest()[:32]


def folder_digest(path: Path) -> str:
    """A stable string for the files of a model, wherever the folder lies.

    JSON and text count as a whole; of large weights the header and evenly spaced blocks, which any
    training changes.
    """
    files = sorted(
        file
        for file in path.rglob("*")
        if file.suffix in (".json", ".safetensors", ".txt", ".model") and file.is_file()
    )
    return digest([[file.relative_to(path).as_posix(), _sampled(file)] for file in files])


def _sampled(file: Path) -> str:
    size = file.stat().st_size
    total = hashlib.sha256(str(size).encode())
    with file.open("rb") as stream:
        if size <= _BLOCK * _BLOCKS:
            total.update(stream.read())
        else:
            for block in range(_BLOCKS):
                stream.seek(block * (size - _BLOCK) // (_BLOCKS - 1))
                total.update(stream.read(_BLOCK))
    return total.hexdigest()
