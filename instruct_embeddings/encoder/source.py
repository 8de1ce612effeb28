"""What a model is, from its files alone: nothing heavy is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from instruct_embeddings.encoder.files import Location, locate, read_json, require_safetensors
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.sentence_transformers import (
    WIDEST,
    Folder,
    is_count,
    read_folder,
)
from instruct_embeddings.encoder.settings import (
    EncoderSettings,
    TemplateSettings,
    parse_template,
)
from instruct_embeddings.errors import CheckpointError, ConfigError, ModelNotFoundError

SETTINGS_FILE = "instruct_encoder.json"
WEIGHTS_FILE = "instruct_encoder.safetensors"
# Where no file of the model says how long a text may be.
_LONGEST = 8192
_MOST_TOKENS = 2**20


@dataclass(frozen=True)
class ModelSource:
    """Everything that has to be loaded for an encoder.

    `model` is what was asked for, `base` the backbone behind it (the same for a plain Hugging Face
    model); `settings` are the checkpoint's, or derived from a plain model; `folder` is what the
    files of the backbone say of its own embeddings.
    """

    model: Location
    base: Location
    settings: EncoderSettings
    checkpoint: bool
    causal: bool
    hidden_size: int
    adapter: Location | None
    folder: Folder = field(default_factory=Folder)

    def width(self, *, instructed: bool, refine_steps: int) -> int:
        """Length of an embedding before it is truncated by the options."""
        wide = instructed and not refine_steps and self.settings.pooling == "dual_anchor_concat"
        pooled = self.hidden_size * (2 if wide else 1)
        return self.folder.width(pooled) if self.settings.follows_folder(instructed) else pooled

    def steps(self, chosen: int | None) -> int:
        """Steps of refinement: those chosen, else what the checkpoint says."""
        return self.settings.refinement.steps if chosen is None else chosen

    def dimension(self, options: EncoderOptions, *, instructed: bool, refine_steps: int) -> int:
        """Length of embeddings under the options of an encoder; for binary ones the number of bits.

        Raises:
            ConfigError: They cannot be truncated or packed as the options say.
        """
        full = self.width(instructed=instructed, refine_steps=refine_steps)
        saved = self.folder.truncate_dim if self.settings.follows_folder(instructed) else None
        wanted = options.truncate_dim or min(saved or full, full)
        if wanted > full:
            raise ConfigError(
                f"truncate_dim={wanted}, and the embeddings of {self.model.name!r} have "
                f"{full} dimensions. Use a number from 1 to {full}."
            )
        if options.precision == "binary" and wanted % 8:
            raise ConfigError(
                f"precision='binary' packs 8 dimensions into a byte, and there are {wanted}. "
                "Use truncate_dim to cut to a multiple of 8."
            )
        return wanted


def find_source(options: EncoderOptions) -> ModelSource:
    """Locate a model and read what it is.

    Raises:
        ModelNotFoundError: It is neither a folder nor in reach.
        CheckpointError: Its files are damaged, unknown or newer than this version.
    """
    model = locate(options.address, options.revision, options)
    file, settings = model.path / SETTINGS_FILE, None
    if file.is_file():
        settings = EncoderSettings.from_dict(read_json(file), origin=str(file))
        if options.template is not None:
            raise ConfigError(
                f"template={options.template!r}, and {model.name!r} is a checkpoint that was "
                "trained with a template of its own. Leave it out."
            )
    base = model if settings is None else _base_of(model, settings, options)
    config = _config(base)
    causal, folder = is_causal(base.name, config), read_folder(base.path)
    return ModelSource(
        model=model,
        base=base,
        settings=settings or _plain_settings(model, options, config, folder, causal=causal),
        checkpoint=settings is not None,
        causal=causal,
        hidden_size=_hidden_size(base, config),
        adapter=_adapter(options, model, settings),
        folder=folder,
    )


def _base_of(model: Location, settings: EncoderSettings, options: EncoderOptions) -> Location:
    if settings.backbone:
        return replace(model, path=model.path / "backbone")
    try:
        return locate(settings.base_model, settings.base_revision, options)
    except ModelNotFoundError as exc:
        raise ModelNotFoundError(
            f"The checkpoint {model.name!r} needs its backbone {settings.base_model!r}. {exc} "
            "Checkpoints saved with backbone=True need no other."
        ) from exc


def _adapter(
    options: EncoderOptions, model: Location, settings: EncoderSettings | None
) -> Location | None:
    if options.adapter is not None:
        found = locate(options.adapter, None, options)
    elif settings is not None and settings.adapter:
        found = replace(model, path=model.path / "adapter")
    else:
        return None
    if not (found.path / "adapter_config.json").is_file():
        raise CheckpointError(
            f"{str(found.path)!r} holds no adapter_config.json, so it is no LoRA adapter of peft. "
            "Pass the folder that `save_pretrained` of peft wrote."
        )
    require_safetensors(found.path, "The adapter")
    return found


def _config(base: Location) -> dict[str, Any]:
    if (base.path / "config.json").is_file():
        return read_json(base.path / "config.json")
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


def _hidden_size(base: Location, config: Mapping[str, Any]) -> int:
    keys = ("hidden_size", "n_embd", "d_model", "dim")
    size = next((config[key] for key in keys if key in config), None)
    if not isinstance(size, int) or not 0 < size <= WIDEST:
        raise CheckpointError(
            f"The configuration of {base.name!r} (model type {config.get('model_type')!r}) "
            f"names no hidden size of 1 to {WIDEST:,}. Use a BERT-like encoder or a Llama-like "
            "causal model."
        )
    return size


def is_causal(name: str, config: Mapping[str, Any]) -> bool:
    """Whether a configuration is that of a causal language model.

    Raises:
        CheckpointError: It is neither that nor a bidirectional encoder.
    """
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    kind, own_code = config.get("model_type"), config.get("auto_map") or {}
    if not isinstance(kind, str | None) or not isinstance(own_code, dict):
        raise CheckpointError(
            f"config.json of {name!r} says model_type={kind!r:.60} and auto_map={own_code!r:.60}; "
            "they are a name and an object, or left out. Fetch the model again."
        )
    # BART and its kind are both in one, and neither.
    alone = not config.get("is_encoder_decoder")
    # BERT can be loaded as a decoder too; as an encoder is how it is meant.
    if alone and kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not config.get("is_decoder"):
        return False
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


def _plain_settings(
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
    keys = ("max_position_embeddings", "n_positions", "n_ctx")
    positions = next((config[key] for key in keys if is_count(config.get(key))), None)
    longest = folder.max_tokens or positions or _LONGEST
    if not folder.max_tokens_are_meant:
        longest = min(longest, positions or longest)
    longest = min(longest, _MOST_TOKENS)
    # What sentence-transformers takes where a folder says nothing.
    names = config.get("architectures") or ["ForCausalLM"]
    last = causal and isinstance(names, list) and str(names[0]).endswith("ForCausalLM")
    pooling = folder.pooling or ("last_token" if last else "mean")
    if options.template is not None:
        template = parse_template(options.template)
    else:
        template = TemplateSettings(between="\n\n", after="\n") if causal else TemplateSettings()
    return EncoderSettings(
        base_model=model.address,
        base_revision=options.revision,
        pooling=pooling,
        generic_pooling=pooling,
        max_tokens=max(longest, min(positions or _LONGEST, _LONGEST)),
        generic_max_tokens=longest,
        # Where vectors are compared by anything but their directions, lengths count.
        normalize=folder.similarity == "cosine",
        template=template,
        plain=True,
    )
