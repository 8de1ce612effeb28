"""Settings of a training run of the instant query, from TOML."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from instruct_embeddings.config import at_least
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training._tables import as_names, as_number, as_share, build, check_names
from instruct_embeddings.training._toml import read_toml
from instruct_embeddings.training.config_run import OptimiserConfig, RunConfig

KINDS = ("labels", "relations", "constraints", "plain", "keep")
_WHERE = "[instant]"


@dataclass(frozen=True)
class InstantConfig:
    """What is drawn, and what the losses weigh: `[instant]`.

    Attributes:
        start: Checkpoint of an encoder to start from: a folder, or one that comes with the package.
        layers: Layers of the encoder that are trained, the last ones; the others stay as they are,
            which halves the time of a step.
        groups: Groups of queries in a step; each is of one set.
        rows: Queries of a group.
        kinds: Share of each kind of group.
        shares: Share of each retrieval set.
        kind_weights: What the ranking loss of each kind counts.
        most_texts: Texts of a labelled set.
        most_answers: Texts of an instruction whose answers recur.
        longest: Characters of a labelled text.
        text_tokens: Longest query texts; each step takes one of them.
        text_shares: How often each is taken.
        temperature: Divides the cosines of queries and documents.
        all_relevant: Share of the loss over all texts of a label, beside that over the nearest.
        keep: Weight of the divergence from the generic ranking where nothing is asked for.
        named: Weight of the names of labels.
        named_temperature: Divides the cosines of moves and names.
        length: Weight of the squared length of moves.
        strength: Share of each move that the checkpoint makes: a whole move gains more where it is
            right, and costs more where it is not.
        longest_move: Longest move; a query vector has length 1.
        hidden: Width of the trust.
        head_rate: The head learns so many times as fast as the encoder.
        held_out: Sets that are left out, to measure on them.
    """

    start: str = "instruct-minilm-l6-v1"
    layers: int = 3
    groups: int = 5
    rows: int = 12
    kinds: Mapping[str, float] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    kind_weights: Mapping[str, float] = field(default_factory=dict)
    most_texts: int = 2200
    most_answers: int = 140
    longest: int = 900
    text_tokens: tuple[int, ...] = (32, 48, 96)
    text_shares: tuple[float, ...] = (0.5, 0.35, 0.15)
    temperature: float = 0.05
    all_relevant: float = 0.3
    keep: float = 2.0
    named: float = 0.2
    named_temperature: float = 0.1
    length: float = 0.05
    longest_move: float = 1.0
    strength: float = 1.0
    hidden: int = 96
    head_rate: float = 3.0
    held_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("layers", "groups", "rows", "most_texts", "most_answers", "longest", "hidden"):
            at_least(f"{_WHERE} {name}", getattr(self, name), 1, optional=False)
        for name in ("temperature", "named_temperature", "longest_move", "strength", "head_rate"):
            as_number(self, _WHERE, name, above=0.0, low=0.0)
        for name in ("keep", "named", "length"):
            as_number(self, _WHERE, name, low=0.0)
        as_share(self, _WHERE, "all_relevant")
        as_names(self, _WHERE, "held_out")
        for name in ("kinds", "kind_weights"):
            check_names(getattr(self, name), KINDS, f"[instant.{name}]")
        for name in ("text_tokens", "text_shares"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.kinds or len(self.text_tokens) != len(self.text_shares):
            raise ConfigError(
                f"{_WHERE} needs kinds, and as many text_shares as text_tokens; got "
                f"kinds={dict(self.kinds)}, {self.text_tokens} and {self.text_shares}."
            )


@dataclass(frozen=True)
class InstantTraining:
    """The whole run.

    Attributes:
        instant: What is drawn and weighed.
        optimiser: AdamW and its schedule.
        run: How long, where and how exactly.
    """

    instant: InstantConfig
    optimiser: OptimiserConfig
    run: RunConfig

    @property
    def digest(self) -> str:
        """Of all that decides the weights; another run cannot go on from its state."""
        described = asdict(replace(self, run=replace(self.run, output=Path(), save_every=1)))
        return sha256(repr(described).encode()).hexdigest()[:32]


def read_config(file: Path, *, output: Path | None = None, **changes: Any) -> InstantTraining:
    """Read a TOML file.

    Args:
        file: The file.
        output: Folder of the run, instead of that of the file.
        changes: Settings of `[run]` to replace, where they are not None.

    Raises:
        ConfigError: The file cannot be read, or a setting is unknown or out of its range.
    """
    tables = read_toml(file)
    check_names(tables, ("instant", "optimiser", "run"), str(file))
    run = build(RunConfig, tables.get("run", {}), "[run]")
    given = {name: value for name, value in changes.items() if value is not None}
    if output is not None:
        given["output"] = output
    return InstantTraining(
        build(InstantConfig, tables.get("instant", {}), _WHERE),
        build(OptimiserConfig, tables.get("optimiser", {}), "[optimiser]"),
        replace(run, **given),
    )
