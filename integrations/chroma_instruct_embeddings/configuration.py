"""What a collection stores of an embedding function: nothing secret, nothing of one machine."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from instruct_embeddings.config import optional_instruction
from instruct_embeddings.encoder import DEFAULT_MODEL, EncoderOptions, folder_digest
from instruct_embeddings.errors import CollectionMismatchError, ConfigError
from instruct_embeddings.instant import TwoSidedEncoder

# Devices, batch sizes and caches are a machine's own, and whoever opens a collection decides
# whether to trust the code of its model.
_STORED = (
    "revision",
    "adapter",
    "dtype",
    "max_tokens",
    "template",
    "normalize",
    "truncate_dim",
    "truncate_layers",
    "precision",
    "refine_steps",
)
INSTRUCTIONS = ("query_instruction", "document_instruction")
_KNOWN = {"model", "contents", *INSTRUCTIONS, *_STORED}
# Stored vectors can still be compared with new ones when these change.
_FREE = {"contents", "dtype", "max_tokens", "query_instruction"}

_encoders: dict[tuple[EncoderOptions, tuple[str, ...]], TwoSidedEncoder] = {}


def portable(options: EncoderOptions) -> EncoderOptions:
    """Options without those of this machine; folders by their full path."""
    stored = {name: getattr(options, name) for name in _STORED}
    stored["adapter"] = _full(options.adapter)
    return EncoderOptions(model=_full(options.model or DEFAULT_MODEL), **stored)


def contents_of(options: EncoderOptions) -> dict[str, str]:
    """Digests of the folders among model and adapter: a path may mean another model elsewhere."""
    folders = {"model": _folder(options.model), "adapter": _folder(options.adapter)}
    return {key: folder_digest(folder) for key, folder in folders.items() if folder}


def to_config(
    options: EncoderOptions, instructions: Mapping[str, str | None], contents: Mapping[str, str]
) -> dict[str, Any]:
    """Plain data from which another process makes the same embeddings: no defaults."""
    default, own = asdict(EncoderOptions()), asdict(portable(options))
    changed = {name: own[name] for name in _STORED if own[name] != default[name]}
    told = {"contents": dict(contents)} if contents else {}
    return {"model": own["model"]} | changed | told | dict(instructions)


def check_config(config: Mapping[str, Any]) -> EncoderOptions:
    """The options in a stored configuration; ConfigError where settings are missing or unknown."""
    unknown, missing = set(config) - _KNOWN, {"model", *INSTRUCTIONS} - set(config)
    if unknown or missing:
        raise ConfigError(
            f"The stored configuration has unknown settings {sorted(unknown)} and lacks "
            f"{sorted(missing)}; known are {sorted(_KNOWN)}. Upgrade the package, or pass "
            "embedding_function=InstructEmbeddingFunction(...) when you open the collection."
        )
    for name in INSTRUCTIONS:
        optional_instruction(config[name])
    chosen = {name: config[name] for name in _STORED if name in config}
    return EncoderOptions(model=config["model"], **chosen)


def check_contents(config: Mapping[str, Any]) -> None:
    """Refuse a folder whose model or adapter was replaced in place (CollectionMismatchError)."""
    for key, stored in (config.get("contents") or {}).items():
        folder = _folder(config.get(key))
        # A missing folder is reported by whoever looks for the model.
        if folder is not None and (found := folder_digest(folder)) != stored:
            raise CollectionMismatchError(
                f"The folder {str(folder)!r} holds another {key} ({found[:8]}) than when the "
                f"collection was made ({stored[:8]}). Their vectors cannot be compared. Put the "
                "old one back, or fill another collection; if it is known to fit, pass "
                "embedding_function=InstructEmbeddingFunction(...) when you open the collection."
            )


def comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """What has to be equal for embeddings to be compared; folders count by what they hold."""
    contents = config.get("contents") or {}
    free = _FREE | {"revision"} if "model" in contents else _FREE
    return {key: value for key, value in config.items() if key not in free} | contents


def check_update(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Refuse an update under which vectors cannot be compared (CollectionMismatchError)."""
    before, after = comparable(old), comparable(new)
    if changed := sorted(k for k in before | after if before.get(k) != after.get(k)):
        was, would_be = ({key: config.get(key) for key in changed} for config in (old, new))
        raise CollectionMismatchError(
            f"The collection was filled with {was}, and the update says {would_be}. Old and new "
            "vectors could not be compared; only query_instruction, dtype and max_tokens may "
            "change. Fill another collection. Chroma asks only after it has saved the update: "
            "call modify() once more, with the function that filled the collection."
        )


def stored_encoder(options: EncoderOptions, contents: Mapping[str, str]) -> TwoSidedEncoder:
    """The encoder of portable options, whose folders are checked when it is made.

    Chroma makes a function anew for each text query of a collection that was opened without one;
    were it not kept, the model would be loaded for each of them.
    """
    key = (options, tuple(sorted(contents.values())))
    if (found := _encoders.get(key)) is not None:
        return found
    check_contents({"model": options.model, "adapter": options.adapter, "contents": contents})
    return _encoders.setdefault(key, TwoSidedEncoder(options))


def close_stored(options: EncoderOptions | None = None) -> None:
    """Close the encoders of some options, or all; they are made again when a text comes."""
    for key in list(_encoders):
        if options in (None, key[0]) and (encoder := _encoders.pop(key, None)):
            encoder.close()


def _folder(name: str | None) -> Path | None:
    path = Path(name).expanduser() if name else None
    return path.resolve() if path and path.is_dir() else None


def _full(name: str | None) -> str | None:
    folder = _folder(name)
    return name if folder is None else str(folder)
