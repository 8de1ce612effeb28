"""Heads of masked language models, which every family names and builds in its own way."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from instruct_embeddings.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

Head = Callable[["Tensor"], "Tensor"]


def masked_lm_head(model: "PreTrainedModel") -> Head:
    """Logits from hidden states, (b, d) -> (b, v), with the head of the checkpoint.

    Raises:
        ConfigError: The model has no masked-language-model head that is known here.
    """
    known: Any = model
    if hasattr(known, "cls"):  # BERT
        return known.cls  # type: ignore[no-any-return]
    if hasattr(known, "lm_head"):  # RoBERTa, MPNet
        return known.lm_head  # type: ignore[no-any-return]
    if hasattr(known, "head") and hasattr(known, "decoder"):  # ModernBERT
        return lambda hidden: known.decoder(known.head(hidden))
    raise ConfigError(
        f"{type(model).__name__} has no masked-language-model head that is known here (BERT, "
        'RoBERTa, MPNet, ModernBERT). Use head="tied" in the refinement settings.'
    )
