"""Models in GGUF files: dequantised once by transformers, kept as a folder of safetensors."""

import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from instruct_embeddings._extras import require
from instruct_embeddings._reading import brief
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.errors import CheckpointError, InstructEmbeddingsError

_MAGIC = b"GGUF"
_log = logging.getLogger(__name__)


def dequantised(file: Path, content: str, options: EncoderOptions) -> Path:
    """The folder of a GGUF file's model and tokenizer, made where it is not there yet.

    It lies in the cache under the hash of the file, `content`. It gets its name when everything is
    in it; of processes that make it at the same time, the first one's is kept.

    Raises:
        CheckpointError: It is no GGUF file, is damaged, or of an architecture that is not read.
        MissingExtraError: gguf is not installed.
    """
    from huggingface_hub import constants

    with file.open("rb") as stream:
        magic = stream.read(len(_MAGIC))
    if magic != _MAGIC:
        raise CheckpointError(
            f"{str(file)!r} begins with {magic!r} instead of {_MAGIC!r}: it is no GGUF file, or "
            "was fetched as a pointer to one. Fetch it again."
        )
    cache = Path(options.cache_folder or constants.HF_HOME).expanduser() / "instruct-embeddings"
    folder = cache / f"{file.stem}-{content}"
    if folder.is_dir():
        return folder
    require("gguf", extra="gguf")
    cache.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=cache))
    try:
        _log.info("Dequantising %s into %s; this is done once", file, folder)
        _write(file, partial)
        try:
            partial.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _write(file: Path, folder: Path) -> None:
    import torch
    import transformers
    from safetensors.torch import save_file

    arguments: dict[str, Any] = {}
    if (config := getattr(transformers, "GgufConfig", None)) is not None:
        # Newer versions of transformers may leave weights as they are.
        arguments["quantization_config"] = config(dequantize=True)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, local_files_only=True, **arguments
        )
    except (InstructEmbeddingsError, MemoryError):
        raise
    except Exception as exc:
        raise CheckpointError(
            f"transformers {transformers.__version__} cannot read {str(file)!r}: {brief(exc)}. It "
            "reads causal language models of the architectures in its documentation of GGUF, such "
            "as Llama, Mistral, Qwen and Gemma. Fetch the file again, or pass the hub id or folder "
            "of the model that it was made of."
        ) from exc
    # It is a plain model from here on, and saved in the type that such models are trained in.
    model.to(torch.bfloat16)
    model.config.dtype = torch.bfloat16
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # Output embeddings that are the input ones come last, and are left out as elsewhere.
    weights: dict[int, tuple[str, torch.Tensor]] = {}
    for name, value in model.state_dict().items():
        weights.setdefault(value.data_ptr(), (name, value.contiguous()))
    save_file(dict(weights.values()), folder / "model.safetensors", metadata={"format": "pt"})
    folder.chmod(0o755)
    with (folder / "model.safetensors").open("rb+") as written:
        # It is on the disk before the folder gets its name.
        os.fsync(written.fileno())
