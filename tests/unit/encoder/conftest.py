"""Tiny encoders of every architecture, and the plain transformers models behind them."""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import normalize
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoTokenizer,
    PreTrainedModel,
)

from instruct_embeddings.encoder import InstructEncoder, loading
from instruct_embeddings.encoder.checkpoint import create_checkpoint
from instruct_embeddings.encoder.model import InstEmb
from instruct_embeddings.encoder.settings import EncoderSettings, Pooling
from instruct_embeddings.encoder.source import WEIGHTS_FILE
from instruct_embeddings.encoder.template import Template
from tests.models import build_model, quiet, tiny_checkpoint

BIDIRECTIONAL = ("bert", "roberta", "modernbert", "distilbert", "mpnet")
CAUSAL = ("qwen2", "qwen3", "llama", "mistral", "gemma", "gemma2", "gemma3_text", "gpt2", "bloom")
KINDS = BIDIRECTIONAL + CAUSAL
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
CLS, SEP = 2, 3
MAX_TOKENS = 100
# Windows of attention shorter than most texts.
_WINDOWS = {
    "mistral": {"sliding_window": 6},
    "gemma2": {"sliding_window": 6},
    "gemma3_text": {"sliding_window": 6},
    "modernbert": {"local_attention": 4},
}


class Shelf:
    """Models and encoders, each built when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[Any, Any] = {}

    def model(self, kind: str) -> Path:
        """A Hugging Face model with random weights, small enough that rounding does not grow."""
        return self._once(("model", kind), lambda: self._build(kind))  # type: ignore[no-any-return]

    def raw(self, kind: str) -> PreTrainedModel:
        """The model behind an encoder, as transformers loads it, with its language-model head."""
        auto = AutoModelForCausalLM if kind in CAUSAL else AutoModelForMaskedLM

        def load() -> Any:
            with quiet():
                return auto.from_pretrained(self.model(kind)).eval().requires_grad_(False)

        return self._once(("raw", kind), load)  # type: ignore[no-any-return]

    def checkpoint(
        self,
        kind: str,
        pooling: str = "dual_anchor",
        /,
        *,
        soft_prompts: int = 3,
        **refinement: Any,
    ) -> Path:
        """A checkpoint whose pooler is not at its neutral start.

        Args:
            kind: Of the model.
            pooling: Over the input.
            soft_prompts: Their number.
            refinement: Settings of refinement; `pooling` among them is that of generated positions.
        """
        key = ("checkpoint", kind, pooling, soft_prompts, *sorted(refinement.items()))

        def build() -> Path:
            folder = self._folder / f"checkpoint-{len(self._kept)}"
            data = EncoderSettings(str(self.model(kind))).to_dict()
            data |= {"pooling": pooling, "soft_prompts": soft_prompts, "heads": 2, "latents": 4}
            data |= {"max_tokens": MAX_TOKENS, "generic_max_tokens": MAX_TOKENS}
            data["refinement"] |= refinement
            create_checkpoint(folder, EncoderSettings.from_dict(data), seed=1)
            tensors = load_file(folder / WEIGHTS_FILE)
            save_file(_stirred(tensors), folder / WEIGHTS_FILE, metadata={"format": "pt"})
            return folder

        return self._once(key, build)  # type: ignore[no-any-return]

    def encoder(
        self,
        kind: str,
        pooling: str = "dual_anchor",
        /,
        *,
        soft_prompts: int = 3,
        **refinement: Any,
    ) -> InstructEncoder:
        """An encoder of such a checkpoint; it keeps its model in memory."""
        folder = self.checkpoint(kind, pooling, soft_prompts=soft_prompts, **refinement)
        return self._once(  # type: ignore[no-any-return]
            ("encoder", folder), lambda: InstructEncoder.from_pretrained(folder, device="cpu")
        )

    def parts(self, encoder: InstructEncoder) -> tuple[InstEmb, Template]:
        """The module and the template of an encoder."""
        loaded = encoder._load()
        return loaded.model, loaded.template

    def soft_prompts(self, folder: Path) -> Tensor:
        """Those that a checkpoint holds, shape (p, d)."""
        return load_file(folder / WEIGHTS_FILE)["soft_prompts"]

    def ids(self, kind: str, text: str, instruction: str) -> list[int]:
        """Token ids of a row, put together by hand."""
        tokenizer = self._once(
            ("tokenizer", kind), lambda: AutoTokenizer.from_pretrained(self.model(kind))
        )
        first, second = (
            tokenizer(part, add_special_tokens=False)["input_ids"] for part in (text, instruction)
        )
        if kind in CAUSAL:
            return [*first, *second]
        return [CLS, *first, SEP, *second, SEP]

    def clear(self) -> None:
        """Let everything go."""
        self._kept.clear()

    def _build(self, kind: str) -> Path:
        folder = self._folder / kind
        build_model(folder, kind, **({"initializer_range": 0.2} | _WINDOWS.get(kind, {})))
        if kind == "bert":  # which the builder saves without a head
            with quiet():
                model = AutoModelForMaskedLM.from_config(AutoConfig.from_pretrained(folder))
                model.save_pretrained(folder)
        return folder

    def _once(self, key: Any, build: Callable[[], Any]) -> Any:
        if key not in self._kept:
            self._kept[key] = build()
        return self._kept[key]


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """Shared by all tests of encoders."""
    made = Shelf(tmp_path_factory.mktemp("encoders"))
    yield made
    # Each model that is let go collects garbage; frozen, what was imported is not searched again.
    gc.freeze()
    made.clear()
    gc.unfreeze()


def unit(rows: Tensor) -> Tensor:
    """Rows of length 1."""
    return normalize(rows, dim=-1)


def _stirred(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Poolers start with zeros that switch most of them off; here every part counts."""
    generator = torch.Generator().manual_seed(2)
    return {
        name: value + 0.2 * torch.randn(value.shape, generator=generator)
        if name.startswith("pooler.")
        else value
        for name, value in tensors.items()
    }


@pytest.fixture
def encoder() -> Iterator[InstructEncoder]:
    with InstructEncoder.from_pretrained(tiny_checkpoint(), device="cpu") as found:
        yield found


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch, nothing_loaded: None) -> list[Any]:
    """A record of every time that weights are loaded."""
    calls: list[Any] = []
    load = loading.load_model

    def counted(*arguments: Any) -> Any:
        calls.append(arguments)
        return load(*arguments)

    monkeypatch.setattr(loading, "load_model", counted)
    return calls
