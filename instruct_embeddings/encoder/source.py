"""What a model is, told from its files alone: nothing heavy is loaded."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from instruct_embeddings.encoder.hub import Location, locate, require_safetensors
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.settings import (
    EncoderSettings,
    GenericPooling,
    Pooling,
    TemplateSettings,
    parse_template,
)
from instruct_embeddings.errors import CheckpointError, ConfigError, ModelNotFoundError

SETTINGS_FILE = "instruct_encoder.json"
WEIGHTS_FILE = "instruct_encoder.safetensors"
_LONGEST = 8192
# As sentence-transformers writes them, today and formerly.
_POOLINGS: dict[str, GenericPooling] = {
    "mean": "mean",
    "mean_tokens": "mean",
    "cls": "cls",
    "cls_token": "cls",
    "lasttoken": "last_token",
}


@dataclass(frozen=True)
class ModelSource:
    """Everything that has to be loaded for an encoder.

    Attributes:
        model: What the user asked for.
        base: The backbone behind it; the same for a plain Hugging Face model.
        settings: The checkpoint's settings, or those derived from a plain model.
        checkpoint: Whether `model` is a checkpoint of ours.
        causal: Whether the backbone is a causal language model.
        hidden_size: Width of its hidden states.
        adapter: Folder of the LoRA adapter.
        adapter_name: What the user called it.
    """

    model: Location
    base: Location
    settings: EncoderSettings
    checkpoint: bool
    causal: bool
    hidden_size: int
    adapter: Path | None
    adapter_name: str | None

    def width(self, *, instructed: bool, refine_steps: int) -> int:
        """Length of an embedding before it is truncated."""
        wide = instructed and not refine_steps and self.settings.pooling == "dual_anchor_concat"
        return self.hidden_size * (2 if wide else 1)


def find_source(options: EncoderOptions) -> ModelSource:
    """Locate a model and read what it is.

    Raises:
        ModelNotFoundError: It is neither a folder nor in reach.
        CheckpointError: Its files are damaged, foreign or newer than this version.
    """
    model = locate(options.model, options.revision, options)
    file = model.path / SETTINGS_FILE
    if file.is_file():
        settings = EncoderSettings.from_dict(read_json(file), origin=str(file))
        if options.template is not None:
            raise ConfigError(
                f"template={options.template!r}, and {model.name!r} is a checkpoint that was "
                "trained with a template of its own. Leave it out."
            )
        base = _base_of(model, settings, options)
        config = _config(base)
        source = _source(model, base, settings, config)
        return replace(source, checkpoint=True, **_adapter(options, model, settings))
    config = _config(model)
    settings = _plain_settings(model, options, config)
    return replace(_source(model, model, settings, config), **_adapter(options, model, settings))


def read_json(file: Path) -> dict[str, Any]:
    """An object from a JSON file.

    Raises:
        CheckpointError: The file holds something else.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise CheckpointError(f"{str(file)!r} cannot be read as JSON: {exc}") from exc
    if not isinstance(data, dict):
        raise CheckpointError(f"{str(file)!r} holds a {type(data).__name__}, not an object.")
    return data


def _base_of(model: Location, settings: EncoderSettings, options: EncoderOptions) -> Location:
    if settings.backbone:
        return Location(model.name, model.path / "backbone", on_hub=model.on_hub)
    try:
        return locate(settings.base_model, settings.base_revision, options)
    except ModelNotFoundError as exc:
        raise ModelNotFoundError(
            f"The checkpoint {model.name!r} needs its backbone {settings.base_model!r}. {exc} "
            "Checkpoints saved with backbone=True need no other."
        ) from exc


def _adapter(options: EncoderOptions, model: Location, settings: EncoderSettings) -> dict[str, Any]:
    if options.adapter is not None:
        path = locate(options.adapter, None, options).path
        name = options.adapter
    elif settings.adapter:
        path, name = model.path / "adapter", model.name
    else:
        return {}
    if not (path / "adapter_config.json").is_file():
        raise CheckpointError(
            f"{str(path)!r} holds no adapter_config.json, so it is no LoRA adapter of peft. "
            "Pass the folder that `save_pretrained` of peft wrote."
        )
    require_safetensors(path, "The adapter")
    return {"adapter": path, "adapter_name": name}


def _config(base: Location) -> dict[str, Any]:
    file = base.path / "config.json"
    if file.is_file():
        return read_json(file)
    if (base.path / "adapter_config.json").is_file():
        other = read_json(base.path / "adapter_config.json").get("base_model_name_or_path")
        own = base.name if base.on_hub else str(base.path)
        raise CheckpointError(
            f"{base.name!r} is a LoRA adapter, not a model. Pass its backbone as model and the "
            f"adapter beside it: model={other!r}, adapter={own!r}."
        )
    raise CheckpointError(
        f"{str(base.path)!r} holds neither {SETTINGS_FILE} nor config.json. Pass the folder of a "
        "Hugging Face model or of a saved encoder."
    )


def _source(
    model: Location, base: Location, settings: EncoderSettings, config: Mapping[str, Any]
) -> ModelSource:
    keys = ("hidden_size", "n_embd", "d_model", "dim")
    size = next((config[key] for key in keys if key in config), None)
    if not isinstance(size, int):
        raise CheckpointError(
            f"The configuration of {base.name!r} (model type {config.get('model_type')!r}) "
            "names no hidden size. Use a BERT-like encoder or a Llama-like causal model."
        )
    return ModelSource(model, base, settings, False, is_causal(base.name, config), size, None, None)


def is_causal(name: str, config: Mapping[str, Any]) -> bool:
    """Whether a configuration is that of a causal language model.

    Raises:
        CheckpointError: It is neither that nor a bidirectional encoder.
    """
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    kind = config.get("model_type")
    # BART and its kind are both in one, and neither.
    alone = not config.get("is_encoder_decoder")
    # BERT can be loaded as a decoder too; as an encoder is how it is meant.
    if alone and kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not config.get("is_decoder"):
        return False
    if alone and kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        # Some embedding models keep the type of the causal model that they were made from.
        both_ways = config.get("use_bidirectional_attention") or config.get("is_causal") is False
        return not both_ways
    raise CheckpointError(
        f"{name!r} is of the model type {kind!r}, which is neither a causal language model nor a "
        "bidirectional encoder of transformers. Use one such as Qwen, Llama, Mistral, Gemma, "
        "BERT, RoBERTa or ModernBERT."
    )


def _plain_settings(
    model: Location, options: EncoderOptions, config: Mapping[str, Any]
) -> EncoderSettings:
    """Settings of a Hugging Face model that is no checkpoint of ours.

    Pooling and sequence length are those of sentence-transformers where the folder has them.
    """
    causal = is_causal(model.name, config)
    positions = _positions(config)
    pooling = _saved_pooling(model.path) or ("last_token" if causal else "mean")
    instructed: Pooling = pooling
    return EncoderSettings(
        base_model=model.name if model.on_hub else str(model.path),
        base_revision=options.revision,
        pooling=instructed,
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
    known = next((config[key] for key in keys if isinstance(config.get(key), int)), 512)
    # RoBERTa and MPNet count positions from behind the padding id.
    if config.get("model_type") in ("roberta", "xlm-roberta", "camembert", "mpnet"):
        known -= int(config.get("pad_token_id") or 1) + 1
    return min(known, _LONGEST)


def _saved_length(path: Path) -> int | None:
    file = path / "sentence_bert_config.json"
    found = read_json(file).get("max_seq_length") if file.is_file() else None
    return found if isinstance(found, int) else None


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
    modes = [modes] if isinstance(modes, str) else list(modes) or ["mean"]
    if len(modes) == 1 and modes[0] in _POOLINGS:
        return _POOLINGS[modes[0]]
    raise CheckpointError(
        f"{str(file)!r} asks for the pooling {modes}; known here is one of {sorted(_POOLINGS)}. "
        "Use another model."
    )
