"""Loaded models, one copy for all encoders of this process that use the same weights.

Nothing heavy is imported here: an encoder is described, copied and pickled without torch.
"""

import gc
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instruct_embeddings._threads import make_anew_after_fork
from instruct_embeddings.encoder.files import still_there
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.source import ModelSource

if TYPE_CHECKING:
    from instruct_embeddings.encoder.model import InstEmb
    from instruct_embeddings.encoder.template import Template

Key = tuple[Any, ...]


@dataclass
class LoadedModel:
    """A model in memory, which is given back when nobody holds this any more.

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

    def __del__(self, ends: Callable[[], bool] = sys.is_finalizing) -> None:
        # At the end of the process names of modules are gone already, and memory goes anyway.
        if ends():
            return
        modules = [weakref.ref(module) for module in self.model.modules()]
        del self.model
        # Compiled models refer to themselves; for others a collection would be time lost.
        if any(module() is not None for module in modules):
            gc.collect()
        if self.device.startswith("cuda"):
            sys.modules["torch"].cuda.empty_cache()


class CachedModel:
    """An entry of the cache: its model is loaded when first needed, and goes with its last user.

    Attributes:
        lock: Held for one forward pass at a time, so that a query waits for one batch of a long
            run and not for all of it.
        worker: The one thread that serves event loops, started by its first task.
        loads: How often the model was loaded.
    """

    def __init__(self) -> None:
        self.loads = 0
        self._loaded: LoadedModel | None = None
        self.make_anew()
        make_anew_after_fork(self)

    def make_anew(self) -> None:
        """Locks and a worker of its own; those of a parent process are of no use."""
        self.lock, self._load_lock = threading.RLock(), threading.Lock()
        self.worker = ThreadPoolExecutor(1, thread_name_prefix="instruct-embeddings")

    def get(self, load: Callable[[], LoadedModel]) -> LoadedModel:
        """The model; the first caller loads it, others wait."""
        with self._load_lock:
            if self._loaded is None:
                self._loaded = load()
                self.loads += 1
            return self._loaded


class ModelCache:
    """Models by what makes them the same: files, adapter, device, dtype. Users keep them alive."""

    def __init__(self) -> None:
        self._entries: weakref.WeakValueDictionary[Key, CachedModel] = weakref.WeakValueDictionary()
        self._lock = threading.Lock()

    def make_anew(self) -> None:
        """After a fork, which the thread pool of torch does not survive: waits would never end."""
        self._lock = threading.Lock()
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(1)

    def acquire(self, key: Key) -> CachedModel:
        """The entry of a key, which lives as long as somebody holds it."""
        # Not before: torch is left alone in the forks of a process that never used a model.
        make_anew_after_fork(self)
        with self._lock:
            return self._entries.setdefault(key, CachedModel())

    def __len__(self) -> int:
        """Number of models in use."""
        return len(self._entries)


models = ModelCache()


def load(source: ModelSource, options: EncoderOptions) -> LoadedModel:
    """Read a model into memory."""
    from instruct_embeddings.encoder import loading

    tokenizer = loading.load_tokenizer(source, options)
    return LoadedModel(
        loading.load_model(source, options),
        loading.make_template(source, tokenizer),
        loading.choose_device(options.device),
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
