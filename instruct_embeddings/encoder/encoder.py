"""`InstructEncoder`: texts and an instruction in, embeddings out."""

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray
from typing_extensions import Self, Unpack

from instruct_embeddings._warnings import from_here
from instruct_embeddings.encoder.calls import Calls
from instruct_embeddings.encoder.fingerprint import EmbeddingRecord
from instruct_embeddings.encoder.identity import Identity
from instruct_embeddings.encoder.lease import Lease
from instruct_embeddings.encoder.options import (
    EncoderArguments,
    EncoderOptions,
    check_keys,
    one_of,
)
from instruct_embeddings.encoder.progress import progress
from instruct_embeddings.encoder.texts import check_sentence
from instruct_embeddings.errors import ConfigError

Embeddings = NDArray[Any]
OnBatch = Callable[[int], None]


class InstructEncoder:
    """Embeds texts under an instruction, with a causal or bidirectional backbone of Hugging Face.

    Input `[text] [instruction] [soft prompts]` and dual-anchor pooling (InstEmb, ICML 2026),
    generative refinement (GIRCSE, ICLR 2026). Without an instruction it gives the backbone's own
    generic embeddings, so one model serves a generic collection and its instruction-aware side.

    Weights are loaded at the first use and shared by all encoders of the process that use the same
    ones. Threads and event loops may share an encoder. It can be pickled; the copy loads again.

    Attributes:
        options: Everything that was set.
    """

    def __init__(self, options: EncoderOptions | None = None) -> None:
        """Describe an encoder; nothing is read before it is used."""
        self.options = options or EncoderOptions()
        self._lease = Lease(self.options)

    @classmethod
    def from_pretrained(
        cls, model: str | Path | None = None, **options: Unpack[EncoderArguments]
    ) -> Self:
        """Describe an encoder by a model and keyword options; see `EncoderOptions`.

        Args:
            model: Hub id, folder of a Hugging Face model, or folder of a saved encoder. None means
                our own instruct-minilm-l6-v1, which comes with this package.
            options: Every field of `EncoderOptions`.

        Raises:
            ConfigError: An option is out of its range.
        """
        return cls(EncoderOptions(model=None if model is None else str(model), **options))

    @property
    def name(self) -> str:
        """Public name of the model."""
        return self._lease.source.model.name

    @property
    def dimension(self) -> int:
        """Length of embeddings under an instruction; for binary ones the number of bits."""
        return self._calls.dimension()

    @property
    def max_tokens(self) -> int:
        """Longest row, instruction and soft prompts included."""
        longest = self._lease.source.settings.longest(instructed=True)
        return min(self.options.max_tokens or longest, longest)

    def encode(
        self,
        texts: Sequence[str],
        *,
        instruction: str | None = None,
        refine_steps: int | None = None,
        show_progress: bool = False,
        on_batch: OnBatch | None = None,
    ) -> Embeddings:
        """Embed texts.

        Args:
            texts: n texts, in any order and of any length. They are not altered; texts longer than
                the model reads are cut at their end, with one warning.
            instruction: A plain sentence, or None for generic embeddings.
            refine_steps: Soft tokens to generate (GIRCSE); by default as the checkpoint says.
            show_progress: Show a bar on stderr.
            on_batch: Called with the number of texts of each batch.

        Returns:
            Shape (n, dimension), in the order given: float32, or what `precision` asks for
            (float16, int8, or bits packed to uint8 of shape (n, dimension / 8)).

        Raises:
            TypeError: `texts` is a bare string, or holds something that is not a string.
            TextError: A text holds a lone surrogate.
            InstructionError: The instruction is empty, or leaves no room for a text.
            ClosedEncoderError: After `close()`.
        """
        request, out = self._calls.prepare(texts, instruction, refine_steps)
        with progress(len(request.texts), show_progress, on_batch) as report:
            for done in self._calls.run(request, out):
                report(done)
        found: Embeddings = out[-1]
        return found

    async def aencode(
        self,
        texts: Sequence[str],
        *,
        instruction: str | None = None,
        refine_steps: int | None = None,
        show_progress: bool = False,
        on_batch: OnBatch | None = None,
    ) -> Embeddings:
        """The same as `encode` without blocking the event loop.

        Batches of concurrent calls take turns on the one worker thread of the model.
        """
        # Not on the loop: the first call may import torch, and fetch a model from the hub.
        request, out = await asyncio.to_thread(
            self._calls.prepare, texts, instruction, refine_steps
        )
        slot = await asyncio.to_thread(self._lease.slot)
        with from_here():
            loop, context = asyncio.get_running_loop(), contextvars.copy_context()
        advance = partial(next, self._calls.run(request, out), None)
        with progress(len(request.texts), show_progress, on_batch) as report:
            while True:
                self._lease.check_open()
                done = await loop.run_in_executor(slot.worker, context.run, advance)
                if done is None:
                    break
                report(done)
        found: Embeddings = out[-1]
        return found

    def encode_grid(
        self,
        texts: Sequence[str],
        instructions: Sequence[str | None],
        *,
        refine_steps: int | None = None,
        show_progress: bool = False,
    ) -> Embeddings:
        """Embed every text under every instruction.

        A causal backbone reads each text once and each instruction after it; a bidirectional one
        reads all pairs in common batches. The embeddings are those of separate calls.

        Args:
            texts: n texts.
            instructions: Plain sentences; None for generic embeddings.
            refine_steps: Soft tokens to generate; by default as the checkpoint says.
            show_progress: Show a bar on stderr.

        Returns:
            Shape (instructions, n, dimension).

        Raises:
            ConfigError: Generic embeddings have another length than those under an instruction.
        """
        grid, out = self._calls.prepare_grid(texts, instructions, refine_steps)
        with progress(out[..., 0].size, show_progress, None) as report:
            for done in self._calls.run_grid(grid, out):
                report(done)
        return out

    def encode_steps(
        self, texts: Sequence[str], *, instruction: str, refine_steps: int
    ) -> Embeddings:
        """Embeddings after every step of refinement, as GIRCSE's loss and its plots need them.

        Args:
            texts: n texts.
            instruction: A plain sentence.
            refine_steps: Number of steps, at least 1.

        Returns:
            Shape (refine_steps, n, dimension); the last entry is what `encode` gives.
        """
        if not refine_steps or instruction is None:
            raise ConfigError(
                f"encode_steps() got refine_steps={refine_steps!r} and instruction="
                f"{instruction!r}. Pass at least one step and a sentence."
            )
        request, out = self._calls.prepare(texts, instruction, refine_steps, every_step=True)
        for _ in self._calls.run(request, out):
            pass
        return out

    def with_options(self, **changes: Any) -> Self:
        """A copy under other options; weights are shared where they are the same.

        Raises:
            ConfigError: An option is unknown or out of its range.
        """
        check_keys(changes, {f.name for f in fields(EncoderOptions)})
        twin = type(self)(replace(self.options, **changes))
        twin._lease.learn_from(self._lease)
        return twin

    def fingerprint(
        self,
        *,
        instruction: str | None = None,
        role: Literal["document", "query"] = "document",
    ) -> str:
        """A stable string for caches: equal only where the same text gives the same embedding.

        Args:
            instruction: What the texts are embedded under.
            role: Keeps queries and documents apart in caches that share a text.

        Raises:
            ConfigError: The role is neither "document" nor "query".
        """
        one_of("role", role, ("document", "query"))
        return self._identity().fingerprint(check_sentence(instruction), role)

    def record(self, *, instruction: str | None = None) -> EmbeddingRecord:
        """What a collection has to remember of embeddings made under this instruction."""
        return self._identity().record(check_sentence(instruction))

    def save_pretrained(self, folder: str | Path, *, backbone: bool = False) -> Path:
        """Write a self-describing checkpoint: settings as JSON, weights as safetensors.

        Args:
            folder: Where to; a checkpoint that lies there is replaced in one step.
            backbone: Write the backbone's weights too, so that nothing else is needed to load it.

        Returns:
            The folder.

        Raises:
            CheckpointError: Something else than a checkpoint lies in the folder.
        """
        from instruct_embeddings.encoder.checkpoint import write_checkpoint

        session, place = self._lease.session(), Path(folder).expanduser()
        # A pass of another thread may have layers cut off or the adapter switched off.
        with session.slot.lock:
            return write_checkpoint(place, session.loaded, self._lease.source, backbone=backbone)

    def push_to_hub(self, repo_id: str, *, private: bool = False, backbone: bool = False) -> str:
        """Upload a checkpoint to the model hub, creating the repository where there is none.

        Returns:
            Address of the commit.
        """
        from instruct_embeddings.encoder.checkpoint import upload

        return upload(self, repo_id, private=private, backbone=backbone)

    def close(self) -> None:
        """Give the memory back, unless another encoder uses the same model; then refuse to work."""
        self._lease.close()

    def __enter__(self) -> Self:
        """Itself; `close()` follows at the end of the context."""
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        default = EncoderOptions()
        changed = [
            f"{f.name}={getattr(self.options, f.name)!r}"
            for f in fields(EncoderOptions)
            if getattr(self.options, f.name) != getattr(default, f.name)
        ]
        return f"{type(self).__name__}({', '.join(changed)})"

    def __getstate__(self) -> dict[str, Any]:
        """The options alone: a copy in another process finds and loads the model itself."""
        return {"options": self.options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["options"])  # type: ignore[misc]

    def _identity(self) -> Identity:
        return Identity(self._lease.source, self.options)

    @property
    def _calls(self) -> Calls:
        return Calls(self._lease, self.options)
