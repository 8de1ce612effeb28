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
    read_toml,
    settings,
    unknown_keys,
)

KINDS = ("labels", "relations", "constraints", "plain", "keep")


@settings
class InstantConfig:
    """What is drawn, and what the losses weigh: `[instant]`.

    Attributes:
        start: Checkpoint of an encoder to start from: a folder, or one that comes with the package.
        layers: Layers of the encoder that are trained, the last ones; the others stay as they are,
            which halves the time of a step.
        groups: Groups of queries in a step; each is of one set.
        rows: Queries of a group.
        kinds: Fraction of each kind of group.
        shares: Fraction of each retrieval set.
        kind_weights: What the ranking loss of each kind counts.
        most_texts: Texts of a labelled set.
        most_answers: Texts of an instruction whose answers recur.
        longest: Characters of a labelled text.
        text_tokens: Longest query texts; each step takes one of them.
        text_shares: How often each is taken.
        temperature: Divides the cosines of queries and documents.
        all_relevant: Fraction of the loss over all texts of a label, beside that over the nearest.
        keep: Weight of the divergence from the generic ranking where nothing is asked for.
        named: Weight of the names of labels.
        named_temperature: Divides the cosines of moves and names.
        length: Weight of the squared length of moves.
        strength: Fraction of each move that the checkpoint makes: a whole move gains more where it
            is right, and costs more where it is not.
        longest_move: Longest move; a query vector has length 1.
        hidden: Width of the trust.
        head_rate: The head learns so many times as fast as the encoder.
        held_out: Sets that are left out, to measure on them.
    """

    start: Text = "instruct-minilm-l6-v1"
    layers: Positive = 3
    groups: Positive = 5
    rows: Positive = 12
    kinds: dict[str, Weight] = field(default_factory=dict)
    shares: dict[str, Weight] = field(default_factory=dict)
    kind_weights: dict[str, Weight] = field(default_factory=dict)
    most_texts: Positive = 2200
    most_answers: Positive = 140
    longest: Positive = 900
    text_tokens: tuple[Positive, ...] = (32, 48, 96)
    text_shares: tuple[Weight, ...] = (0.5, 0.35, 0.15)
    temperature: Above0 = 0.05
    all_relevant: Fraction = 0.3
    keep: Weight = 2.0
    named: Weight = 0.2
    named_temperature: Above0 = 0.1
    length: Weight = 0.05
    longest_move: Above0 = 1.0
    strength: Above0 = 1.0
    hidden: Positive = 96
    head_rate: Above0 = 3.0
    held_out: Names = ()

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


def read_config(file: Path, *, output: Path | None = None, **changes: Any) -> InstantTraining:
    """Read a TOML file; `output` and `changes` that are not None replace settings of `[run]`."""
    config = build(InstantTraining, read_toml(file))
    given = {name: value for name, value in changes.items() if value is not None}
    if output is not None:
        given["output"] = output
    return replace(config, run=build(RunConfig, asdict(config.run) | given, "run"))
