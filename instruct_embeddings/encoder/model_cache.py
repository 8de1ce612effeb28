"""Loaded models, one copy for all encoders of this process that use the same weights.

Nothing heavy is imported here: an encoder is described, copied and pickled without torch.
"""

import gc
import os
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instruct_embeddings.encoder.files import still_there
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.source import ModelSource, find_source
from instruct_embeddings.errors import ClosedEncoderError

if TYPE_CHECKING:
    from instruct_embeddings.encoder.model import InstEmb
    from instruct_embeddings.encoder.template import Template

Key = tuple[Any, ...]

# Options that decide which files are read; looking for others may ask the model hub.
_OF_FILES = (
    "model",
    "revision",
    "adapter",
    "template",
    "cache_folder",
    "local_files_only",
    "trust_remote_code",
)
# More sets of options over one model than any program uses at once.
_MOST_RUNNERS = 64


@dataclass
class LoadedModel:
    """A model in memory.

    Attributes:
        model: Backbone, soft prompts, pooler.
        template: Tokenises for it.
        device: Where it is.
        batch_tokens: Most tokens of a forward pass that memory is known to hold, once it ran out.
    """

    model: "InstEmb"
    template: "Template"
    device: str
    batch_tokens: int | None = None


@dataclass
class CachedModel:
    """One entry of the cache: loaded when first needed, freed when no encoder uses it.

    Attributes:
        lock: Held for one forward pass at a time, so that a query waits for one batch of a long
            run and not for all of it.
        loads: How often the model was loaded.
        users: Number of encoders that use it.
        runners: What runs it, by the options of an encoder.
    """

    lock: threading.RLock = field(default_factory=threading.RLock)
    loads: int = 0
    users: int = 0
    runners: dict[EncoderOptions, Any] = field(default_factory=dict)
    _load_lock: threading.Lock = field(default_factory=threading.Lock)
    # A lock of its own: an event loop that asks for the worker must not wait for a load.
    _worker_lock: threading.Lock = field(default_factory=threading.Lock)
    _loaded: LoadedModel | None = None
    _worker: ThreadPoolExecutor | None = None

    def get(self, load: Callable[[], LoadedModel]) -> LoadedModel:
        """The model; the first caller loads it, others wait."""
        with self._load_lock:
            if self._loaded is None:
                self._loaded = load()
                self.loads += 1
            return self._loaded

    def keep(self, options: EncoderOptions, runner: Any) -> None:
        """Keep a runner, unless the model was freed meanwhile."""
        if len(self.runners) >= _MOST_RUNNERS:
            self.runners.clear()
        if self.users:
            self.runners[options] = runner

    @property
    def worker(self) -> ThreadPoolExecutor:
        """The one thread that serves event loops."""
        with self._worker_lock:
            if self._worker is None:
                self._worker = ThreadPoolExecutor(1, thread_name_prefix="instruct-embeddings")
            return self._worker

    def reset_after_fork(self) -> None:
        """Drop locks and thread of the parent process."""
        self.lock = threading.RLock()
        self._load_lock, self._worker_lock = threading.Lock(), threading.Lock()
        self._worker = None

    def free(self) -> None:
        """Give memory and thread back."""
        loaded, worker = self._loaded, self._worker
        self._loaded = self._worker = None
        self.runners.clear()
        if worker is not None:
            worker.shutdown(wait=False)
        if loaded is None:
            return
        on_gpu = loaded.device.startswith("cuda")
        modules = [weakref.ref(module) for module in loaded.model.modules()]
        del loaded
        # Compiled models refer to themselves; for others a collection would be time lost.
        if any(module() is not None for module in modules):
            gc.collect()
        if on_gpu:
            import torch

            torch.cuda.empty_cache()


class ModelCache:
    """Models by what makes them the same: files, adapter, device, dtype. Reference-counted."""

    def __init__(self) -> None:
        """An empty cache; there is one for the process, `models`."""
        # Re-entrant: the collector may release an entry while this thread is in here.
        self._lock = threading.RLock()
        self._entries: dict[Key, CachedModel] = {}
        self._handles_forks = False

    def acquire(self, key: Key) -> CachedModel:
        """The entry of a key, with one more user."""
        with self._lock:
            if not self._handles_forks and hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=self._reset_after_fork)
            self._handles_forks = True
            entry = self._entries.setdefault(key, CachedModel())
            entry.users += 1
            return entry

    def release(self, key: Key) -> None:
        """One user less; the last one frees the model."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return
            entry.users -= 1
            if entry.users:
                return
            del self._entries[key]
        entry.free()

    def _reset_after_fork(self) -> None:
        self._lock = threading.RLock()
        for entry in self._entries.values():
            entry.reset_after_fork()
        if torch := sys.modules.get("torch"):
            # Its thread pool did not survive the fork, and waiting for it would never end.
            torch.set_num_threads(1)

    def __len__(self) -> int:
        """Number of models in use."""
        return len(self._entries)


models = ModelCache()


class ModelHandle:
    """One encoder's reference to its model: found, loaded, and released with the encoder."""

    def __init__(self, options: EncoderOptions) -> None:
        """Refer to a model by its options; nothing is read yet."""
        self.options = options
        self._lock = threading.RLock()
        self._source: ModelSource | None = None
        self._entry: CachedModel | None = None
        self._release: weakref.finalize[Any, Any] | None = None
        self.closed = False

    @property
    def source(self) -> ModelSource:
        """What the model's files say; read once."""
        with self._lock:
            if self._source is None:
                self._source = find_source(self.options)
            return self._source

    def reuse_source(self, other: "ModelHandle") -> None:
        """Take over what is known of the files, where the same ones were asked for."""
        if all(getattr(self.options, n) == getattr(other.options, n) for n in _OF_FILES):
            self._source = other._source

    @property
    def entry(self) -> CachedModel:
        """The model's entry in the cache, in use from now on."""
        with self._lock:
            self.check_open()
            if self._entry is None:
                key = model_key(self.source, self.options)
                self._entry = models.acquire(key)
                self._release = weakref.finalize(self, models.release, key)
            return self._entry

    def load(self) -> LoadedModel:
        """The model, loaded at the first call of any of its users."""
        return self.entry.get(self._load)

    def close(self) -> None:
        """Release the model; further use is an error."""
        with self._lock:
            self.closed = True
            self._entry = None
            release, self._release = self._release, None
        if release is not None:
            release()

    def check_open(self) -> None:
        """Refuse to work after `close()`."""
        if self.closed:
            raise ClosedEncoderError(
                f"The encoder of {self.options.model or 'the default model'!r} was closed and "
                "gave its memory back. Make a new one, or close it later."
            )

    def _load(self) -> LoadedModel:
        from instruct_embeddings.encoder import loading

        tokenizer = loading.load_tokenizer(self.source, self.options)
        return LoadedModel(
            loading.load_model(self.source, self.options),
            loading.make_template(self.source, tokenizer),
            loading.choose_device(self.options.device),
        )


def model_key(source: ModelSource, options: EncoderOptions) -> Key:
    """Equal where the same weights in memory serve."""
    from instruct_embeddings.encoder.loading import choose_device

    locations = (source.model, source.base, source.adapter)
    return (
        *(None if one is None else _file_stamps(one.path) for one in locations),
        choose_device(options.device),
        options.dtype,
        options.attn_implementation,
        options.template,
        options.compile,
        options.trust_remote_code,
    )


def _file_stamps(folder: Path) -> tuple[Any, ...]:
    """Changes when a file is replaced: new weights in an old folder are another model."""
    with still_there(folder):
        files = sorted(f for f in folder.iterdir() if f.suffix in (".json", ".safetensors"))
        return str(folder), *((f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files)
