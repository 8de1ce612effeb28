"""Checkpoints on disk: settings as JSON, weights as safetensors, nothing else.

```text
folder/
├── instruct_encoder.json          EncoderSettings, with a format version
├── instruct_encoder.safetensors   soft prompts and pooler
├── adapter/                       LoRA layers as peft writes them, where there are any
└── backbone/                      the backbone and its tokenizer, where asked for
```
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instruct_embeddings.encoder.files import replacing
from instruct_embeddings.encoder.loading import load_model, load_tokenizer
from instruct_embeddings.encoder.model import InstEmb
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.sentence_transformers import files_of
from instruct_embeddings.encoder.settings import EncoderSettings
from instruct_embeddings.encoder.source import (
    SETTINGS_FILE,
    WEIGHTS_FILE,
    ModelSource,
    find_source,
)
from instruct_embeddings.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def create_checkpoint(
    folder: str | Path,
    settings: EncoderSettings,
    options: EncoderOptions | None = None,
    *,
    seed: int = 0,
    backbone: bool = False,
) -> Path:
    """Write an untrained checkpoint, with the weights of its backbone too where asked for.

    `options` say how to find and run the backbone; their `model` does not count.
    """
    asked = replace(
        options or EncoderOptions(), model=settings.base_model, revision=settings.base_revision
    )
    source = replace(find_source(asked), settings=settings)
    made = InstEmb(load_model(source, asked).backbone, settings, seed=seed, folder=source.folder)
    tokenizer = load_tokenizer(source, asked)
    return write_checkpoint(Path(folder), made.eval(), tokenizer, source, backbone=backbone)


def write_checkpoint(
    folder: Path,
    model: InstEmb,
    tokenizer: "PreTrainedTokenizerBase",
    source: ModelSource,
    *,
    backbone: bool,
) -> Path:
    """Write beside the folder first, then rename, so that none is ever half there.

    Raises:
        CheckpointError: Something else than a checkpoint lies there.
    """
    there = folder.is_dir() and any(folder.iterdir())
    if (there or folder.is_file()) and not (folder / SETTINGS_FILE).is_file():
        raise CheckpointError(
            f"{str(folder)!r} exists and is no checkpoint (it has no {SETTINGS_FILE}). "
            "Choose another folder, or remove it."
        )
    with replacing(folder) as partial:
        # A backbone that came with the checkpoint may be nowhere else.
        backbone = backbone or source.settings.backbone
        _write_files(partial, model, tokenizer, source, backbone=backbone)
        partial.chmod(0o755)
    return folder


def _write_files(
    folder: Path,
    model: InstEmb,
    tokenizer: "PreTrainedTokenizerBase",
    source: ModelSource,
    *,
    backbone: bool,
) -> None:
    from safetensors.torch import save_file

    adapted: Any = model.backbone.model
    has_adapter = hasattr(adapted, "peft_config")
    settings = replace(source.settings, adapter=has_adapter, backbone=backbone)
    written = json.dumps(settings.to_dict(), indent=2, ensure_ascii=False) + "\n"
    (folder / SETTINGS_FILE).write_text(written, encoding="utf-8")
    own = {name: value.float().cpu().contiguous() for name, value in model.own_parameters().items()}
    save_file(own, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    if has_adapter:
        adapted.save_pretrained(folder / "adapter", safe_serialization=True)
        (folder / "adapter" / "README.md").unlink(missing_ok=True)
    if not backbone:
        return
    base, target = source.base.path, folder / "backbone"
    if has_adapter:
        # The files on disk are the backbone without its adapter.
        target.mkdir()
        for file in (f for f in base.iterdir() if f.suffix in (".safetensors", ".json")):
            shutil.copyfile(file, target / file.name)
    else:
        adapted.save_pretrained(target, safe_serialization=True)
    tokenizer.save_pretrained(target)
    # Whatever says how its own embeddings are made.
    for file in files_of(base):
        copy = target / file.relative_to(base)
        copy.parent.mkdir(exist_ok=True, parents=True)
        shutil.copyfile(file, copy)
