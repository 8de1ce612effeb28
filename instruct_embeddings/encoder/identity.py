"""Who an encoder is: keys of the registry, of caches, of collections."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instruct_embeddings.encoder.fingerprint import EmbeddingRecord, digest
from instruct_embeddings.encoder.hub import Location, still_there
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.shapes import Shapes
from instruct_embeddings.encoder.source import ModelSource


@dataclass(frozen=True)
class Identity:
    """A model and the options under which it runs.

    Generic embeddings are those of the backbone: there a checkpoint, its adapter and refinement do
    not count.
    """

    source: ModelSource
    options: EncoderOptions

    @property
    def _shapes(self) -> Shapes:
        return Shapes(self.source, self.options)

    def key(self) -> tuple[Any, ...]:
        """Equal where the same weights serve in memory."""
        from instruct_embeddings.encoder.loading import choose_device

        options = self.options
        places = (self.source.model, self.source.base, self.source.adapter)
        return (
            *(None if place is None else _stamp(place.path) for place in places),
            choose_device(options.device),
            options.dtype,
            options.attn_implementation,
            options.template,
            options.compile,
            options.trust_remote_code,
        )

    def record(self, instruction: str | None) -> EmbeddingRecord:
        """What a collection remembers."""
        name = self._name(instruction)
        return EmbeddingRecord(
            name,
            instruction,
            self._dimension(instruction),
            digest([self._space(instruction), instruction]),
        )

    def fingerprint(self, instruction: str | None, role: str) -> str:
        """A namespace for caches."""
        details = {"role": role, "dtype": self.options.dtype, "tokens": self.options.max_tokens}
        return digest([self._space(instruction), instruction, details])

    def _space(self, instruction: str | None) -> dict[str, Any]:
        options = self.options
        space = {
            "model": self._of(self.source.base, self._base_revision()),
            "dimension": self._dimension(instruction),
            "normalize": options.normalize and self.source.settings.normalize,
            "precision": options.precision,
            "truncate_layers": options.truncate_layers,
        }
        if instruction is None:
            return space
        checkpoint = self._of(self.source.model, options.revision)
        adapter = None if self.source.adapter is None else self.source.adapter.digest
        return space | {
            "checkpoint": checkpoint,
            "adapter": adapter,
            "refine_steps": self._shapes.steps(None),
            "template": options.template,
        }

    def _base_revision(self) -> str | None:
        """A backbone inside a checkpoint is as old as the checkpoint."""
        settings = self.source.settings
        return self.options.revision if settings.backbone else settings.base_revision

    def _of(self, location: Location, revision: str | None) -> list[str]:
        """Name and revision on the hub, or the content of a folder."""
        if location.on_hub:
            return [location.name, revision or "main"]
        return [location.digest]

    def _name(self, instruction: str | None) -> str:
        return (self.source.base if instruction is None else self.source.model).name

    def _dimension(self, instruction: str | None) -> int:
        instructed = instruction is not None
        steps = self._shapes.steps(None) if instructed else 0
        full = self.source.width(instructed=instructed, refine_steps=steps)
        return min(self.options.truncate_dim or full, full)


def _stamp(folder: Path) -> tuple[Any, ...]:
    """Changes when a file is replaced: new weights in an old place are another model."""
    with still_there(folder):
        files = sorted(f for f in folder.iterdir() if f.suffix in (".json", ".safetensors"))
        return str(folder), *((f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files)
