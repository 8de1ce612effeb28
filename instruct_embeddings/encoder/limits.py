"""What the files of a model may ask for, looked at before anything is allocated or imported.

Configurations name sizes, code and other files. The libraries that build models believe them: a
file of a few hundred bytes can ask for more memory than there is, or for a module to import.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from instruct_embeddings._reading import MAX_HEADER_BYTES, brief, parse_json
from instruct_embeddings.encoder.files import read_json
from instruct_embeddings.encoder.settings import EncoderSettings
from instruct_embeddings.errors import CheckpointError

ADAPTER_WEIGHTS = "adapter_model.safetensors"
MAX_TOKENS = 2**20
# Vocabularies of a quarter of a million tokens take some ten million bytes.
MAX_TEXT_BYTES = 128 * 1024 * 1024
_TEXTS = (".json", ".txt", ".model", ".jinja")
# Of packed weights a byte holds two; no more are allocated than the files could fill.
_PARAMETERS_PER_BYTE = 4
# What small models hold besides their weights, such as masks, may take more than these.
_FEWEST_PARAMETERS = 2**24
_LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "num_experts")
_FEWEST_LAYERS = 256
_WORDS = "vocab_size"
_NUMBER = re.compile(r"^num_|_(eps|size|layers|heads|dim)$")
# Sizes of windows may be negative, for none; these count something.
_COUNT = re.compile(r"_(layers|heads)$|^n_(layer|head)s?$")
_LARGEST_SCALE = 1_000_000
_WHAT_TO_DO = "Fetch the model again, or use one from a source that you trust."


def shapes_of(file: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors in a safetensors file, from its header alone.

    Raises:
        CheckpointError: The file has no such header, or a longer one than any model needs.
    """
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > MAX_HEADER_BYTES:
                raise ValueError(f"its header has {length:,} bytes of {MAX_HEADER_BYTES:,} allowed")
            header = parse_json(stream.read(length))
        tensors = {name: about for name, about in header.items() if name != "__metadata__"}
        end = max((int(about["data_offsets"][1]) for about in tensors.values()), default=0)
        size = file.stat().st_size
        if size != 8 + length + end:
            raise ValueError(f"it has {size:,} bytes; its header says {8 + length + end:,}")
        return {name: tuple(map(int, about["shape"])) for name, about in tensors.items()}
    except (OSError, ValueError, TypeError, AttributeError, LookupError, OverflowError) as exc:
        raise CheckpointError(
            f"{str(file)!r} cannot be read as safetensors ({brief(exc)}). {_WHAT_TO_DO}"
        ) from exc


def check_folder(path: Path, config: Mapping[str, Any], *, trusted: bool) -> None:
    """Refuse the folder of a backbone that would make transformers do more than read it.

    Args:
        path: The folder.
        config: Its config.json.
        trusted: Whether the user trusts its code.

    Raises:
        CheckpointError: It names files elsewhere, code on the model hub, an adapter that would be
            put on unasked, words for numbers, or more layers than it has tensors.
    """
    for index in path.glob("*.safetensors.index.json"):
        named = read_json(index).get("weight_map")
        for name in named.values() if isinstance(named, dict) else [named]:
            if not isinstance(name, str) or Path(name).name != name:
                raise CheckpointError(
                    f"{str(index)!r} names {name!r:.80}, which is no file beside it. {_WHAT_TO_DO}"
                )
    if (path / "adapter_config.json").is_file():
        raise CheckpointError(
            f"{str(path)!r} holds an adapter_config.json beside its config.json, so that it is not "
            "clear what is to be loaded. Pass the folder of the model as model and that of the "
            "LoRA adapter as adapter."
        )
    if not trusted:
        _check_kernels(path, config)
    _check_numbers(path, config)
    _check_layers(path, config)


def check_texts(path: Path) -> None:
    """Refuse vocabularies and configurations larger than any, as they are read as a whole.

    Raises:
        CheckpointError: A file is too large, or it is a pipe or a device.
    """
    for file in (one for one in path.iterdir() if one.suffix in _TEXTS):
        try:
            size = file.stat().st_size
        except OSError as exc:  # a link to itself, or to nothing
            raise CheckpointError(
                f"{str(file)!r} cannot be read ({exc.strerror or exc}). {_WHAT_TO_DO}"
            ) from exc
        if size > MAX_TEXT_BYTES or not file.is_file():
            raise CheckpointError(
                f"{str(file)!r} has {size:,} bytes or is no file; of files at most "
                f"{MAX_TEXT_BYTES:,} are read. {_WHAT_TO_DO}"
            )


def _check_kernels(path: Path, config: Mapping[str, Any]) -> None:
    """Names such as "kernels-community/flash-attn3" are fetched from the hub and run."""
    for key, value in _entries(config):
        if key.endswith("implementation") and "/" in str(value):
            raise CheckpointError(
                f"config.json in {str(path)!r} asks for the code {value!r:.80} ({key}). Code that "
                "a model names is not run. Choose attn_implementation yourself and remove that "
                "line, or pass trust_remote_code=True where you trust the model."
            )


def _check_numbers(path: Path, config: Mapping[str, Any]) -> None:
    """Some versions of transformers find out only when a text is read."""
    for key, value in _entries(config):
        negative = isinstance(value, (int, float)) and value < 0 and _COUNT.search(key)
        if negative or (isinstance(value, str) and _NUMBER.search(key)):
            raise CheckpointError(
                f"The model in {str(path)!r} cannot be loaded: config.json says "
                f"{key}={value!r:.80}, where a number {'from 0 on ' * bool(negative)}belongs. "
                f"{_WHAT_TO_DO}"
            )


def _check_layers(path: Path, config: Mapping[str, Any]) -> None:
    """Layers are Python objects, made before any weight is looked for."""
    tensors = sum(len(shapes_of(file)) for file in path.glob("*.safetensors"))
    most = max(_FEWEST_LAYERS, tensors)
    for key, value in _entries(config):
        if key in _LAYERS and isinstance(value, int) and value > most:
            raise CheckpointError(
                f"config.json in {str(path)!r} says {key}={value}, and its weights are {tensors} "
                f"tensors. {_WHAT_TO_DO}"
            )


def _entries(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys and values, those of nested objects too."""
    for key, value in config.items():
        yield key, value
        if isinstance(value, Mapping):
            yield from _entries(value)


def check_tokens(path: Path, ids: Mapping[str, int | None]) -> None:
    """Refuse a tokenizer that writes tokens which the model has no vector for.

    Args:
        path: The folder of the model.
        ids: Special tokens, by what they are for.

    Raises:
        CheckpointError: One of them is past the end of the vocabulary.
    """
    sizes = [value for key, value in _entries(read_json(path / "config.json")) if key == _WORDS]
    known = max((size for size in sizes if isinstance(size, int)), default=None)
    for name, number in ids.items():
        if known is not None and number is not None and number >= known:
            raise CheckpointError(
                f"The tokenizer in {str(path)!r} writes {name} as token {number:,}, and the model "
                f"has {known:,} tokens. Take the tokenizer that was saved with the model, or give "
                f"{name} a token of its vocabulary in tokenizer_config.json."
            )


def check_parameters(path: Path, skeleton: nn.Module) -> None:
    """Refuse a model with more parameters than the weights beside it could fill.

    Args:
        path: The folder of the model.
        skeleton: The model on torch's `meta` device, where nothing takes memory.

    Raises:
        CheckpointError: They are too many.
    """
    parts = [*skeleton.parameters(), *skeleton.buffers()]
    count, size = sum(part.numel() for part in parts), _size_of_weights(path)
    if count > max(_FEWEST_PARAMETERS, _PARAMETERS_PER_BYTE * size):
        raise CheckpointError(
            f"config.json in {str(path)!r} asks for {count:,} parameters, and its weights have "
            f"{size:,} bytes. {_WHAT_TO_DO}"
        )


def _size_of_weights(path: Path) -> int:
    return sum(file.stat().st_size for file in path.glob("*.safetensors"))


def check_settings(file: Path, settings: EncoderSettings, hidden_size: int) -> None:
    """Refuse settings of a checkpoint that its weights do not bear.

    Args:
        file: The weights of soft prompts and pooler.
        settings: What lies beside them.
        hidden_size: Of the backbone.

    Raises:
        CheckpointError: The weights are damaged, or the settings say other sizes.
    """
    shapes = shapes_of(file)
    found, wanted = shapes.get("soft_prompts"), (settings.soft_prompts, hidden_size)
    if found is not None and found != wanted:
        raise CheckpointError(
            f"soft_prompts in {str(file)!r} has the shape {found}; its settings and the backbone "
            f"ask for {wanted}. Use the backbone and the settings that it was trained with."
        )
    longest = max((size for shape in shapes.values() for size in shape), default=0)
    learned = settings.latents if settings.pooling == "latent_attention" else 0
    if learned > longest or settings.soft_prompts > longest or settings.max_tokens > MAX_TOKENS:
        raise CheckpointError(
            f"The settings of {str(file)!r} say latents={settings.latents}, soft_prompts="
            f"{settings.soft_prompts}, max_tokens={settings.max_tokens}. No axis of its weights is "
            f"longer than {longest}, and rows have at most {MAX_TOKENS:,} tokens. {_WHAT_TO_DO}"
        )


def check_adapter(path: Path) -> None:
    """Refuse an adapter that is no LoRA adapter in safetensors.

    Raises:
        CheckpointError: It is of another kind, pickled, names a module to import, repeats layers,
            or says a rank that its weights do not have.
    """
    file = path / ADAPTER_WEIGHTS
    if not file.is_file():
        others = sorted(one.name for one in path.glob("adapter_model.*"))
        raise CheckpointError(
            f"The adapter in {str(path)!r} has no {ADAPTER_WEIGHTS}, but {others}. Only "
            "safetensors are read: save it again with safe_serialization."
        )
    config = read_json(path / "adapter_config.json")
    # One names a module to import, the other repeats layers any number of times.
    brought = [name for name in ("megatron_config", "layer_replication") if config.get(name)]
    if config.get("peft_type") != "LORA" or brought:
        raise CheckpointError(
            f"The adapter in {str(path)!r} is of the type {config.get('peft_type')!r:.60} and "
            f"brings {brought}. Only plain LoRA adapters are read: pass one of these."
        )
    longest = max((size for shape in shapes_of(file).values() for size in shape), default=0)
    ranks = _all_of(config, "r", "rank_pattern")
    scales = _all_of(config, "lora_alpha", "alpha_pattern")
    if not all(type(rank) is int and 0 < rank <= longest for rank in ranks):
        raise CheckpointError(
            f"The adapter in {str(path)!r} says the rank {config.get('r')!r:.60}, and no axis of "
            f"its weights is longer than {longest}. {_WHAT_TO_DO}"
        )
    if not all(type(scale) in (int, float) and abs(scale) <= _LARGEST_SCALE for scale in scales):
        raise CheckpointError(
            f"The adapter in {str(path)!r} says lora_alpha={config.get('lora_alpha')!r:.60}, which "
            f"is no number of at most {_LARGEST_SCALE:,}. {_WHAT_TO_DO}"
        )


def _all_of(config: Mapping[str, Any], name: str, pattern: str) -> list[Any]:
    """What holds for all layers, and for some."""
    some = config.get(pattern) or {}
    return [config.get(name), *(some.values() if isinstance(some, Mapping) else [some])]
