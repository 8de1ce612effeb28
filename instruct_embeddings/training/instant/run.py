"""The training run of the instant query: resumable, each step a function of seed and step."""

import hashlib
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save
from torch import Tensor, nn

from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder.encoder import InstructEncoder
from instruct_embeddings.encoder.model import InstEmb
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.source import find_source
from instruct_embeddings.errors import CheckpointError, ConfigError
from instruct_embeddings.training.instant import loss
from instruct_embeddings.training.instant.config import InstantConfig, InstantTraining
from instruct_embeddings.training.instant.draws import Drawn, Draws
from instruct_embeddings.training.instant.network import InstantStudent, MoveNetwork
from instruct_embeddings.training.instant.sets import (
    Embed,
    LabelledSet,
    RetrievalSet,
    read_answered,
    read_labelled,
    read_retrieval,
)
from instruct_embeddings.training.instant.words import Words
from instruct_embeddings.training.optimiser import make_optimiser, seed_of, update
from instruct_embeddings.training.settings import BackboneConfig
from instruct_embeddings.training.state import (
    Progress,
    load_state,
    read_progress,
    recover,
    save_state,
)
from instruct_embeddings.training.student import make_student
from instruct_embeddings.training.tables import read_toml
from instruct_embeddings.transform.files import write_whole
from instruct_embeddings.transform.vectors import unit_rows

CHECKPOINT, STATE, VECTORS = "checkpoint", "state", "vectors"
RECIPES = Path(__file__).parents[1] / "recipes"
_CENTRED_ON = 24  # groups from which the head learns what all queries share


def train_instant(
    config: InstantTraining,
    data: Path,
    *,
    resume: bool = False,
    on_step: Callable[[int, Mapping[str, float]], None] = lambda step, parts: None,
) -> Path:
    """Train an instant query.

    Args:
        config: The whole run.
        data: Folder with the labelled files, `relations/` and `plain/`, as
            `scripts/prepare_training_data.py` writes them.
        resume: Go on from the state in the output folder.
        on_step: Called every `[run] log_every` steps with the mean parts of the loss.

    Returns:
        Folder of the checkpoint, in the output folder.

    Raises:
        ConfigError: A setting does not fit.
        DataError: A file cannot be read.
        CheckpointError: The state in the output folder belongs to another run.
    """
    output = config.run.output
    recover(output, CHECKPOINT, STATE)
    progress = read_progress(output) if resume else None
    if progress is not None and progress.digest != config.digest:
        raise CheckpointError(
            f"The state in {str(output)!r} belongs to a run with other settings. Resume with "
            "those, or choose another output folder."
        )
    done = progress or Progress(config.digest)
    device = config.run.device or "cpu"
    draws, space = open_draws(config.instant, data, output / VECTORS, device)
    student = make(config.instant, device, config.run.seed)
    named = student.trainable()
    optimiser = _optimiser(config, named)
    if progress is None:
        _centre(student, draws, config)
    else:
        load_state(output, named, optimiser)
    window: dict[str, list[float]] = {}
    while done.step < config.run.steps:
        started = time.perf_counter()
        parts = take_step(config, student, draws, optimiser, named, done.step)
        for name, value in parts.items():
            window.setdefault(name, []).append(value)
        done = replace(
            done, step=done.step + 1, seconds=done.seconds + time.perf_counter() - started
        )
        if done.step % config.run.log_every == 0 or done.step == config.run.steps:
            means = {name: float(np.mean(values)) for name, values in sorted(window.items())}
            _log(output, done, means)
            on_step(done.step, means)
            window = {}
        if done.step % config.run.save_every == 0:
            save_state(output, done, named, optimiser)
            student.save(output / CHECKPOINT, space, config.instant.strength)
    student.save(output / CHECKPOINT, space, config.instant.strength)
    return output / CHECKPOINT


def make(config: InstantConfig, device: str, seed: int) -> InstantStudent:
    """The encoder to start from, with a new head."""
    settings = find_source(EncoderOptions(model=config.start)).settings
    backbone = BackboneConfig(start=Path(config.start), train="lora", attention="sdpa")
    student = make_student(settings, backbone, device=device, seed=seed)
    freeze_below(student.model, config.layers)
    width = student.model.backbone.hidden_size
    network = MoveNetwork(width, width, hidden=config.hidden, longest=config.longest_move)
    return InstantStudent(student, network.to(device), {})


def freeze_below(model: InstEmb, layers: int) -> None:
    """Train the last layers only; soft prompts stand below them and stay as they are."""
    kept = {f".layer.{number}." for number in range(model.backbone.depth - layers)}
    kept |= {f".layers.{number}." for number in range(model.backbone.depth - layers)}
    for name, value in model.named_parameters():
        if name == "soft_prompts" or any(part in name for part in kept):
            value.requires_grad_(False)
    for name, layer in model.named_modules():
        # What is not trained need not be computed apart from the weights under it.
        if any(part in f"{name}." for part in kept) and hasattr(layer, "lora_A"):
            layer.merge()


def open_draws(
    config: InstantConfig, data: Path, cache: Path, device: str = "cpu"
) -> tuple[Draws, str]:
    """Read all sets that are not held out; the draws, and the name of the model of the vectors."""
    encoder = InstructEncoder(EncoderOptions(model=config.start, device=device))
    space = find_source(encoder.options).settings.base_model
    embed = _kept(encoder, cache)
    instructions = read_toml(RECIPES / "minilm-instructions.toml")
    words = read_toml(RECIPES / "instant-instructions.toml")
    rewrites = {one["instruction"]: one["instructions"] for one in instructions.pop("rewrites")}
    words["relations"]["answers"] = {
        name: {"instructions": wordings} for name, wordings in rewrites.items()
    }
    labelled: list[LabelledSet] = []
    for file in sorted(data.glob("*.jsonl")):
        if file.stem in config.held_out:
            continue
        if file.stem == "natinst":
            labelled += read_answered(
                file, rewrites, embed, most=config.most_answers, longest=config.longest // 2
            )
            continue
        table = instructions.get(file.stem, {})
        one = read_labelled(
            file, table, embed, most=config.most_texts, longest=config.longest, seed=0
        )
        labelled += [one] if one is not None else []
    found: dict[str, list[RetrievalSet]] = {
        part: [
            read_retrieval(folder, embed)
            for folder in sorted((data / part).iterdir())
            if folder.name not in config.held_out
        ]
        for part in ("relations", "plain")
    }
    draws = Draws(
        labelled, found["relations"], found["plain"], Words(words), config.kinds, config.shares
    )
    return draws, space


def take_step(
    config: InstantTraining,
    student: InstantStudent,
    draws: Draws,
    optimiser: torch.optim.Optimizer,
    named: Mapping[str, nn.Parameter],
    step: int,
) -> dict[str, float]:
    """One step; the mean parts of its loss by kind."""
    own = config.instant
    rng = random.Random(seed_of(config.run.seed, step))
    torch.manual_seed(seed_of(config.run.seed, step))
    groups = [draws.group(rng, own.rows) for _ in range(own.groups)]
    tokens = rng.choices(own.text_tokens, own.text_shares)[0]
    moves = _moves(student, groups, tokens)
    parts: dict[str, list[float]] = {}
    total = moves.new_zeros(())
    for group, moved in zip(groups, torch.split(moves, own.rows), strict=True):
        found = losses(own, group, moved)
        total = total + torch.stack(list(found.values())).sum() / own.groups
        for name, value in found.items():
            parts.setdefault(f"{group.kind}.{name}", []).append(float(value.detach()))
    if not torch.isfinite(total):
        raise ConfigError(
            f"The loss of step {step} is {float(total.detach())}, no finite number. Lower "
            "[optimiser] learning_rate."
        )
    total.backward()  # type: ignore[no-untyped-call]
    update(optimiser, named, config.optimiser, step, config.run.steps)
    return {name: float(np.mean(values)) for name, values in parts.items()}


def losses(config: InstantConfig, drawn: Drawn, moves: Tensor) -> dict[str, Tensor]:
    """The parts of the loss of one group, each a scalar."""
    device = moves.device
    vectors, documents = _tensor(drawn.vectors, device), _tensor(drawn.documents, device)
    allowed = _tensor(drawn.allowed, device)
    scores = loss.logits(loss.folded(vectors, moves), documents, allowed, config.temperature)
    found = {"length": config.length * moves.square().sum(1).mean()}
    if drawn.relevant is not None:
        relevant = _tensor(drawn.relevant, device)
        ranked = loss.any_relevant(scores, relevant)
        if drawn.kind == "labels":
            share = config.all_relevant
            ranked = (1 - share) * ranked + share * loss.all_relevant(scores, relevant)
        judged = relevant.any(1)
        if judged.any():
            found["ranked"] = config.kind_weights.get(drawn.kind, 1.0) * ranked[judged].mean()
    if drawn.keep:
        generic = loss.logits(vectors, documents, allowed, config.temperature)
        found["kept"] = config.keep * loss.kept(scores, generic).mean()
    if drawn.words is not None and drawn.word is not None and config.named:
        words, word = _tensor(drawn.words, device), _tensor(drawn.word, device)
        named = loss.named(moves, words, word, config.named_temperature)
        found["named"] = config.named * named.mean() / max(1.0, float(np.log(len(words))))
    return found


def _moves(student: InstantStudent, groups: Sequence[Drawn], tokens: int) -> Tensor:
    texts = [text for group in groups for text in group.texts]
    instructions = [text for group in groups for text in group.instructions]
    vectors = np.concatenate([group.vectors for group in groups])
    device = torch.device(student.student.device)
    return student.moves(texts, instructions, _tensor(vectors, device), tokens)


@torch.no_grad()
def _centre(student: InstantStudent, draws: Draws, config: InstantTraining) -> None:
    rng = random.Random(seed_of(config.run.seed, -1))
    groups = [draws.group(rng, config.instant.rows) for _ in range(_CENTRED_ON)]
    tokens = max(config.instant.text_tokens)
    read = [student.read(group.texts, group.instructions, tokens) for group in groups]
    student.network.centre(torch.cat(read))


def _optimiser(config: InstantTraining, named: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
    """AdamW; the head learns faster than the encoder, biases do not decay."""
    settings = config.optimiser

    def own(name: str, value: nn.Parameter) -> tuple[float, float]:
        faster = config.instant.head_rate if name.startswith("head.") else 1.0
        decay = settings.weight_decay if value.dim() > 1 else 0.0
        return settings.learning_rate * faster, decay

    return make_optimiser(named, own)


def _tensor(array: "np.ndarray[Any, Any]", device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


def _log(output: Path, done: Progress, means: Mapping[str, float]) -> None:
    output.mkdir(parents=True, exist_ok=True)
    row = {"step": done.step, "seconds": round(done.seconds, 1), **means}
    with (output / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def _kept(encoder: InstructEncoder, cache: Path) -> Embed:
    """Embeds texts once: vectors are kept in a folder by name and by what the texts are."""

    def embed(name: str, texts: Sequence[str]) -> FloatArray:
        digest = hashlib.sha256("\x1f".join(texts).encode()).hexdigest()[:16]
        file = cache / f"{name[:60].replace('/', '-')}-{digest}.safetensors"
        if not file.is_file():
            write_whole(file, save({"vectors": unit_rows(encoder.encode(list(texts)))}))
        found: FloatArray = load_file(file)["vectors"]
        return found

    return embed


__all__ = ["train_instant"]
