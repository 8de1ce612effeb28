"""A whole run in one TOML file: frozen, checked when read, kept beside its checkpoints."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainValidator

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
    own = [one.name for one in fields(EncoderSettings) if one.name not in _OF_CHECKPOINTS]
    values = _known(value, own, "[model]")
    if "base_model" not in values:
        raise ValueError("[model] lacks the key 'base_model'. Add it.")
    for name, kind in (("template", TemplateSettings), ("refinement", RefinementSettings)):
        if name in values:
            known = [one.name for one in fields(kind)]
            values[name] = kind(**_known(values[name], known, f"[model.{name}]"))
    return EncoderSettings(**values)


def _known(table: object, keys: Sequence[str], where: str) -> dict[str, Any]:
    if not isinstance(table, Mapping):
        raise ValueError(f"{where} is {table!r}, not a table.")
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
        self._check_held_out()
        self._check_loss()
        if self.run.chunk > self.data.batch_size:
            raise ValueError(
                f"[run] chunk={self.run.chunk} is more than [data] batch_size="
                f"{self.data.batch_size}. Use fewer rows, or 0 for the whole batch at once."
            )
        learned = self.model.pooling in ("dual_anchor_gate", "latent_attention")
        if self.backbone.train == "none" and not (self.model.soft_prompts or learned):
            raise ValueError(
                '[backbone] train="none", [model] soft_prompts=0 and '
                f"pooling={self.model.pooling!r} leave nothing to train. Add soft prompts, or "
                'train="lora".'
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON and TOML can hold; what is None is left out."""
        data = _plain(asdict(self))
        for name in _OF_CHECKPOINTS:
            del data["model"][name]
        return data  # type: ignore[no-any-return]

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

    def _check_held_out(self) -> None:
        if self.validation is None:
            return
        names = [source.name for source in self.data.sources]
        if unknown := sorted(set(self.validation.sets) - set(names)):
            raise ValueError(
                f"[validation] sets names {unknown}, which are no [[data.sources]]; there are "
                f"{names}. Correct the names."
            )
        if set(names) <= set(self.validation.sets):
            raise ValueError(
                f"[validation] sets={list(self.validation.sets)} holds out every source. "
                "Leave at least one to train on."
            )

    def _check_loss(self) -> None:
        if self.loss.anchors == "both" and not self.model.soft_prompts:
            raise ValueError(
                '[loss] anchors="both" needs soft prompts, and [model] soft_prompts=0. Use '
                'anchors="pooled", or add soft prompts.'
            )
        if self.model.refinement.steps and self.loss.anchors == "both":
            raise ValueError(
                '[loss] anchors="both" reads states that [model] refinement.steps='
                f"{self.model.refinement.steps} has no use for. Leave it out, or use steps=0."
            )
        if self.loss.drift is not None and self.backbone.train != "full":
            raise ValueError(
                "[loss.drift] keeps the generic space, and [backbone] train="
                f"{self.backbone.train!r} leaves that as it is: without an instruction, LoRA "
                'layers are off. Leave it out, or use train="full".'
            )
        if "dropout" in self.loss.views and not self.backbone.dropout:
            raise ValueError(
                '[loss] views has "dropout", and with [backbone] dropout=0.0 the second pass gives '
                "the same embedding. Use dropout=0.1, or leave the view out."
            )


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
        run = tables.setdefault("run", {})
        if isinstance(run, dict):
            run.setdefault("output", f"runs/{path.stem}")
        _resolve(tables.get("data"), path.parent, data or path.parent)
        return TrainingConfig.from_dict(tables)


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
    merged = dict(below)
    for key, value in above.items():
        known = merged.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            value = _over(known, value)
        merged[key] = value
    return merged


def _resolve(table: object, beside: Path, folder: Path) -> None:
    """Make the file names in `[data]` whole; what is no file name is refused later."""
    if not isinstance(table, dict):
        return
    if isinstance(table.get("instructions"), str):
        table["instructions"] = str(beside / Path(table["instructions"]).expanduser())
    sources = table.get("sources")
    for source in sources if isinstance(sources, list) else ():
        if isinstance(source, dict) and isinstance(source.get("path"), str) and source["path"]:
            source["path"] = str(folder / Path(source["path"]).expanduser())


def _change(tables: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    table = tables
    for name in path:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise ConfigError(
                f"{key!r} leads through {name!r}, which is no table. Change the file instead."
            )
    if not path or not all(path) or not last:
        raise ConfigError(f"{key!r} is no key in a table. Write one such as loss.temperature.")
    table[last] = value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items() if one is not None}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value
