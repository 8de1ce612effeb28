"""What the files of a model may ask for, checked before anything is allocated or imported.

Configurations name sizes, code and other files. The libraries that build models believe them: a
file of a few hundred bytes can ask for more memory than there is, or for a module to import.
Every check raises `CheckpointError`.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instruct_embeddings._reading import MAX_HEADER_BYTES, brief, parse_json
from instruct_embeddings.encoder.files import read_json
from instruct_embeddings.encoder.settings import EncoderSettings
from instruct_embeddings.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor, nn

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
_NUMBER = re.compile(r"^num_|_(eps|size|layers|heads|dim)$")
# Sizes of windows may be negative, for none; these count something.
_COUNT = re.compile(r"_(layers|heads)$|^n_(layer|head)s?$")
_LARGEST_SCALE = 1_000_000


def _refuse(what: str) -> CheckpointError:
    return CheckpointError(
        f"{what}. Fetch the model again, or use one from a source that you trust."
    )


def shapes_of(file: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors in a safetensors file, from its header alone."""
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
        raise _refuse(f"{str(file)!r} cannot be read as safetensors ({brief(exc)})") from exc


def read_tensors(file: Path, wanted: Mapping[str, tuple[int, ...]]) -> "dict[str, Tensor]":
    """The tensors `wanted`, by name and shape, of a safetensors file that holds no others.

    Nothing is allocated that the file could not fill.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    shapes = shapes_of(file)
    missing, unknown = sorted(set(wanted) - set(shapes)), sorted(set(shapes) - set(wanted))
    if missing or unknown:
        raise CheckpointError(
            f"{str(file)!r} does not fit its settings: missing {missing}, unknown {unknown}. "
            "Weights and settings must come from the same checkpoint."
        )
    for name, shape in wanted.items():
        if shapes[name] != shape:
            raise CheckpointError(
                f"{name} in {str(file)!r} has the shape {shapes[name]}; its settings and the "
                f"backbone ask for {shape}. Use the backbone and the settings that it was trained "
                "with."
            )
    try:
        found = load_file(file)
    except (OSError, SafetensorError) as exc:
        raise _refuse(f"{str(file)!r} cannot be read as safetensors ({brief(exc)})") from exc
    check_finite(found, file)
    return found


def check_finite(tensors: "Mapping[str, Tensor]", place: Path) -> None:
    """Refuse numbers that would make every embedding not a number."""
    for name, value in tensors.items():
        if not value.isfinite().all():
            raise CheckpointError(
                f"{name} in {str(place)!r} holds numbers that are not finite, which weights never "
                "do. Fetch it again, or take an earlier checkpoint of the training."
            )


def check_folder(path: Path, config: Mapping[str, Any], *, trusted: bool) -> None:
    """Refuse the folder of a backbone that would make transformers do more than read it."""
    for index in path.glob("*.safetensors.index.json"):
        named = read_json(index).get("weight_map")
        for name in named.values() if isinstance(named, dict) else [named]:
            if not isinstance(name, str) or Path(name).name != name:
                raise _refuse(f"{str(index)!r} names {name!r:.80}, which is no file beside it")
    if (path / "adapter_config.json").is_file():
        raise CheckpointError(
            f"{str(path)!r} holds an adapter_config.json beside its config.json, so that it is not "
            "clear what is to be loaded. Pass the folder of the model as model and that of the "
            "LoRA adapter as adapter."
        )
    # Layers are Python objects, made before any weight is looked for.
    tensors = sum(len(shapes_of(file)) for file in path.glob("*.safetensors"))
    for key, value in _entries(config):
        # Names such as "kernels-community/flash-attn3" are fetched from the hub and run.
        if not trusted and key.endswith("implementation") and "/" in str(value):
            raise CheckpointError(
                f"config.json in {str(path)!r} asks for the code {value!r:.80} ({key}). Code that "
                "a model names is not run. Choose attn_implementation yourself and remove that "
                "line, or pass trust_remote_code=True where you trust the model."
            )
        # Some versions of transformers find out only when a text is read.
        negative = isinstance(value, (int, float)) and value < 0 and _COUNT.search(key)
        if negative or (isinstance(value, str) and _NUMBER.search(key)):
            raise _refuse(
                f"The model in {str(path)!r} cannot be loaded: config.json says "
                f"{key}={value!r:.80}, where a number {'>= 0 ' * bool(negative)}belongs"
            )
        many = isinstance(value, int) and value > max(_FEWEST_LAYERS, tensors)
        if many and key in _LAYERS:
            raise _refuse(
                f"config.json in {str(path)!r} says {key}={value}, and its weights are {tensors} "
                "tensors"
            )


def check_texts(path: Path) -> None:
    """Refuse vocabularies and configurations that are no files, or larger than any."""
    for file in (one for one in path.iterdir() if one.suffix in _TEXTS):
        try:
            size = file.stat().st_size
        except OSError as exc:  # a link to itself, or to nothing
            raise _refuse(f"{str(file)!r} cannot be read ({exc.strerror or exc})") from exc
        if size > MAX_TEXT_BYTES or not file.is_file():
            raise _refuse(
                f"{str(file)!r} has {size:,} bytes or is no file; of files at most "
                f"{MAX_TEXT_BYTES:,} are read"
            )


def _entries(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys and values, those of nested objects too."""
    for key, value in config.items():
        yield key, value
        if isinstance(value, Mapping):
            yield from _entries(value)


def check_tokens(path: Path, ids: Mapping[str, int | None]) -> None:
    """Refuse a tokenizer that writes tokens, given by what they are for, without a vector."""
    config = read_json(path / "config.json")
    sizes = [value for key, value in _entries(config) if key == "vocab_size"]
    known = max((size for size in sizes if isinstance(size, int)), default=None)
    for name, number in ids.items():
        if known is not None and number is not None and number >= known:
            raise CheckpointError(
                f"The tokenizer in {str(path)!r} writes {name} as token {number:,}, and the model "
                f"has {known:,} tokens. Take the tokenizer that was saved with the model, or give "
                f"{name} a token of its vocabulary in tokenizer_config.json."
            )


def check_parameters(path: Path, skeleton: "nn.Module") -> None:
    """Refuse a model, on torch's `meta` device, with more parameters than its weights fill."""
    count = sum(part.numel() for part in (*skeleton.parameters(), *skeleton.buffers()))
    size = sum(file.stat().st_size for file in path.glob("*.safetensors"))
    if count > max(_FEWEST_PARAMETERS, _PARAMETERS_PER_BYTE * size):
        raise _refuse(
            f"config.json in {str(path)!r} asks for {count:,} parameters, and its weights have "
            f"{size:,} bytes"
        )


def check_settings(file: Path, settings: EncoderSettings) -> None:
    """Refuse settings of a checkpoint that the weights of soft prompts and pooler do not bear."""
    longest = max((size for shape in shapes_of(file).values() for size in shape), default=0)
    learned = settings.latents if settings.pooling == "latent_attention" else 0
    if learned > longest or settings.soft_prompts > longest or settings.max_tokens > MAX_TOKENS:
        raise _refuse(
            f"The settings of {str(file)!r} say latents={settings.latents}, soft_prompts="
            f"{settings.soft_prompts}, max_tokens={settings.max_tokens}. No axis of its weights is "
            f"longer than {longest}, and rows have at most {MAX_TOKENS:,} tokens"
        )


def check_adapter(path: Path) -> None:
    """Refuse an adapter that is no plain LoRA adapter in safetensors."""
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
    if not all(type(rank) is int and 0 < rank <= longest for rank in ranks):
        raise _refuse(
            f"The adapter in {str(path)!r} says the rank {config.get('r')!r:.60}, and no axis of "
            f"its weights is longer than {longest}"
        )
    scales = _all_of(config, "lora_alpha", "alpha_pattern")
    if not all(type(scale) in (int, float) and abs(scale) <= _LARGEST_SCALE for scale in scales):
        raise _refuse(
            f"The adapter in {str(path)!r} says lora_alpha={config.get('lora_alpha')!r:.60}, which "
            f"is no number of at most {_LARGEST_SCALE:,}"
        )


def _all_of(config: Mapping[str, Any], name: str, pattern: str) -> list[Any]:
    """What holds for all layers, and for some."""
    some = config.get(pattern) or {}
    return [config.get(name), *(some.values() if isinstance(some, Mapping) else [some])]
