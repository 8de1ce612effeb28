"""Settings of a training run of the instant query, from TOML."""

from dataclasses import asdict, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from instruct_embeddings.training.settings import OptimiserConfig, RunConfig
from instruct_embeddings.training.tables import (
    Above0,
    Fraction,
    Names,
    Positive,
    Text,
    Weight,
    build,
    named,
    read_toml,
    settings,
    unknown_keys,
)

KINDS = ("labels", "relations", "constraints", "plain", "keep")


@settings
class InstantConfig:
    """What is drawn, and what the losses weigh: `[instant]`."""

    # Checkpoint of an encoder to start from: a folder, or one that comes with the package.
    start: Text = "instruct-minilm-l6-v1"
    # Layers of the encoder that are trained, the last ones; the others stay as they are, which
    # halves the time of a step.
    layers: Positive = 3
    groups: Positive = 5  # groups of queries in a step; each is of one set
    rows: Positive = 12  # queries of a group
    kinds: dict[str, Weight] = field(default_factory=dict)  # fraction of each kind of group
    shares: dict[str, Weight] = field(default_factory=dict)  # fraction of each retrieval set
    # What the ranking loss of each kind counts.
    kind_weights: dict[str, Weight] = field(default_factory=dict)
    most_texts: Positive = 2200  # texts of a labelled set
    most_answers: Positive = 140  # texts of an instruction whose answers recur
    longest: Positive = 900  # characters of a labelled text
    # Longest query texts; each step takes one of them.
    text_tokens: tuple[Positive, ...] = (32, 48, 96)
    text_shares: tuple[Weight, ...] = (0.5, 0.35, 0.15)  # how often each is taken
    temperature: Above0 = 0.05  # divides the cosines of queries and documents
    # Fraction of the loss over all texts of a label, beside that over the nearest.
    all_relevant: Fraction = 0.3
    # Weight of the divergence from the generic ranking where nothing is asked for.
    keep: Weight = 2.0
    named: Weight = 0.2  # weight of the names of labels
    named_temperature: Above0 = 0.1  # divides the cosines of moves and names
    length: Weight = 0.05  # weight of the squared length of moves
    longest_move: Above0 = 1.0  # longest move; a query vector has length 1
    # Fraction of each move that the checkpoint makes: a whole move gains more where it is right,
    # and costs more where it is not.
    strength: Above0 = 1.0
    hidden: Positive = 96  # width of the trust
    head_rate: Above0 = 3.0  # the head learns so many times as fast as the encoder
    held_out: Names = ()  # sets that are left out, to measure on them

    def __post_init__(self) -> None:
        for name in ("kinds", "kind_weights"):
            if unknown := unknown_keys(getattr(self, name), KINDS, f"[instant.{name}]"):
                raise ValueError(unknown)
        if not self.kinds or len(self.text_tokens) != len(self.text_shares):
            raise ValueError(
                "[instant] needs kinds, and as many text_shares as text_tokens; got "
                f"kinds={self.kinds}, {self.text_tokens} and {self.text_shares}."
            )


@settings
class InstantTraining:
    """The whole run."""

    instant: InstantConfig
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    run: RunConfig = field(default_factory=RunConfig)

    @property
    def digest(self) -> str:
        """Of all that decides the weights; another run cannot go on from its state."""
        described = asdict(replace(self, run=replace(self.run, output=Path(), save_every=1)))
        return sha256(repr(described).encode()).hexdigest()[:32]


def read_config(file: Path, **changes: Any) -> InstantTraining:
    """Read a TOML file; `changes` that are not None replace settings of `[run]`."""
    tables = read_toml(file)
    given = {name: value for name, value in changes.items() if value is not None}
    if isinstance(run := tables.setdefault("run", {}), dict):
        run.update(given)
    with named(file):
        return build(InstantTraining, tables)
