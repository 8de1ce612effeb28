"""`InstructEncoder`: texts and an instruction in, embeddings out."""

import asyncio
import contextvars
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self, Unpack

from instruct_embeddings._warnings import from_here
from instruct_embeddings.config import at_least, optional_instruction
from instruct_embeddings.encoder import fingerprint, model_cache
from instruct_embeddings.encoder.fingerprint import EmbeddingRecord
from instruct_embeddings.encoder.model_cache import CachedModel, LoadedModel
from instruct_embeddings.encoder.options import (
    EncoderArguments,
    EncoderOptions,
    check_keys,
    one_of,
)
from instruct_embeddings.encoder.precision import DTYPES
from instruct_embeddings.encoder.source import ModelSource, find_source
from instruct_embeddings.encoder.texts import Request, check_surrogates, progress
from instruct_embeddings.errors import CheckpointError, ClosedEncoderError, ConfigError

if TYPE_CHECKING:
    from instruct_embeddings.encoder.devices import DevicePool
    from instruct_embeddings.encoder.runner import Runner

Embeddings = NDArray[Any]
OnBatch = Callable[[int], None]
# Options that decide which files are read; looking for others may ask the model hub.
_OF_FILES = (
    *("model", "revision", "gguf_file", "adapter", "template"),
    *("cache_folder", "local_files_only", "trust_remote_code"),
)
# Pairs of instruction and steps that need not be checked again.
_KEPT = 64
# Of the vector within the context: hardly below the best on the first set of `make bench-situated`.
DEFAULT_SHARE = 0.5


@dataclass(frozen=True)
class _Call:
    """What a call asks for beside its texts, checked; `columns` are the numbers of a row."""

    instruction: str | None
    refine_steps: int
    columns: int


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
        self._closed = False
        self._lock = threading.RLock()
        self._source: ModelSource | None = None
        self._calls: dict[tuple[str | None, int | None], _Call] = {}
        self._entry: CachedModel | None = None
        self._runner: Runner | None = None
        self._pool: DevicePool | None = None

    @classmethod
    def from_pretrained(
        cls, model: str | Path | None = None, **options: Unpack[EncoderArguments]
    ) -> Self:
        """Describe an encoder by its model and the fields of `EncoderOptions`.

        Args:
            model: Hub id, folder of a Hugging Face model, GGUF file, or folder of a saved encoder.
                None means our own instruct-minilm-l6-v1, which comes with this package.
            options: All other fields; ConfigError where one is out of range.
        """
        return cls(EncoderOptions(model=None if model is None else str(model), **options))

    @property
    def name(self) -> str:
        """Public name of the model."""
        return self.source.model.name

    @property
    def source(self) -> ModelSource:
        """What the model's files say, which are read once; weights are not loaded for it."""
        with self._lock:
            if self._source is None:
                self._source = find_source(self.options)
            return self._source

    @property
    def dimension(self) -> int:
        """Length of embeddings under an instruction; for binary ones the number of bits."""
        steps = self.source.steps(self.options.refine_steps)
        return self.source.dimension(self.options, instructed=True, refine_steps=steps)

    @property
    def max_tokens(self) -> int:
        """Maximum sequence length in tokens, instruction and soft prompts included."""
        longest = self.source.settings.longest(instructed=True)
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
                the model reads are truncated, with one warning.
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
        request, out = self._prepare(texts, instruction, refine_steps)
        _consume(self._run(request, out), len(request.texts), show_progress, on_batch)
        return np.asarray(out[-1])

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
        request, out = await asyncio.to_thread(self._prepare, texts, instruction, refine_steps)
        entry = await asyncio.to_thread(self._cached)
        with from_here():
            loop, context = asyncio.get_running_loop(), contextvars.copy_context()
        advance = partial(next, self._run(request, out), None)
        with progress(len(request.texts), show_progress, on_batch) as report:
            while True:
                self._check_open()
                done = await loop.run_in_executor(entry.worker, context.run, advance)
                if done is None:
                    break
                report(done)
        return np.asarray(out[-1])

    def encode_grid(
        self,
        texts: Sequence[str],
        instructions: Sequence[str | None],
        *,
        refine_steps: int | None = None,
        show_progress: bool = False,
    ) -> Embeddings:
        """Embed every text under every instruction, as separate calls of `encode` would.

        A causal backbone reads each text once and each instruction after it; a bidirectional one
        reads all pairs in common batches. It runs in this process, on one device, also where
        `devices` names several. None among the instructions is the generic embedding.

        Returns:
            Shape (instructions, n, dimension).

        Raises:
            ConfigError: Generic embeddings have another length than those under an instruction.
        """
        checked = check_texts(texts)
        if isinstance(instructions, str | bytes):
            raise TypeError(f"Got a bare {type(instructions).__name__}; wrap it: [instruction].")
        sentences = [optional_instruction(one) for one in instructions]
        self._check_open()
        steps = self._steps(refine_steps)
        kinds = {one is not None for one in sentences} or {True}
        columns = {self._columns(instructed, steps if instructed else 0) for instructed in kinds}
        if len(columns) > 1:
            raise ConfigError(
                "Generic embeddings and those under an instruction have other dimensions, "
                f"{sorted(columns)}, and do not fit into one array. Leave None out of the "
                "instructions."
            )
        shape = (len(sentences), len(checked), columns.pop())
        out = np.empty(shape, dtype=DTYPES[self.options.precision])
        if out.size:
            batches = self._running().embed_grid(checked, sentences, steps, out)
            _consume(batches, len(sentences) * len(checked), show_progress, None)
        return out

    def encode_steps(
        self, texts: Sequence[str], *, instruction: str, refine_steps: int
    ) -> Embeddings:
        """Embeddings after every step of refinement, at least 1.

        Returns:
            Shape (refine_steps, n, dimension); the last entry is what `encode` gives.
        """
        if not refine_steps or instruction is None:
            raise ConfigError(
                f"encode_steps() got refine_steps={refine_steps!r} and instruction="
                f"{instruction!r}. Pass at least one step and a sentence."
            )
        request, out = self._prepare(texts, instruction, refine_steps, every_step=True)
        _consume(self._run(request, out), 0, False, None)
        return out

    def encode_situated(
        self,
        chunks: Sequence[str],
        contexts: Sequence[str],
        *,
        starts: Sequence[int] | None = None,
        share: float = DEFAULT_SHARE,
    ) -> Embeddings:
        """Generic embeddings of chunks that know the text around them.

        Each chunk is read twice: alone, and within its context, of which its own tokens are pooled
        (late chunking, arXiv 2409.04701); the result lies between the two. Queries are embedded as
        usual. A context is read once for all of its chunks, in overlapping windows where it is
        longer than the model reads. It runs in this process, on one device.

        Args:
            chunks: n texts.
            contexts: For each chunk the text that it was cut from; the same for several.
            starts: First character of each chunk in its context, as splitters say it. By default
                chunks are looked for, those of one context in their order.
            share: Weight of the vector within the context, in [0, 1].

        Returns:
            Shape (n, dimension) as of `encode` without an instruction, in the order given.

        Raises:
            TypeError: Chunks or contexts are a bare string, or hold something else than strings.
            TextError: A chunk does not stand in its context, or is longer than the model reads.
            ConfigError: Lengths differ, `share` is out of range, or the model's own embeddings are
                no means over its tokens.
            ClosedEncoderError: After `close()`.
        """
        from instruct_embeddings.encoder.situated import find_spans, late_chunks, mixed

        texts, around = check_texts(chunks), check_texts(contexts)
        if not isinstance(share, Real) or not 0 <= share <= 1:
            raise ConfigError(
                f"share={share!r} is outside [0, 1]: 0 is a chunk's own vector, 1 the one within "
                "its context."
            )
        spans = find_spans(texts, around, starts)
        if not texts:
            return self.encode([])
        runner = self._running()
        late, there = late_chunks(runner, around, spans)
        plain = self.with_options(
            precision="float32", normalize=True, truncate_dim=None, devices=()
        )
        return runner.finish(mixed(plain.encode(texts), late, there, share), instructed=False)

    def with_options(self, **changes: Any) -> Self:
        """A copy under other options; weights are shared where they are the same.

        Raises:
            ConfigError: An option is unknown or out of its range.
        """
        check_keys(changes, {f.name for f in fields(EncoderOptions)})
        copy = type(self)(replace(self.options, **changes))
        if not set(changes).intersection(_OF_FILES):
            copy._source = self._source
        return copy

    def fingerprint(
        self,
        *,
        instruction: str | None = None,
        role: Literal["document", "query"] = "document",
    ) -> str:
        """A stable string for caches: equal only where the same text gives the same embedding.

        `role` keeps queries and documents apart in caches that share a text.
        """
        one_of("role", role, ("document", "query"))
        sentence = optional_instruction(instruction)
        return fingerprint.cache_namespace(self.source, self.options, sentence, role)

    def record(self, *, instruction: str | None = None) -> EmbeddingRecord:
        """What a collection has to remember of embeddings made under this instruction."""
        sentence = optional_instruction(instruction)
        return fingerprint.record_of(self.source, self.options, sentence)

    def save_pretrained(self, folder: str | Path, *, backbone: bool = False) -> Path:
        """Write a self-describing checkpoint: settings as JSON, weights as safetensors.

        Args:
            folder: Where to; a checkpoint that lies there is replaced in one step.
            backbone: Write the backbone's weights too, so that nothing else is needed to load it.

        Raises:
            CheckpointError: Something else than a checkpoint lies in the folder.
        """
        from instruct_embeddings.encoder.checkpoint import write_checkpoint

        loaded, target = self._load(), Path(folder).expanduser()
        # A pass of another thread may have layers cut off or the adapter switched off.
        with self._cached().lock:
            tokenizer = loaded.template.tokenizer
            return write_checkpoint(target, loaded.model, tokenizer, self.source, backbone=backbone)

    def push_to_hub(self, repo_id: str, *, private: bool = False, backbone: bool = False) -> str:
        """Upload a checkpoint to the model hub, into a new repository where there is none.

        Returns:
            Address of the commit.

        Raises:
            CheckpointError: Its backbone is a local folder and not part of it.
        """
        from huggingface_hub import HfApi

        base = self.source.base
        if not (backbone or self.source.settings.backbone or base.on_hub):
            raise CheckpointError(
                f"The backbone is the local folder {str(base.path)!r}, which nobody else has. "
                "Pass backbone=True to upload it too."
            )
        api = HfApi()
        with tempfile.TemporaryDirectory() as parent:
            folder = self.save_pretrained(Path(parent) / "checkpoint", backbone=backbone)
            api.create_repo(repo_id, private=private, exist_ok=True)
            commit = api.upload_folder(repo_id=repo_id, folder_path=folder)
        return str(commit.commit_url)

    def close(self) -> None:
        """Give the memory back, unless another encoder uses the same model; then refuse to work."""
        with self._lock:
            self._closed = True
            self._entry = self._runner = None
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def __enter__(self) -> Self:
        """Itself; `close()` follows at the end of the context."""
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        given = {f.name: (getattr(self.options, f.name), f.default) for f in fields(self.options)}
        changed = [f"{name}={value!r}" for name, (value, usual) in given.items() if value != usual]
        return f"{type(self).__name__}({', '.join(changed)})"

    def __getstate__(self) -> dict[str, Any]:
        """The options alone: a copy in another process finds and loads the model itself."""
        return {"options": self.options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["options"])  # type: ignore[misc]

    def _prepare(
        self,
        texts: Sequence[str],
        instruction: str | None,
        refine_steps: int | None,
        *,
        every_step: bool = False,
    ) -> tuple[Request, Embeddings]:
        """The checked request and the array that it fills, shape (s, n, dimension)."""
        checked = check_texts(texts)
        self._check_open()
        call = self._call(instruction, refine_steps)
        shape = (call.refine_steps if every_step else 1, len(checked), call.columns)
        out = np.empty(shape, dtype=DTYPES[self.options.precision])
        return Request(checked, call.instruction, call.refine_steps, every_step), out

    def _call(self, instruction: str | None, refine_steps: int | None) -> _Call:
        """Instruction and steps, checked the first time that they are given."""
        # True equals 1 as a key, and what cannot be a key at all is told by the checks.
        plain = isinstance(instruction, str | None) and type(refine_steps) in (int, type(None))
        if plain and (known := self._calls.get((instruction, refine_steps))) is not None:
            return known
        sentence = optional_instruction(instruction)
        if sentence is None and at_least("refine_steps", refine_steps, 0):
            raise ConfigError(
                f"refine_steps={refine_steps} without an instruction: generic embeddings are the "
                "backbone's own and are not refined. Pass an instruction."
            )
        steps = 0 if sentence is None else self._steps(refine_steps)
        call = _Call(sentence, steps, self._columns(sentence is not None, steps))
        if plain:
            if len(self._calls) >= _KEPT:
                self._calls.clear()
            self._calls[instruction, refine_steps] = call
        return call

    def _steps(self, refine_steps: int | None) -> int:
        """Steps of refinement: of the call, else of the options, else of the checkpoint."""
        steps = at_least("refine_steps", refine_steps, 0)
        return self.source.steps(self.options.refine_steps if steps is None else steps)

    def _columns(self, instructed: bool, refine_steps: int) -> int:
        """Numbers of a row; bits are packed eight to a byte."""
        options = self.options
        found = self.source.dimension(options, instructed=instructed, refine_steps=refine_steps)
        return found // 8 if options.precision == "binary" else found

    def _run(self, request: Request, out: Embeddings) -> Iterator[int]:
        """Fill `out` batch by batch; nothing is loaded for no texts."""
        if not request.texts:
            return
        if self.options.devices and not request.every_step:
            yield from self._device_pool().embed(request, out)
        else:
            yield from self._running().embed(request, out)

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedEncoderError(
                f"The encoder of {self.options.model or 'the default model'!r} was closed and "
                "gave its memory back. Make a new one, or close it later."
            )

    def _cached(self) -> CachedModel:
        """The model's entry in the cache of the process, in use from now on."""
        with self._lock:
            self._check_open()
            if self._entry is None:
                key = model_cache.model_key(self.source, self.options)
                self._entry = model_cache.models.acquire(key)
            return self._entry

    def _load(self) -> LoadedModel:
        """The model, loaded at the first call of any of its users."""
        return self._cached().get(partial(model_cache.load, self.source, self.options))

    def _running(self) -> "Runner":
        """The loaded model under these options."""
        if (known := self._runner) is not None:
            return known
        from instruct_embeddings.encoder.runner import Runner

        made = Runner(self._load(), self._cached(), self.options)
        with self._lock:
            self._check_open()
            self._runner = made
        return made

    def _device_pool(self) -> "DevicePool":
        """One process a device, started at the first call."""
        from instruct_embeddings.encoder.devices import DevicePool

        with self._lock:
            self._check_open()
            if self._pool is None or self._pool.broken:
                self._pool = DevicePool(self.options)
                weakref.finalize(self, self._pool.close)
            return self._pool


def check_texts(texts: Sequence[str]) -> list[str]:
    """A list of strings; TypeError and TextError where it is none."""
    if isinstance(texts, str | bytes):
        raise TypeError(
            f"encode() takes a list of texts, got a bare {type(texts).__name__}; wrap it: [text]."
        )
    try:
        found = list(texts)
    except TypeError as exc:
        raise TypeError(
            f"encode() takes a list of texts, got a value of type {type(texts).__name__}. "
            "Pass a list of str."
        ) from exc
    for position, text in enumerate(found):
        if not isinstance(text, str):
            raise TypeError(
                f"Text {position} is of type {type(text).__name__}, not str. Convert it first."
            )
        if not text.isascii():
            check_surrogates(position, text)
    return found


def _consume(
    batches: Iterator[int], total: int, show_progress: bool, on_batch: OnBatch | None
) -> None:
    if not show_progress and on_batch is None:
        for _ in batches:
            pass
        return
    with progress(total, show_progress, on_batch) as report:
        for done in batches:
            report(done)
