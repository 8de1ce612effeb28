"""A whole run in one TOML file: frozen, checked when read, kept beside its checkpoints."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import field, fields, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainValidator, TypeAdapter

from instruct_embeddings.encoder.settings import (
    EncoderSettings,
    RefinementSettings,
    TemplateSettings,
)
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training.settings import (
    BackboneConfig,
    DataConfig,
    LossConfig,
    OptimiserConfig,
    RunConfig,
    ValidationConfig,
)
from instruct_embeddings.training.tables import build, named, read_toml, settings, unknown_keys

# Where a run is kept, how often it reports and where it runs: another value, the same result.
_WITHOUT_EFFECT: dict[str, tuple[str, ...]] = {
    "backbone": ("gradient_checkpointing", "local_files_only", "cache_folder", "architecture"),
    "data": ("strict",),
    "run": ("output", "device", "log_every", "save_every"),
}
_OF_CHECKPOINTS = ("adapter", "backbone")


def _encoder_settings(value: object) -> EncoderSettings:
    """The `[model]` table, checked by the encoder's own settings."""
    if isinstance(value, EncoderSettings):
        return value
    values = _known(value, EncoderSettings, "[model]")
    if "base_model" not in values:
        raise ValueError("[model] lacks the key 'base_model'. Add it.")
    for name, kind in (("template", TemplateSettings), ("refinement", RefinementSettings)):
        if name in values:
            values[name] = kind(**_known(values[name], kind, f"[model.{name}]"))
    return EncoderSettings(**values)


def _known(table: object, kind: type, where: str) -> dict[str, Any]:
    if not isinstance(table, Mapping):
        raise ValueError(f"{where} is {table!r}, not a table.")
    keys = [one.name for one in fields(kind) if one.name not in _OF_CHECKPOINTS]
    if unknown := unknown_keys(table, keys, where):
        raise ValueError(unknown)
    return dict(table)


@settings
class TrainingConfig:
    """Everything that a run needs to know.

    Attributes:
        model: The encoder to train.
        data: What on.
        backbone: What of the backbone is trained.
        validation: What is held out; None measures nothing.
        loss: What is minimised.
        optimiser: AdamW and its schedule.
        run: Steps, seed, precision, folder.
    """

    model: Annotated[EncoderSettings, PlainValidator(_encoder_settings)]
    data: DataConfig
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    validation: ValidationConfig | None = None
    loss: LossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        model, loss, train = self.model, self.loss, self.backbone.train
        names = {source.name for source in self.data.sources}
        held_out = set(self.validation.sets) if self.validation else set()
        learned = model.soft_prompts or model.pooling in ("dual_anchor_gate", "latent_attention")
        if unknown := sorted(held_out - names):
            raise ValueError(
                f"[validation] sets names {unknown}, which are no [[data.sources]]; there are "
                f"{sorted(names)}. Correct the names."
            )
        if names == held_out:
            raise ValueError(
                f"[validation] sets={sorted(held_out)} holds out every source. Leave one at least."
            )
        if self.run.chunk > self.data.batch_size:
            raise ValueError(
                f"[run] chunk={self.run.chunk} is more than [data] batch_size="
                f"{self.data.batch_size}. Use fewer rows, or 0 for the whole batch at once."
            )
        if train == "none" and not learned:
            raise ValueError(
                f'[backbone] train="none", [model] soft_prompts=0 and pooling={model.pooling!r} '
                'leave nothing to train. Add soft prompts, or train="lora".'
            )
        if loss.anchors == "both" and (model.refinement.steps or not model.soft_prompts):
            raise ValueError(
                '[loss] anchors="both" needs soft prompts and no refinement, and [model] has '
                f"soft_prompts={model.soft_prompts} and refinement.steps="
                f'{model.refinement.steps}. Use anchors="pooled", or change these.'
            )
        if loss.drift is not None and train != "full":
            raise ValueError(
                f"[loss.drift] keeps the generic space, and [backbone] train={train!r} leaves that "
                'as it is: without an instruction, LoRA layers are off. Use train="full".'
            )
        if "dropout" in loss.views and not self.backbone.dropout:
            raise ValueError(
                '[loss] views has "dropout", and with [backbone] dropout=0.0 the second pass gives '
                "the same embedding. Use dropout=0.1, or leave the view out."
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON and TOML can hold; what is None is left out."""
        data: dict[str, Any] = TypeAdapter(TrainingConfig).dump_python(
            self,
            mode="json",
            exclude={"model": {*_OF_CHECKPOINTS}},
            exclude_none=True,
            warnings=False,
        )
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "TrainingConfig":
        """The reverse of `to_dict`, and the tables of a config file.

        Raises:
            ConfigError: A key is unknown or missing, or a value is out of its range.
        """
        return build(cls, data)

    @property
    def digest(self) -> str:
        """A hash of all that decides the result; folders count by the names of their files."""
        data = self.to_dict()
        for table, names in _WITHOUT_EFFECT.items():
            for name in names:
                data[table].pop(name, None)
        sources = data["data"]["sources"]
        competing = any(source["competing"] for source in sources)
        for source in sources:
            source["path"] = Path(source["path"]).name
            # Runs from before there was such a key are to be resumed.
            if not competing:
                del source["competing"]
        if "instructions" in data["data"]:
            data["data"]["instructions"] = Path(data["data"]["instructions"]).name
        written = json.dumps(data, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(written.encode()).hexdigest()


def load_config(
    path: Path,
    *,
    data: Path | None = None,
    changes: Sequence[tuple[str, Any]] = (),
) -> TrainingConfig:
    """Read a config file.

    Args:
        path: TOML file. The table of instructions is sought beside it, and so is the file whose
            tables it `extends`.
        data: Folder of the sources; by default that of the config file.
        changes: Dotted keys such as "loss.temperature" with values that replace those of the file.

    Raises:
        ConfigError: It is no TOML; a key is unknown or missing; a value is out of its range.
    """
    tables = _read(path)
    with named(path):
        for key, value in changes:
            _change(tables, key, value)
        if isinstance(run := tables.setdefault("run", {}), dict):
            run.setdefault("output", f"runs/{path.stem}")
        config = TrainingConfig.from_dict(tables)
    folder, asked = data or path.parent, config.data.instructions
    sources = tuple(replace(one, path=folder / one.path) for one in config.data.sources)
    asked = path.parent / asked if asked else None
    return replace(config, data=replace(config.data, sources=sources, instructions=asked))


def _read(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The tables of a file, over those of the file that it extends."""
    tables = read_toml(path)
    table = tables.get("data")
    if isinstance(table, dict) and isinstance(table.get("instructions"), str):
        beside = path.parent / Path(table["instructions"]).expanduser()
        table["instructions"] = str(beside.absolute())
    base = tables.pop("extends", None)
    if base is None:
        return tables
    # `Path.resolve` refuses a link to itself; so it stays what it is, and cannot be read later.
    own = Path(os.path.realpath(path))
    if not isinstance(base, str) or Path(os.path.realpath(path.parent / base)) in (own, *above):
        raise ConfigError(
            f"{path}: extends={base!r} is no other TOML file. Name one that does not lead back "
            "here."
        )
    return _over(_read(path.parent / base, (own, *above)), tables)


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Tables of both; where both have a value, that of the second."""
    merged = {
        key: _over(below[key], above[key])
        for key in below.keys() & above
        if isinstance(below[key], dict) and isinstance(above[key], dict)
    }
    return below | above | merged


def _change(tables: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for name in path:
        tables = tables.setdefault(name, {})
        if not isinstance(tables, dict):
            raise ConfigError(
                f"{key!r} leads through {name!r}, which is no table. Change the file instead."
            )
    tables[last] = value
