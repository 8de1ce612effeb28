"""What a run needs to go on after an interruption: safetensors and JSON, written atomically."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, field
from pathlib import Path

import torch
from torch import nn

from instruct_embeddings._reading import brief, parse_json, read_limited
from instruct_embeddings.encoder.files import replacing
from instruct_embeddings.encoder.source import SETTINGS_FILE
from instruct_embeddings.errors import CheckpointError, ConfigError
from instruct_embeddings.training.log import Window
from instruct_embeddings.training.tables import Count, build, settings

CHECKPOINT, STATE = "checkpoint", "state"
_TENSORS, _PROGRESS = "state.safetensors", "progress.json"
_MAX_PROGRESS_BYTES = 1024 * 1024


@settings
class Progress:
    """How far a run is."""

    digest: str  # of the configuration; another one cannot go on from here
    data: str = ""  # digest of what batches are drawn from, likewise
    step: Count = 0
    best: float | None = None  # the best validation measure so far
    best_step: Count = 0  # where it was measured
    waited: Count = 0  # measurements since then
    seconds: float = 0.0  # time spent so far
    examples: Count = 0
    dropped: Count = 0  # examples left out, as their instruction leaves no room for a text
    window: Window = field(default_factory=Window)  # what the next line of the log counts already


def save_state(
    output: Path,
    progress: Progress,
    parameters: Mapping[str, nn.Parameter],
    optimiser: torch.optim.Optimizer,
) -> None:
    """Write trained parameters by name, the optimiser's state and the progress.

    The folder is complete under its name or not there at all; an older one is replaced at the end.
    """
    from safetensors.torch import save_file

    tensors = {f"parameter.{name}": value.detach() for name, value in parameters.items()}
    for name, value in parameters.items():
        for key, part in optimiser.state.get(value, {}).items():
            tensors[f"optimiser.{key}.{name}"] = torch.as_tensor(part)
    own = {name: value.cpu().contiguous() for name, value in tensors.items()}
    with replacing(output / STATE) as partial:
        save_file(own, partial / _TENSORS, metadata={"format": "pt"})
        text = json.dumps(asdict(progress), indent=2) + "\n"
        (partial / _PROGRESS).write_text(text, encoding="utf-8")
        # The files are on the disk before their folder gets its name.
        for file in partial.iterdir():
            with file.open("rb+") as opened:
                os.fsync(opened.fileno())


def read_progress(output: Path) -> Progress | None:
    """The progress of the run in a folder; None where none was saved."""
    file = output / STATE / _PROGRESS
    if not file.is_file():
        return None
    try:
        return build(Progress, parse_json(read_limited(file, _MAX_PROGRESS_BYTES)))
    except (OSError, ValueError, ConfigError) as exc:
        raise CheckpointError(
            f"{str(file)!r} is damaged ({brief(exc)}). Start again without --resume, in another "
            "folder."
        ) from exc


def resumed(output: Path, digest: str, *, resume: bool) -> Progress:
    """Where the run in a folder is; at the start where there is none.

    Raises:
        CheckpointError: A run lies there, and it is not to be resumed or has another configuration;
            or something else does.
    """
    folder, found = output / CHECKPOINT, read_progress(output)
    if folder.exists() and not (folder / SETTINGS_FILE).is_file():
        raise CheckpointError(
            f"{str(folder)!r} exists and is no checkpoint (it has no {SETTINGS_FILE}). Remove it, "
            "or choose another [run] output."
        )
    if found is None:
        return Progress(digest)
    if not resume:
        raise CheckpointError(
            f"{str(output)!r} holds a run at step {found.step}. Pass --resume to go on, "
            "or choose another [run] output."
        )
    if found.digest != digest:
        raise CheckpointError(
            f"The run in {str(output)!r} was started with another configuration, which "
            "would give another result. Resume with that one, or choose another [run] output."
        )
    return found


def load_state(
    output: Path, parameters: Mapping[str, nn.Parameter], optimiser: torch.optim.Optimizer
) -> None:
    """Fill trained parameters and their optimiser from what `save_state` wrote.

    Raises:
        CheckpointError: The file is damaged, or it belongs to other parameters.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = output / STATE / _TENSORS
    try:
        found = load_file(file)
    except (OSError, SafetensorError) as exc:
        raise CheckpointError(
            f"{str(file)!r} cannot be read as safetensors: {exc}. Start again without --resume, "
            "in another folder."
        ) from exc
    own = {f"parameter.{name}": value for name, value in parameters.items()}
    saved = {name: found.pop(name) for name in list(found) if name.startswith("parameter.")}
    kinds = [{name: value.shape for name, value in held.items()} for held in (saved, own)]
    if other := sorted({name for name, _ in kinds[0].items() ^ kinds[1].items()}):
        raise CheckpointError(
            f"{str(file)!r} holds other parameters than this model trains: {other[:5]}. "
            "Resume with the configuration and the base model of that run."
        )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(saved[name])
    for label, part in found.items():
        _, key, name = label.split(".", 2)
        value = parameters[name]
        # A step counter stays where it is; moments lie where their parameter does.
        moved = part if part.dim() == 0 else part.to(value.device)
        optimiser.state[value][key] = moved.clone()


def recover(output: Path) -> None:
    """Give state and checkpoint their names back where replacing them was interrupted.

    Unfinished ones are removed.
    """
    for name in (STATE, CHECKPOINT):
        folder, left = output / name, sorted(output.glob(f".{name}-*"))
        for one in left:
            if one.name.endswith("-old") and not folder.exists():
                os.replace(one, folder)
        for one in left:
            shutil.rmtree(one, ignore_errors=True)
