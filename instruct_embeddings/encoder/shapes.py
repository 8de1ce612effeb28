"""Shapes and numbers of results, known before anything is loaded."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instruct_embeddings.config import at_least
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.precision import NUMBERS
from instruct_embeddings.encoder.source import ModelSource
from instruct_embeddings.errors import ConfigError


@dataclass(frozen=True)
class Shapes:
    """What a model gives under the options of one encoder."""

    source: ModelSource
    options: EncoderOptions

    def steps(self, asked: int | None) -> int:
        """Steps of refinement: of the call, else of the options, else of the checkpoint.

        Raises:
            ConfigError: It is negative, or no whole number.
        """
        at_least("refine_steps", asked, 0)
        for steps in (asked, self.options.refine_steps):
            if steps is not None:
                return steps
        return self.source.settings.refinement.steps

    def dimension(self, *, instructed: bool, refine_steps: int) -> int:
        """Length of embeddings; for binary ones the number of bits.

        Raises:
            ConfigError: They cannot be cut or packed as asked.
        """
        full = self.source.width(instructed=instructed, refine_steps=refine_steps)
        saved = self.source.dimensions_kept(instructed=instructed)
        wanted = self.options.truncate_dim or min(saved or full, full)
        if wanted > full:
            raise ConfigError(
                f"truncate_dim={wanted}, and the embeddings of {self.source.model.name!r} have "
                f"{full} dimensions. Use a number from 1 to {full}."
            )
        if self.options.precision == "binary" and wanted % 8:
            raise ConfigError(
                f"precision='binary' packs 8 dimensions into a byte, and there are {wanted}. "
                "Use truncate_dim to cut to a multiple of 8."
            )
        return wanted

    def empty(self, *shape: int, instructed: bool, refine_steps: int) -> NDArray[Any]:
        """An array for results, shape (*shape, dimension), or of bytes that pack 8 dimensions."""
        dimension = self.dimension(instructed=instructed, refine_steps=refine_steps)
        packed = dimension // 8 if self.options.precision == "binary" else dimension
        return np.empty((*shape, packed), dtype=NUMBERS[self.options.precision])

    def check_one_width(self, *, mixed: bool, steps: int) -> None:
        """Refuse one array for generic embeddings and those under an instruction.

        Raises:
            ConfigError: They are mixed, and differ in length.
        """
        widths = {
            self.dimension(instructed=instructed, refine_steps=steps if instructed else 0)
            for instructed in ((False, True) if mixed else (True,))
        }
        if len(widths) > 1:
            raise ConfigError(
                f"Generic embeddings and those under an instruction have {sorted(widths)} "
                "dimensions and do not fit into one array. Leave None out of the instructions."
            )
