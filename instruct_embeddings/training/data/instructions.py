"""The instructions table: how each aspect of each set is asked for, in several wordings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, StrictBool, StrictStr

from instruct_embeddings._reading import cut, shown
from instruct_embeddings.config import check_instruction, normalise_instruction
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training.tables import Text, build, read_toml, settings

_REWRITES = "rewrites"


@dataclass(frozen=True)
class Aspect:
    """How one aspect of a set is asked for and answered."""

    name: str  # set and aspect, "clinc150/intent"
    # Wordings of one instruction; none where the aspect is left out.
    instructions: tuple[str, ...] = ()
    # Answers of labels whose own wording would not do.
    answers: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name without the set: the key in the `labels` of a row."""
        return self.name.partition("/")[2]

    def answer(self, label: str) -> str:
        """The answer for a label: as given, or its words in lower case."""
        given = self.answers.get(label)
        if given is not None:
            return given
        return " ".join(label.replace("_", " ").replace("-", " ").lower().split()) or label


@dataclass(frozen=True)
class InstructionTable:
    """Instructions by set and aspect, and other wordings of rows' own instructions."""

    origin: str = ""  # named in errors
    # By name; empty instructions mean that the aspect is left out.
    aspects: Mapping[str, Aspect] = field(default_factory=dict)
    # Wordings to use instead of an instruction that stands in a row.
    rewrites: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def aspect(self, source: str, name: str) -> Aspect:
        """How an aspect of a set is asked for; ConfigError where the table does not say."""
        found = self.aspects.get(f"{source}/{name}")
        if found is None:
            table = (
                f"the file {self.origin}" if self.origin else "data.instructions, which is none,"
            )
            raise ConfigError(
                f"The set {source!r} has labels for the aspect {shown(name)}, and {table} has no "
                f"instructions for it. Write [{source}.{cut(name)}] with instructions = "
                '["What ...?", ...] there, or with skip = true to leave the aspect out.'
            )
        return found

    def check_competing(self, source: str, names: Sequence[str]) -> None:
        """Raise ConfigError unless the competing aspects of a set are known."""
        known = sorted(a.label for key, a in self.aspects.items() if key.startswith(f"{source}/"))
        if unknown := [name for name in names if name not in known]:
            raise ConfigError(
                f"[[data.sources]] {source} competing={list(names)} names {unknown}, which are no "
                f"aspects of the set {source!r} in {self.origin or 'data.instructions'}; there are "
                f"{shown(known)}. Correct the names, or write [{source}.{unknown[0]}] with "
                'instructions = ["What ...?", ...] there.'
            )

    def wordings(self, instruction: str) -> tuple[str, ...]:
        """What may be asked instead of a row's own instruction; itself where nothing is given."""
        return self.rewrites.get(instruction, (instruction,))


def load_instructions(path: Path | None) -> InstructionTable:
    """Read a table of instructions from a TOML file; None gives an empty table.

    ```toml
    [clinc150.intent]
    instructions = ["What does the user want?", "What is the intent?"]
    answers = { oos = "something else" }

    [clinc150.domain]
    skip = true

    [[rewrites]]
    instruction = "Answer the question."
    instructions = ["Answer the question.", "What is the answer?"]
    ```

    Raises:
        ConfigError: The file cannot be read, or something in it is not as above.
    """
    if path is None:
        return InstructionTable()
    aspects: dict[str, Aspect] = {}
    rewrites: dict[str, tuple[str, ...]] = {}
    tables = read_toml(path)
    try:
        for source, table in tables.items():
            if source == _REWRITES:
                rewrites = _read_rewrites(table)
                continue
            for name, entry in _as_table(table, source).items():
                one = build(_AspectTable, entry, f"{source}.{name}")
                asked = () if one.skip else one.instructions
                aspects[f"{source}/{name}"] = Aspect(f"{source}/{name}", asked, one.answers)
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc}") from exc
    return InstructionTable(str(path), aspects, rewrites)


def _wordings(values: tuple[str, ...]) -> tuple[str, ...]:
    texts = tuple(check_instruction(value) for value in values)
    if not texts or len({normalise_instruction(text) for text in texts}) < len(texts):
        raise ValueError(
            "Input should be one or more different instructions; case, spacing and end marks do "
            "not count"
        )
    return texts


_Wordings = Annotated[tuple[StrictStr, ...], AfterValidator(_wordings)]


@settings
class _AspectTable:
    instructions: _Wordings = ()
    answers: dict[str, Text] = field(default_factory=dict)
    skip: StrictBool = False

    def __post_init__(self) -> None:
        if not (self.skip or self.instructions):
            raise ValueError("lacks the key 'instructions'. Write instructions = [\"What ...?\"].")


@settings
class _Rewrite:
    instruction: Text
    instructions: _Wordings


def _as_table(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"[{cut(name)}] is {shown(value)}, not a table. Write tables such as [clinc150.intent]."
        )
    return value


def _read_rewrites(entries: object) -> dict[str, tuple[str, ...]]:
    if not isinstance(entries, list):
        raise ConfigError(f"{_REWRITES} is not a list of tables. Write [[{_REWRITES}]].")
    found: dict[str, tuple[str, ...]] = {}
    for entry in entries:
        one = build(_Rewrite, entry, _REWRITES)
        if found.setdefault(one.instruction.strip(), one.instructions) is not one.instructions:
            raise ConfigError(
                f"[[{_REWRITES}]] repeats the instruction {shown(one.instruction)}. Join the two."
            )
    return found
