"""What a model is, from its files alone: nothing heavy is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from instruct_embeddings.encoder.compat.sentence_transformers import WIDEST, Folder, read_folder
from instruct_embeddings.encoder.compat.transformers import is_causal, plain_settings
from instruct_embeddings.encoder.files import Location, locate, read_json, require_safetensors
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.settings import EncoderSettings
from instruct_embeddings.errors import CheckpointError, ConfigError, ModelNotFoundError

SETTINGS_FILE = "instruct_encoder.json"
WEIGHTS_FILE = "instruct_encoder.safetensors"


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
        adapter: The LoRA adapter.
        folder: What the folder of the backbone says of its own embeddings.
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
        return self.folder.width(pooled) if self._follows_folder(instructed) else pooled

    def steps(self, chosen: int | None) -> int:
        """Steps of refinement: those chosen, else what the checkpoint says."""
        return self.settings.refinement.steps if chosen is None else chosen

    def dimension(self, options: EncoderOptions, *, instructed: bool, refine_steps: int) -> int:
        """Length of embeddings under the options of an encoder; for binary ones the number of bits.

        Raises:
            ConfigError: They cannot be truncated or packed as the options say.
        """
        full = self.width(instructed=instructed, refine_steps=refine_steps)
        saved = self.folder.truncate_dim if self._follows_folder(instructed) else None
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

    def _follows_folder(self, instructed: bool) -> bool:
        return self.settings.plain or not instructed


def find_source(options: EncoderOptions) -> ModelSource:
    """Locate a model and read what it is.

    Raises:
        ModelNotFoundError: It is neither a folder nor in reach.
        CheckpointError: Its files are damaged, unknown or newer than this version.
    """
    model = locate(options.model, options.revision, options)
    saved = _saved_settings(model, options)
    base = model if saved is None else _base_of(model, saved, options)
    config = _config(base)
    causal = is_causal(base.name, config)
    folder = read_folder(base.path)
    settings = saved or plain_settings(model, options, config, folder, causal=causal)
    return ModelSource(
        model=model,
        base=base,
        settings=settings,
        checkpoint=saved is not None,
        causal=causal,
        hidden_size=_hidden_size(base, config),
        adapter=_adapter(options, model, settings),
        folder=folder,
    )


def _saved_settings(model: Location, options: EncoderOptions) -> EncoderSettings | None:
    file = model.path / SETTINGS_FILE
    if not file.is_file():
        return None
    settings = EncoderSettings.from_dict(read_json(file), origin=str(file))
    if options.template is not None:
        raise ConfigError(
            f"template={options.template!r}, and {model.name!r} is a checkpoint that was "
            "trained with a template of its own. Leave it out."
        )
    return settings


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


def _adapter(
    options: EncoderOptions, model: Location, settings: EncoderSettings
) -> Location | None:
    if options.adapter is not None:
        found = locate(options.adapter, None, options)
    elif settings.adapter:
        found = Location(model.name, model.path / "adapter", on_hub=model.on_hub)
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
