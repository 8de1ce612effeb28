"""What the files of a model may ask for, checked before anything is allocated or imported.

Configurations name sizes, code and other files. The libraries that build models believe them: a
file of a few hundred bytes can ask for more memory than there is, or for a module to import.
Every check raises `CheckpointError`.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instruct_embeddings._reading import brief
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


def _refused(
    what: str, do: str = "Fetch the model again, or use one from a source that you trust."
) -> CheckpointError:
    return CheckpointError(f"{what}. {do}")


def shapes_of(file: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors in a safetensors file, from its header alone."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            names = opened.keys()
            return {name: tuple(opened.get_slice(name).get_shape()) for name in names}
    except (OSError, SafetensorError) as exc:
        raise _refused(f"{str(file)!r} cannot be read as safetensors ({brief(exc)})") from exc


def _longest_axis(file: Path) -> int:
    return max((size for shape in shapes_of(file).values() for size in shape), default=0)


def read_tensors(file: Path, wanted: Mapping[str, tuple[int, ...]]) -> "dict[str, Tensor]":
    """The tensors `wanted`, by name and shape, of a safetensors file that holds no others.

    Nothing is allocated that the file could not fill.
    """
    from safetensors.torch import load_file

    shapes = shapes_of(file)
    wrong = [
        f"{name} has the shape {shapes.get(name)} instead of {wanted.get(name)}"
        for name in sorted({*shapes, *wanted})
        if shapes.get(name) != wanted.get(name)
    ]
    if wrong:
        raise _refused(
            f"{str(file)!r} does not fit its settings: {', '.join(wrong[:5])}",
            "Weights, settings and backbone must be those that were saved together.",
        )
    found = load_file(file)
    check_finite(found, file)
    return found


def check_finite(tensors: "Mapping[str, Tensor]", place: Path) -> None:
    """Refuse numbers that would make every embedding not a number."""
    for name, value in tensors.items():
        if not value.isfinite().all():
            raise _refused(f"{name} in {str(place)!r} holds numbers that are not finite")


def check_folder(path: Path, config: Mapping[str, Any], *, trusted: bool) -> None:
    """Refuse the folder of a backbone that would make transformers do more than read it."""
    for index in path.glob("*.safetensors.index.json"):
        named = read_json(index).get("weight_map")
        for name in named.values() if isinstance(named, dict) else [named]:
            if not isinstance(name, str) or Path(name).name != name:
                raise _refused(f"{str(index)!r} names {name!r:.80}, which is no file beside it")
    if (path / "adapter_config.json").is_file():
        raise _refused(
            f"{str(path)!r} holds both a config.json and an adapter_config.json",
            "Pass the folder of the model as model and that of the LoRA adapter as adapter.",
        )
    # Layers are Python objects, made before any weight is looked for.
    tensors = sum(len(shapes_of(file)) for file in path.glob("*.safetensors"))
    for key, value in _entries(config):
        said = f"config.json in {str(path)!r} says {key}={value!r:.80}"
        # Names such as "kernels-community/flash-attn3" are fetched from the hub and run.
        if not trusted and key.endswith("implementation") and "/" in str(value):
            raise _refused(
                f"{said}, and code that a model names is not run",
                "Choose attn_implementation yourself and remove that line, or pass "
                "trust_remote_code=True where you trust the model.",
            )
        # Some versions of transformers find out only when a text is read.
        negative = isinstance(value, int | float) and value < 0 and _COUNT.search(key)
        if negative or (isinstance(value, str) and _NUMBER.search(key)):
            raise _refused(f"{said}, so that the model cannot be loaded")
        many = isinstance(value, int) and value > max(_FEWEST_LAYERS, tensors)
        if many and key in _LAYERS:
            raise _refused(f"{said}, and its weights are {tensors} tensors")


def check_texts(path: Path) -> None:
    """Refuse vocabularies and configurations that are no files, or larger than any."""
    for file in (one for one in path.iterdir() if one.suffix in _TEXTS):
        try:
            size = file.stat().st_size
        except OSError as exc:  # a link to itself, or to nothing
            raise _refused(f"{str(file)!r} cannot be read ({exc.strerror or exc})") from exc
        if size > MAX_TEXT_BYTES or not file.is_file():
            raise _refused(
                f"{str(file)!r} has {size:,} bytes of {MAX_TEXT_BYTES:,} allowed, or is no file"
            )


def _entries(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys and values, those of nested objects too."""
    for key, value in config.items():
        yield key, value
        if isinstance(value, Mapping):
            yield from _entries(value)


def check_tokens(path: Path, ids: Mapping[str, int | None]) -> None:
    """Refuse a tokenizer that writes tokens, given by what they are for, without a vector."""
    entries = _entries(read_json(path / "config.json"))
    sizes = [size for key, size in entries if key == "vocab_size" and isinstance(size, int)]
    for name, number in ids.items():
        if sizes and number is not None and number >= max(sizes):
            raise _refused(
                f"The tokenizer in {str(path)!r} writes {name} as token {number:,}, and the model "
                f"has {max(sizes):,} tokens",
                "Take the tokenizer that was saved with the model.",
            )


def check_parameters(path: Path, skeleton: "nn.Module") -> None:
    """Refuse a model, on torch's `meta` device, with more parameters than its weights fill."""
    count = sum(part.numel() for part in (*skeleton.parameters(), *skeleton.buffers()))
    size = sum(file.stat().st_size for file in path.glob("*.safetensors"))
    if count > max(_FEWEST_PARAMETERS, _PARAMETERS_PER_BYTE * size):
        raise _refused(
            f"config.json in {str(path)!r} asks for {count:,} parameters, and its weights have "
            f"{size:,} bytes"
        )


def check_settings(file: Path, settings: EncoderSettings) -> None:
    """Refuse settings of a checkpoint that the weights of soft prompts and pooler do not bear."""
    learned = settings.latents if settings.pooling == "latent_attention" else 0
    longest = _longest_axis(file)
    if max(learned, settings.soft_prompts) > longest or settings.max_tokens > MAX_TOKENS:
        raise _refused(
            f"The settings of {str(file)!r} say latents={settings.latents}, soft_prompts="
            f"{settings.soft_prompts}, max_tokens={settings.max_tokens}; no axis of its weights is "
            f"longer than {longest}, and rows have at most {MAX_TOKENS:,} tokens"
        )


def check_adapter(path: Path) -> None:
    """Refuse an adapter that is no plain LoRA adapter in safetensors."""
    if not (path / ADAPTER_WEIGHTS).is_file():
        others = sorted(one.name for one in path.glob("adapter_model.*"))
        raise _refused(
            f"The adapter in {str(path)!r} has no {ADAPTER_WEIGHTS}, but {others}",
            "Only safetensors are read: save it again with safe_serialization.",
        )
    config, longest = read_json(path / "adapter_config.json"), _longest_axis(path / ADAPTER_WEIGHTS)
    ranks = _all_of(config, "r", "rank_pattern")
    scales = _all_of(config, "lora_alpha", "alpha_pattern")
    fits = {
        "peft_type": config.get("peft_type") == "LORA",
        # One names a module to import, the other repeats layers any number of times.
        "megatron_config": not config.get("megatron_config"),
        "layer_replication": not config.get("layer_replication"),
        "r": all(type(rank) is int and 0 < rank <= longest for rank in ranks),
        "lora_alpha": all(type(x) in (int, float) and abs(x) <= _LARGEST_SCALE for x in scales),
    }
    if wrong := {name: config.get(name) for name, fine in fits.items() if not fine}:
        raise _refused(
            f"The adapter in {str(path)!r} says {wrong!s:.200}, or its patterns do; read are plain "
            f"LoRA adapters with r from 1 to {longest}, the longest axis of their weights, and "
            f"lora_alpha up to {_LARGEST_SCALE:,}"
        )


def _all_of(config: Mapping[str, Any], name: str, pattern: str) -> list[Any]:
    """What holds for all layers, and for some."""
    some = config.get(pattern) or {}
    return [config.get(name), *(some.values() if isinstance(some, Mapping) else [some])]
