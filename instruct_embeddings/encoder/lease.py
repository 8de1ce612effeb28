"""An encoder's hold on its model: found, loaded and let go when due."""

import threading
import weakref
from typing import TYPE_CHECKING, Any

from instruct_embeddings.encoder import registry
from instruct_embeddings.encoder.identity import Identity
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.source import ModelSource, find_source
from instruct_embeddings.errors import ClosedEncoderError

if TYPE_CHECKING:
    from instruct_embeddings.encoder.session import Session
    from instruct_embeddings.encoder.workers import Workers

# Options that decide which files are read; another look may ask the model hub.
_OF_FILES = (
    "model",
    "revision",
    "adapter",
    "template",
    "cache_folder",
    "local_files_only",
    "trust_remote_code",
)


class Lease:
    """Everything of an encoder that is not its options.

    Released by `close()`, or when the encoder is collected without it.
    """

    def __init__(self, options: EncoderOptions) -> None:
        """Hold nothing yet."""
        self._options = options
        self._lock = threading.RLock()
        self._source: ModelSource | None = None
        self._slot: registry.Slot | None = None
        self._workers: Workers | None = None
        self._endings: list[weakref.finalize[Any, Any]] = []
        self._closed = False

    @property
    def source(self) -> ModelSource:
        """What the model's files say; read once."""
        with self._lock:
            if self._source is None:
                self._source = find_source(self._options)
            return self._source

    def learn_from(self, other: "Lease") -> None:
        """Take over what is known of the files, where the same ones were asked for."""
        same = all(getattr(self._options, n) == getattr(other._options, n) for n in _OF_FILES)
        if same:
            self._source = other._source

    def slot(self) -> registry.Slot:
        """The place of the model in the registry, held from now on."""
        with self._lock:
            self.check_open()
            if self._slot is None:
                key = Identity(self.source, self._options).key()
                self._slot = registry.shared.acquire(key)
                self._endings.append(weakref.finalize(self, registry.shared.release, key))
            return self._slot

    def session(self) -> "Session":
        """The loaded model under these options."""
        from instruct_embeddings.encoder.session import Session

        slot = self.slot()
        return Session(slot.get(self._load), slot, self._options)

    def workers(self) -> "Workers":
        """One process a device, started at the first call."""
        from instruct_embeddings.encoder.workers import Workers

        with self._lock:
            self.check_open()
            if self._workers is None or self._workers.broken:
                self._workers = Workers(self._options)
                self._endings.append(weakref.finalize(self, self._workers.close))
            return self._workers

    def close(self) -> None:
        """Let everything go; further use is an error."""
        with self._lock:
            self._closed = True
            self._slot = self._workers = None
            endings, self._endings = self._endings, []
        for ending in endings:
            ending()

    def check_open(self) -> None:
        """Refuse to work after `close()`.

        Raises:
            ClosedEncoderError: The encoder was closed.
        """
        if self._closed:
            raise ClosedEncoderError(
                f"The encoder of {self._options.model or 'the default model'!r} was closed and "
                "gave its memory back. Make a new one, or close it later."
            )

    def _load(self) -> registry.LoadedModel:
        from instruct_embeddings.encoder import loading

        tokenizer = loading.load_tokenizer(self.source, self._options)
        return registry.LoadedModel(
            loading.load_model(self.source, self._options),
            loading.make_template(self.source, tokenizer),
            loading.choose_device(self._options.device),
        )
