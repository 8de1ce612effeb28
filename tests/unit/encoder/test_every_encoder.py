"""Every text encoder that transformers offers: read as transformers reads it, or refused by name.

Types are taken from transformers itself, so a release that brings one is tested with it.
"""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoModel, AutoTokenizer, BertTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES,
)

from instruct_embeddings.encoder import InstructEncoder
from instruct_embeddings.errors import CheckpointError
from tests.models import WORDS, quiet

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(300),
]

TYPES = sorted({*MODEL_FOR_MASKED_LM_MAPPING_NAMES, *MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES})
# The padding id is not 0, so whoever counts from behind it is found out.
UNMADE = (ValueError, TypeError, AttributeError, ImportError, RuntimeError)
SPECIAL = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]"]
LONG = "every blue ball " * 40
TEXTS = ["the red ball sits on the table", "a cube", LONG, "round green cube"]
# Names of one thing in different configurations; each takes those it knows.
SIZES: dict[str, Any] = {
    "vocab_size": len(SPECIAL) + len(WORDS),
    "max_position_embeddings": 40,
    "type_vocab_size": 2,
    "initializer_range": 0.3,
    "num_key_value_heads": 1,
    "num_hidden_groups": 1,
    "attention_window": 4,
    "trigram_input": False,
    "block_sizes": [1, 1],
    **{
        f"{name}_token_id": place for place, name in enumerate(("unk", "pad", "bos", "eos", "mask"))
    },
    "cls_token_id": 2,
    "sep_token_id": 3,
    **dict.fromkeys(("hidden_size", "dim", "emb_dim", "embedding_size", "d_model"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layers", "num_layers", "encoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_heads", "num_heads", "n_head"), 2),
    **dict.fromkeys(("intermediate_size", "hidden_dim", "d_ff", "d_inner", "d_embed"), 64),
    **dict.fromkeys(("head_dim", "d_kv", "d_head", "attention_head_size"), 16),
}
SPECIAL_SIZES: dict[str, dict[str, Any]] = {
    "esm": {"position_embedding_type": "absolute"},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "mobilebert": {"intra_bottleneck_size": 32},
}
# Most positions of a table of 40, by where the model begins.
FROM_THE_FIRST = ("albert", "bert", "electra", "distilbert", "ernie", "megatron-bert", "rembert")
BEHIND_PADDING = (
    "camembert",
    "data2vec-text",
    "ibert",
    "longformer",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
)
WITHOUT_A_TABLE = ("eurobert", "modernbert")
READ = {*FROM_THE_FIRST, *BEHIND_PADDING, *WITHOUT_A_TABLE, "roformer", "squeezebert"}


def build(kind: str, folder: Path) -> Path:
    """A tiny random model of a type, with a tokenizer; skips types that cannot be made tiny."""
    made = CONFIG_MAPPING[kind]
    sizes = SIZES | SPECIAL_SIZES.get(kind, {})
    known = {*inspect.signature(made).parameters, *made.attribute_map, *_fields(made)}
    try:
        config = made(**{key: value for key, value in sizes.items() if key in known})
        torch.manual_seed(0)
        with quiet():
            with torch.device("meta"):  # counted before any memory is taken
                size = sum(part.numel() for part in AutoModel.from_config(config).parameters())
            if size > 10_000_000:
                pytest.skip(f"{kind} cannot be made tiny by its usual sizes")
            model = AutoModel.from_config(config)
            model.save_pretrained(folder)
    except (*UNMADE, StrictDataclassError) as exc:
        if kind in READ:
            raise
        pytest.skip(f"{kind} needs more than the usual sizes: {exc!s:.80}")
    (folder / "vocab.txt").write_text("\n".join(SPECIAL + WORDS), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def _fields(kind: Any) -> set[str]:
    return {name for base in kind.__mro__ for name in getattr(base, "__annotations__", {})}


def plain(folder: Path, longest: int) -> np.ndarray[Any, Any]:
    """Mean of the states of each text on its own, as transformers gives them."""
    tokenizer, rows = AutoTokenizer.from_pretrained(folder), []
    with quiet():
        model = AutoModel.from_pretrained(folder).eval()
    takes = inspect.signature(model.forward).parameters
    for text in TEXTS:
        read = tokenizer([text], return_tensors="pt", truncation=True, max_length=longest)
        with torch.no_grad():
            states = model(**{key: value for key, value in read.items() if key in takes})
        rows.append(states.last_hidden_state[0].mean(0))
    return torch.stack(rows).numpy()


@pytest.mark.parametrize("kind", TYPES)
def test_it_is_read_as_transformers_reads_it_or_refused(kind: str, tmp_path: Path) -> None:
    folder = build(kind, tmp_path)
    try:
        with InstructEncoder.from_pretrained(folder, normalize=False, device="cpu") as encoder:
            found = encoder.encode(TEXTS)
            model = encoder._load().model
    except CheckpointError as exc:
        if kind in READ or f"{kind!r}" not in str(exc):
            raise
        return
    if kind in FROM_THE_FIRST:
        assert model.backbone.positions == 40
    if kind in BEHIND_PADDING:
        assert model.backbone.positions == 38
    if kind in WITHOUT_A_TABLE:
        assert model.backbone.positions is None
    expected = plain(folder, model.settings.generic_max_tokens)
    off = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert off.max() < 1e-4
