"""Encoders of the embedding functions that Chroma makes itself."""

import threading
from collections.abc import Mapping
from typing import Any

from chroma_instruct_embeddings.configuration import check_contents
from instruct_embeddings.encoder import EncoderOptions
from instruct_embeddings.instant import TwoSidedEncoder


class Encoders:
    """Kept by options and contents of folders.

    Chroma makes a function anew for each text query of a collection that was opened without one;
    without these the model would be loaded for each of them.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[EncoderOptions, tuple[str, ...]], TwoSidedEncoder] = {}
        self._lock = threading.Lock()

    def get(self, options: EncoderOptions, config: Mapping[str, Any]) -> TwoSidedEncoder:
        """The one of a stored configuration, whose folders are checked when it is made."""
        key = (options, tuple(sorted((config.get("contents") or {}).values())))
        with self._lock:
            if key not in self._kept:
                check_contents(config)
                self._kept[key] = TwoSidedEncoder(options)
            return self._kept[key]

    def close(self, options: EncoderOptions) -> None:
        """Close those of some options; they are made again when a text comes."""
        with self._lock:
            equal = [self._kept.pop(key) for key in list(self._kept) if key[0] == options]
        for encoder in equal:
            encoder.close()


encoders = Encoders()
