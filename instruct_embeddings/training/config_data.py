"""Settings of the training data and of what is held out to measure."""

from dataclasses import dataclass
from pathlib import Path

from instruct_embeddings.config import at_least
from instruct_embeddings.encoder.options import is_bool
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training._tables import (
    as_names,
    as_number,
    as_path,
    as_share,
    as_text,
)


@dataclass(frozen=True)
class SourceConfig:
    """One JSONL file of examples: `[[data.sources]]`.

    Attributes:
        path: The file.
        name: Name of the set; by default the file's without its ending.
        weight: How often its groups are drawn, against those of other files.
        text_tokens: Most tokens of a text of this file; by default only the encoder's limit counts.
        competing: Aspects that have nothing to do with one another, such as topic and stance. Where
            one of them is asked for, the answers that a text has to the others are wrong answers,
            so that an embedding leaves out what was not asked.
    """

    path: Path
    name: str = ""
    weight: float = 1.0
    text_tokens: int | None = None
    competing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = "[[data.sources]]"
        as_path(self, where, "path")
        as_text(self, where, "name", empty=True)
        if not self.name:
            object.__setattr__(self, "name", self.path.stem)
        if "/" in self.name:
            raise ConfigError(
                f"{where} name={self.name!r} holds a slash, which parts set and aspect in the "
                "names of groups. Choose another name."
            )
        as_number(self, f"{where} {self.name}", "weight", above=0.0, low=0.0)
        at_least(f"{where} {self.name} text_tokens", self.text_tokens, 1)
        as_names(self, f"{where} {self.name}", "competing")
        if len(self.competing) == 1:
            raise ConfigError(
                f"{where} {self.name} competing={list(self.competing)} names one aspect, which "
                "has nothing to compete with. Name two or more, or none."
            )


@dataclass(frozen=True)
class DataConfig:
    """What is trained on, and how batches are drawn: `[data]`.

    Attributes:
        sources: The files.
        instructions: TOML table of instructions by set and aspect; needed where rows have labels.
        batch_size: Examples in a batch.
        temperature: Power of a group's rows in its chance to be drawn: 0 draws all groups of equal
            weight equally often, 1 in proportion to their rows.
        max_rows: Rows of a group that count at most for that chance.
        min_group_rows: Fewest rows that share an instruction of their own to form a group.
        extra_answers: Most further answers of the group that a batch carries as negatives.
        strict: Stop at the first bad line; otherwise bad lines are counted and skipped.
        max_characters: Most characters of a text; the rest is cut before it is tokenized.
    """

    sources: tuple[SourceConfig, ...]
    instructions: Path | None = None
    batch_size: int = 64
    temperature: float = 0.5
    max_rows: int = 20_000
    min_group_rows: int = 32
    extra_answers: int = 64
    strict: bool = False
    max_characters: int = 2000

    def __post_init__(self) -> None:
        where = "[data]"
        object.__setattr__(self, "sources", tuple(self.sources))
        names = [source.name for source in self.sources]
        if not names:
            raise ConfigError("[data] has no sources. Add at least one [[data.sources]] with path.")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(
                f"[[data.sources]] has the names {twice} more than once. "
                "Give each file a name of its own."
            )
        if self.instructions is not None:
            as_path(self, where, "instructions")
        # Contrastive losses need a second row to compare with.
        at_least(f"{where} batch_size", self.batch_size, 2, optional=False)
        for name in ("max_rows", "min_group_rows", "max_characters"):
            at_least(f"{where} {name}", getattr(self, name), 1, optional=False)
        at_least(f"{where} extra_answers", self.extra_answers, 0, optional=False)
        as_number(self, where, "temperature", low=0.0)
        is_bool(f"{where} strict", self.strict)


@dataclass(frozen=True)
class ValidationConfig:
    """What is held out, and when it is measured: `[validation]`.

    Attributes:
        sets: Names of sources that are never trained on.
        instructions: Share of the other sources' instructions that is never trained on.
        rows: Most rows of a measurement.
        every: Steps between measurements.
        patience: Measurements without a gain after which training stops; 0 never stops early.
    """

    sets: tuple[str, ...] = ()
    instructions: float = 0.1
    rows: int = 500
    every: int = 500
    patience: int = 5

    def __post_init__(self) -> None:
        where = "[validation]"
        as_names(self, where, "sets")
        as_share(self, where, "instructions")
        at_least(f"{where} rows", self.rows, 2, optional=False)
        at_least(f"{where} every", self.every, 1, optional=False)
        at_least(f"{where} patience", self.patience, 0, optional=False)
