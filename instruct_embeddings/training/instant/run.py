"""The training run of the instant query: resumable, each step a function of seed and step."""

import hashlib
import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
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
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training.instant import network as loss
from instruct_embeddings.training.instant.config import InstantConfig, InstantTraining
from instruct_embeddings.training.instant.draws import Drawn, Draws, Words
from instruct_embeddings.training.instant.network import InstantStudent, MoveNetwork
from instruct_embeddings.training.instant.sets import (
    Embed,
    LabelledSet,
    read_answered,
    read_labelled,
    read_retrieval,
)
from instruct_embeddings.training.log import RunLog, TrainEvent, Window
from instruct_embeddings.training.optimiser import make_optimiser, seed_of, update
from instruct_embeddings.training.settings import BackboneConfig
from instruct_embeddings.training.state import CHECKPOINT, load_state, recover, resumed, save_state
from instruct_embeddings.training.student import make_student
from instruct_embeddings.training.tables import read_toml
from instruct_embeddings.transform.files import write_whole
from instruct_embeddings.transform.vectors import unit_rows

VECTORS = "vectors"
RECIPES = Path(__file__).parents[1] / "recipes"
_KEPT_FRAMES = 20_000
_CENTRED_ON = 24  # groups from which the head learns what all queries share


def train_instant(
    config: InstantTraining,
    data: Path,
    *,
    resume: bool = False,
    on_event: Callable[[TrainEvent], None] = lambda event: None,
) -> Path:
    """Train an instant query.

    Args:
        config: The whole run.
        data: Folder with the labelled files, `relations/` and `plain/`, as
            `scripts/prepare_training_data.py` writes them.
        resume: Go on from the state in the output folder; start anew where there is none.
        on_event: Called every `[run] log_every` steps.

    Returns:
        Folder of the checkpoint, in the output folder.
    """
    output, run = config.run.output, config.run
    recover(output)
    done = resumed(output, config.digest, resume=resume)
    device = run.device or "cpu"
    draws, space = open_draws(config.instant, data, output / VECTORS, device)
    student = make(config.instant, device, run.seed)
    named = student.trainable()
    faster = config.instant.head_rate
    optimiser = make_optimiser(
        named, config.optimiser, lambda name: faster if name.startswith("head.") else 1.0
    )
    if done.step:
        load_state(output, named, optimiser)
    else:
        _centre(student, draws, config)
    log = RunLog(output, resume_at=done.step)
    while done.step < run.steps:
        started = time.perf_counter()
        parts = take_step(config, student, draws, optimiser, named, done.step)
        seconds = time.perf_counter() - started
        window = done.window.batch(parts, config.instant.groups * config.instant.rows)
        window = replace(window, seconds=window.seconds + seconds)
        done = replace(done, step=done.step + 1, seconds=done.seconds + seconds, window=window)
        if done.step % run.log_every == 0 or done.step == run.steps:
            event = done.window.event(done.step, run.steps)
            done = replace(done, window=Window())
            log.write(event)
            on_event(event)
        if done.step % run.save_every == 0:
            save_state(output, done, named, optimiser)
            student.save(output / CHECKPOINT, space, config.instant.strength)
    student.save(output / CHECKPOINT, space, config.instant.strength)
    log.plot()
    return output / CHECKPOINT


def make(config: InstantConfig, device: str, seed: int) -> InstantStudent:
    """The encoder to start from, with a new head."""
    settings = find_source(EncoderOptions(model=config.start)).settings
    backbone = BackboneConfig(start=Path(config.start), train="lora", attention="sdpa")
    student = make_student(settings, backbone, device=device, seed=seed)
    freeze_below(student.model, config.layers)
    width = student.model.backbone.hidden_size
    network = MoveNetwork(width, width, hidden=config.hidden, longest=config.longest_move)
    own = student.model.settings
    frame = partial(
        student.template.frame, soft_prompts=own.soft_prompts, max_tokens=own.max_tokens
    )
    return InstantStudent(student, network.to(device), lru_cache(_KEPT_FRAMES)(frame))


def freeze_below(model: InstEmb, layers: int) -> None:
    """Train the last layers only; soft prompts stand below them and stay as they are."""
    below = range(model.backbone.depth - layers)
    kept = [f".{part}.{number}." for part in ("layer", "layers") for number in below]
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
        if file.stem == "natinst" and file.stem not in config.held_out:
            most, longest = config.most_answers, config.longest // 2
            labelled += read_answered(file, rewrites, embed, most=most, longest=longest)
        elif file.stem not in config.held_out:
            table, most = instructions.get(file.stem, {}), config.most_texts
            labelled += read_labelled(file, table, embed, most=most, longest=config.longest)
    relations, plain = (
        [
            read_retrieval(folder, embed)
            for folder in sorted((data / part).iterdir())
            if folder.name not in config.held_out
        ]
        for part in ("relations", "plain")
    )
    return Draws(labelled, relations, plain, Words(words), config.kinds, config.shares), space


def take_step(
    config: InstantTraining,
    student: InstantStudent,
    draws: Draws,
    optimiser: torch.optim.Optimizer,
    named: Mapping[str, nn.Parameter],
    step: int,
) -> dict[str, float]:
    """One step; the parts of its loss by kind, which add up to it."""
    own = config.instant
    rng = random.Random(seed_of(config.run.seed, step))
    torch.manual_seed(seed_of(config.run.seed, step))
    groups = [draws.group(rng, own.rows) for _ in range(own.groups)]
    tokens = rng.choices(own.text_tokens, own.text_shares)[0]
    read = student.read(groups, tokens)
    vectors = np.concatenate([group.vectors for group in groups])
    moves = student.network(read, _tensor(vectors, read.device))
    parts: dict[str, float] = defaultdict(float)
    total = moves.new_zeros(())
    for group, moved in zip(groups, torch.split(moves, own.rows), strict=True):
        found = losses(own, group, moved)
        total = total + torch.stack(list(found.values())).sum() / own.groups
        for name, value in found.items():
            parts[f"{group.kind}.{name}"] += float(value.detach()) / own.groups
    if not torch.isfinite(total):
        raise ConfigError(
            f"The loss of step {step} is {float(total.detach())}, no finite number. Lower "
            "[optimiser] learning_rate."
        )
    total.backward()
    update(optimiser, named, config.optimiser, step, config.run.steps)
    return parts


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
            every = config.all_relevant
            ranked = (1 - every) * ranked + every * loss.all_relevant(scores, relevant)
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


@torch.no_grad()
def _centre(student: InstantStudent, draws: Draws, config: InstantTraining) -> None:
    rng = random.Random(seed_of(config.run.seed, -1))
    groups = [draws.group(rng, config.instant.rows) for _ in range(_CENTRED_ON)]
    tokens = max(config.instant.text_tokens)
    student.network.centre(torch.cat([student.read([group], tokens) for group in groups]))


def _tensor(array: "np.ndarray[Any, Any]", device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


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
