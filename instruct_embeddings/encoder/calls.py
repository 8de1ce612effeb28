"""What a call of an encoder asks for: checked before anything is loaded, then run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from instruct_embeddings.config import at_least
from instruct_embeddings.encoder.lease import Lease
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.shapes import Shapes
from instruct_embeddings.encoder.texts import (
    check_instructions,
    check_sentence,
    check_texts,
    one_warning,
)
from instruct_embeddings.errors import ConfigError

if TYPE_CHECKING:
    from instruct_embeddings.encoder.session import Request

Array = NDArray[Any]


@dataclass(frozen=True)
class Grid:
    """Texts under several instructions.

    Attributes:
        texts: Checked texts.
        instructions: Checked sentences; None for generic embeddings.
        refine_steps: Soft tokens to generate.
    """

    texts: Sequence[str]
    instructions: Sequence[str | None]
    refine_steps: int


@dataclass(frozen=True)
class Calls:
    """Calls of one encoder."""

    lease: Lease
    options: EncoderOptions

    @property
    def _shapes(self) -> Shapes:
        return Shapes(self.lease.source, self.options)

    def dimension(self) -> int:
        """Length of embeddings under an instruction."""
        steps = self._shapes.steps(None)
        return self._shapes.dimension(instructed=True, refine_steps=steps)

    def prepare(
        self,
        texts: Sequence[str],
        instruction: str | None,
        refine_steps: int | None,
        *,
        every_step: bool = False,
    ) -> "tuple[Request, Array]":
        """The checked request and the array that it fills, shape (s, n, dimension)."""
        from instruct_embeddings.encoder.session import Request

        checked, sentence = check_texts(texts), check_sentence(instruction)
        at_least("refine_steps", refine_steps, 0)
        self.lease.check_open()
        if instruction is None and refine_steps:
            raise ConfigError(
                f"refine_steps={refine_steps} without an instruction: generic embeddings are the "
                "backbone's own and are not refined. Pass an instruction."
            )
        steps = 0 if instruction is None else self._shapes.steps(refine_steps)
        out = self._shapes.empty(
            steps if every_step else 1,
            len(checked),
            instructed=sentence is not None,
            refine_steps=steps,
        )
        return Request(checked, sentence, steps, every_step), out

    def run(self, request: "Request", out: Array) -> Iterator[int]:
        """Fill `out` batch by batch; nothing is loaded for no texts.

        Yields:
            Number of texts of each batch.
        """
        if not request.texts:
            return
        if self.options.devices and not request.every_step:
            call = {"instruction": request.instruction, "refine_steps": request.refine_steps}
            yield from self.lease.workers().embed(request.texts, call, out[0])
        else:
            yield from self.lease.session().embed(request, out)

    def prepare_grid(
        self,
        texts: Sequence[str],
        instructions: Sequence[str | None],
        refine_steps: int | None,
    ) -> tuple[Grid, Array]:
        """The checked request and the array that it fills, shape (instructions, n, dimension)."""
        checked, asked = check_texts(texts), check_instructions(instructions)
        self.lease.check_open()
        steps = self._shapes.steps(refine_steps)
        self._shapes.check_one_width(mixed=len({one is None for one in asked}) > 1, steps=steps)
        instructed = asked.count(None) < len(asked) or not asked
        empty = self._shapes.empty
        out = empty(len(asked), len(checked), instructed=instructed, refine_steps=steps)
        return Grid(checked, asked, steps), out

    def run_grid(self, grid: Grid, out: Array) -> Iterator[int]:
        """Fill `out` batch by batch, and warn once of texts that were cut.

        Yields:
            Number of pairs of text and instruction of each batch.
        """
        from instruct_embeddings.encoder.session import Request

        if not grid.texts:
            return
        sentences = {place: one for place, one in enumerate(grid.instructions) if one is not None}
        generic = [place for place in range(len(grid.instructions)) if place not in sentences]
        with one_warning(len(grid.texts)):
            if sentences:
                part = np.empty_like(out[: len(sentences)])
                yield from self.lease.session().embed_grid(
                    grid.texts, list(sentences.values()), grid.refine_steps, part
                )
                out[list(sentences)] = part
            if generic:
                plain = np.empty_like(out[:1])
                asked = Request(grid.texts, None)
                yield from (done * len(generic) for done in self.run(asked, plain))
                out[generic] = plain
