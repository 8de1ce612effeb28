"""Hugging Face models that are no checkpoints of ours: what their files say."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from instruct_embeddings._reading import brief
from instruct_embeddings.encoder.files import read_json, read_json_value
from instruct_embeddings.encoder.hub import Location
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.settings import (
    EncoderSettings,
    GenericPooling,
    TemplateSettings,
    parse_template,
)
from instruct_embeddings.errors import CheckpointError

_LONGEST = 8192
# As sentence-transformers writes them, today and formerly.
_POOLINGS: dict[str, GenericPooling] = {
    "mean": "mean",
    "mean_tokens": "mean",
    "cls": "cls",
    "cls_token": "cls",
    "lasttoken": "last_token",
}


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
    model: Location, options: EncoderOptions, config: Mapping[str, Any], *, causal: bool
) -> EncoderSettings:
    """Settings of a Hugging Face model that is no checkpoint of ours.

    Pooling and sequence length are those of sentence-transformers where the folder has them.

    Raises:
        CheckpointError: It has modules that are not known here.
    """
    _check_modules(model.path)
    positions = _positions(config)
    pooling = _saved_pooling(model.path) or ("last_token" if causal else "mean")
    return EncoderSettings(
        base_model=model.name if model.on_hub else str(model.path),
        base_revision=options.revision,
        pooling=pooling,
        generic_pooling=pooling,
        max_tokens=positions,
        generic_max_tokens=min(_saved_length(model.path) or positions, positions),
        template=_plain_template(options.template, causal),
    )


def _plain_template(asked: str | None, causal: bool) -> TemplateSettings:
    if asked is not None:
        return parse_template(asked)
    return TemplateSettings(between="\n\n", after="\n") if causal else TemplateSettings()


def _positions(config: Mapping[str, Any]) -> int:
    keys = ("max_position_embeddings", "n_positions", "n_ctx")
    known = next((config[key] for key in keys if _is_number(config.get(key))), 512)
    # RoBERTa and MPNet count positions from behind the padding id.
    if config.get("model_type") in ("roberta", "xlm-roberta", "camembert", "mpnet"):
        padding = config.get("pad_token_id")
        known -= (padding if _is_number(padding) else 1) + 1
    return max(1, min(known, _LONGEST))


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _check_modules(path: Path) -> None:
    """Refuse layers behind the pooling: embeddings without them would be others."""
    file = path / "modules.json"
    if not file.is_file():
        return
    try:
        names = [str(module["type"]).rpartition(".")[2] for module in read_json_value(file)]
    except (TypeError, KeyError) as exc:
        raise CheckpointError(
            f"{str(file)!r} is no list of modules ({brief(exc)}). Fetch the model again, or save "
            "it again."
        ) from exc
    if unknown := sorted(set(names) - {"Transformer", "Pooling", "Normalize"}):
        raise CheckpointError(
            f"{str(file)!r} has the modules {unknown}, which are not known here; known are "
            "Transformer, Pooling and Normalize. Use another model."
        )


def _saved_length(path: Path) -> int | None:
    file = path / "sentence_bert_config.json"
    found = read_json(file).get("max_seq_length") if file.is_file() else None
    return found if _is_number(found) else None


def _saved_pooling(path: Path) -> GenericPooling | None:
    file = path / "1_Pooling" / "config.json"
    if not file.is_file():
        return None
    saved = read_json(file)
    # Newer files name the mode or several, older ones have a flag for each.
    modes = saved.get("pooling_mode")
    if modes is None:
        prefix = "pooling_mode_"
        modes = [key.removeprefix(prefix) for key in saved if key.startswith(prefix) and saved[key]]
    modes = modes if isinstance(modes, list) else [modes]
    modes = modes or ["mean"]
    if len(modes) == 1 and isinstance(modes[0], str) and modes[0] in _POOLINGS:
        return _POOLINGS[modes[0]]
    raise CheckpointError(
        f"{str(file)!r} asks for the pooling {modes!s:.80}; known here is one of "
        f"{sorted(_POOLINGS)}. Use another model."
    )
