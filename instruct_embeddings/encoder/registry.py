"""One copy of a model for all encoders of this process that use the same one."""

import gc
import os
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from instruct_embeddings.encoder.model import InstEmb
    from instruct_embeddings.encoder.template import Template

Key = tuple[Any, ...]


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
class Slot:
    """The place of one model: loaded when first needed, freed when nobody holds it.

    Attributes:
        lock: Held for one forward pass at a time, so that a query waits for one batch of a long
            run and not for all of it.
        loads: How often the model was loaded.
    """

    lock: threading.RLock = field(default_factory=threading.RLock)
    loads: int = 0
    _loading: threading.Lock = field(default_factory=threading.Lock)
    # A lock of its own: an event loop that asks for the worker must not wait for a load.
    _hiring: threading.Lock = field(default_factory=threading.Lock)
    _loaded: LoadedModel | None = None
    _worker: ThreadPoolExecutor | None = None
    _holders: int = 0

    def get(self, load: Callable[[], LoadedModel]) -> LoadedModel:
        """The model; the first caller loads it, others wait."""
        with self._loading:
            if self._loaded is None:
                self._loaded = load()
                self.loads += 1
            return self._loaded

    @property
    def worker(self) -> ThreadPoolExecutor:
        """The one thread that serves event loops."""
        with self._hiring:
            if self._worker is None:
                self._worker = ThreadPoolExecutor(1, thread_name_prefix="instruct-embeddings")
            return self._worker

    def renew(self) -> None:
        """Forget locks and thread of the process that this one was forked from."""
        self.lock = threading.RLock()
        self._loading, self._hiring = threading.Lock(), threading.Lock()
        self._worker = None

    def free(self) -> None:
        """Give memory and thread back."""
        loaded, worker = self._loaded, self._worker
        self._loaded = self._worker = None
        if worker is not None:
            worker.shutdown(wait=False)
        if loaded is None:
            return
        on_gpu = loaded.device.startswith("cuda")
        parts = [weakref.ref(part) for part in loaded.model.modules()]
        del loaded
        # Compiled models hold on to themselves; for others the collector would take long for
        # nothing.
        if any(part() is not None for part in parts):
            gc.collect()
        if on_gpu:
            import torch

            torch.cuda.empty_cache()


class Registry:
    """Slots by what makes models the same: files, adapter, device, type of numbers.

    Reference-counted: an encoder acquires a slot at first use and releases it when it is closed or
    collected.
    """

    def __init__(self) -> None:
        """An empty registry; there is one for the process, `shared`."""
        # Re-entrant: the collector may release a slot while this thread is in here.
        self._lock = threading.RLock()
        self._slots: dict[Key, Slot] = {}
        self._watching = False

    def acquire(self, key: Key) -> Slot:
        """The slot of a key, held by one more."""
        with self._lock:
            if not self._watching and hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=self._renew)
            self._watching = True
            slot = self._slots.setdefault(key, Slot())
            slot._holders += 1
            return slot

    def release(self, key: Key) -> None:
        """Held by one less; the last one frees the model."""
        with self._lock:
            slot = self._slots.get(key)
            if slot is None:
                return
            slot._holders -= 1
            if slot._holders:
                return
            del self._slots[key]
        slot.free()

    def _renew(self) -> None:
        """After a fork: threads are gone, and whatever they had locked stays locked."""
        self._lock = threading.RLock()
        for slot in self._slots.values():
            slot.renew()
        if torch := sys.modules.get("torch"):
            # Its pool of threads is gone too, and is waited for in vain.
            torch.set_num_threads(1)

    def __len__(self) -> int:
        """Number of models that somebody holds."""
        return len(self._slots)


shared = Registry()
