"""Models of transformers that are no checkpoints of ours: what their files say."""

from collections.abc import Mapping
from typing import Any

from instruct_embeddings.encoder.compat.sentence_transformers import Folder, is_count
from instruct_embeddings.encoder.files import Location
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.settings import (
    EncoderSettings,
    GenericPooling,
    TemplateSettings,
    parse_template,
)
from instruct_embeddings.errors import CheckpointError

# Where no file of the model says how long a text may be.
_LONGEST = 8192
_MOST_TOKENS = 2**20


def is_causal(name: str, config: Mapping[str, Any]) -> bool:
    """Whether a configuration is that of a causal language model.

    Raises:
        CheckpointError: It is neither that nor a bidirectional encoder.
    """
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    _check_types(name, config)
    kind = config.get("model_type")
    # BART and its kind are both in one, and neither.
    alone = not config.get("is_encoder_decoder")
    # BERT can be loaded as a decoder too; as an encoder is how it is meant.
    if alone and kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not config.get("is_decoder"):
        return False
    own_code = config.get("auto_map") or {}
    if alone and (kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or "AutoModelForCausalLM" in own_code):
        # Some embedding models keep the type of the causal model that they were made from.
        both_ways = config.get("use_bidirectional_attention") or config.get("is_causal") is False
        return not both_ways
    if alone and "AutoModel" in own_code:
        return False
    raise CheckpointError(
        f"{name!r} is of the model type {kind!r}, which is neither a causal language model nor a "
        "bidirectional encoder of transformers. Use one such as Qwen, Llama, Mistral, Gemma, "
        "BERT, RoBERTa or ModernBERT."
    )


def _check_types(name: str, config: Mapping[str, Any]) -> None:
    """Refuse what would be taken for something else further on."""
    kind, own_code = config.get("model_type"), config.get("auto_map")
    if isinstance(kind, str | None) and isinstance(own_code, dict | None):
        return
    raise CheckpointError(
        f"config.json of {name!r} says model_type={kind!r:.60} and auto_map={own_code!r:.60}; they "
        "are a name and an object, or left out. Fetch the model again, or save it again."
    )


def plain_settings(
    model: Location,
    options: EncoderOptions,
    config: Mapping[str, Any],
    folder: Folder,
    *,
    causal: bool,
) -> EncoderSettings:
    """Settings of a Hugging Face model that is no checkpoint of ours.

    Pooling and length are those that sentence-transformers would take. A model may have fewer
    positions than its files say; what is loaded is asked for that (`Backbone.positions`).
    """
    positions = _positions(config)
    pooling = folder.pooling or _usual_pooling(config, causal=causal)
    longest = folder.max_tokens or positions or _LONGEST
    if not folder.max_tokens_are_meant:
        longest = min(longest, positions or longest)
    longest = min(longest, _MOST_TOKENS)
    return EncoderSettings(
        base_model=model.name if model.on_hub else str(model.path),
        base_revision=options.revision,
        pooling=pooling,
        generic_pooling=pooling,
        max_tokens=max(longest, min(positions or _LONGEST, _LONGEST)),
        generic_max_tokens=longest,
        # Where vectors are compared by anything but their directions, lengths count.
        normalize=folder.similarity == "cosine",
        template=_plain_template(options.template, causal),
        plain=True,
    )


def _usual_pooling(config: Mapping[str, Any], *, causal: bool) -> GenericPooling:
    """What sentence-transformers takes where a folder says nothing."""
    names = config.get("architectures") or ["ForCausalLM"]
    last = causal and isinstance(names, list) and str(names[0]).endswith("ForCausalLM")
    return "last_token" if last else "mean"


def _plain_template(asked: str | None, causal: bool) -> TemplateSettings:
    if asked is not None:
        return parse_template(asked)
    return TemplateSettings(between="\n\n", after="\n") if causal else TemplateSettings()


def _positions(config: Mapping[str, Any]) -> int | None:
    """What a configuration says; None where it knows no limit."""
    keys = ("max_position_embeddings", "n_positions", "n_ctx")
    return next((config[key] for key in keys if is_count(config.get(key))), None)
