"""The instructions table: how each aspect of each set is asked for, in several wordings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from instruct_embeddings._reading import cut, shown
from instruct_embeddings.config import check_instruction, normalise_instruction
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training.tables import read_toml

_REWRITES = "rewrites"


@dataclass(frozen=True)
class Aspect:
    """How one aspect of a set is asked for and answered.

    Attributes:
        name: Set and aspect, "clinc150/intent".
        instructions: Wordings of one instruction; none where the aspect is left out.
        answers: Answers of labels whose own wording would not do.
    """

    name: str
    instructions: tuple[str, ...] = ()
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
    """Instructions by set and aspect, and other wordings of rows' own instructions.

    Attributes:
        origin: Named in errors.
        aspects: By name; empty instructions mean that the aspect is left out.
        rewrites: Wordings to use instead of an instruction that stands in a row.
    """

    origin: str = ""
    aspects: Mapping[str, Aspect] = field(default_factory=dict)
    rewrites: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def aspect(self, source: str, name: str) -> Aspect:
        """How an aspect of a set is asked for.

        Raises:
            ConfigError: The table does not say; the message names set, aspect and file.
        """
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
        """Make sure that the aspects of a set that are said to compete are known.

        Raises:
            ConfigError: One is not; the message names set, aspect and file.
        """
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
    for source, table in read_toml(path).items():
        if source == _REWRITES:
            rewrites = _read_rewrites(table, str(path))
            continue
        for name, entry in _as_table(table, f"{path}: [{cut(source)}]").items():
            place = f"{path}: [{cut(f'{source}.{name}')}]"
            aspects[f"{source}/{name}"] = _read_aspect(f"{source}/{name}", entry, place)
    return InstructionTable(str(path), aspects, rewrites)


def _read_aspect(name: str, entry: object, place: str) -> Aspect:
    table = _as_table(entry, place)
    _check_keys(table, ("answers", "instructions", "skip"), place)
    skip = table.get("skip", False)
    if not isinstance(skip, bool):
        raise ConfigError(f"{place} skip={shown(skip)} is neither true nor false. Use one of them.")
    if skip:
        return Aspect(name)
    answers = _as_table(table.get("answers", {}), f"{place} answers")
    for label, answer in answers.items():
        if not isinstance(answer, str) or not answer.strip():
            raise ConfigError(
                f"{place} answers: the label {shown(label)} has {shown(answer)} instead of a text. "
                'Write label = "answer".'
            )
    return Aspect(name, _read_wordings(table.get("instructions"), place), answers)


def _read_rewrites(entries: object, place: str) -> dict[str, tuple[str, ...]]:
    if not isinstance(entries, list):
        raise ConfigError(f"{place}: {_REWRITES} is not a list of tables. Write [[{_REWRITES}]].")
    rewrites: dict[str, tuple[str, ...]] = {}
    for number, entry in enumerate(entries, start=1):
        here = f"{place}: [[{_REWRITES}]] {number}"
        table = _as_table(entry, here)
        _check_keys(table, ("instruction", "instructions"), here)
        instruction = table.get("instruction")
        if not isinstance(instruction, str) or not instruction.strip():
            raise ConfigError(
                f"{here} instruction={shown(instruction)} is not the instruction of any row. "
                "Copy it from the file of examples."
            )
        if instruction.strip() in rewrites:
            raise ConfigError(f"{here} repeats the instruction {shown(instruction)}. Join the two.")
        rewrites[instruction.strip()] = _read_wordings(table.get("instructions"), here)
    return rewrites


def _read_wordings(values: object, place: str) -> tuple[str, ...]:
    if not isinstance(values, list) or not values:
        raise ConfigError(
            f"{place} instructions={shown(values)} is not a list of one or more instructions. "
            'Write instructions = ["What ...?", ...].'
        )
    wordings: dict[str, str] = {}
    for value in values:
        try:
            text = check_instruction(value)
        except ConfigError as exc:
            raise ConfigError(f"{place} instructions: {exc}") from exc
        if wordings.setdefault(normalise_instruction(text), text) is not text:
            raise ConfigError(
                f"{place} instructions: {shown(text)} stands there twice; case, spacing and end "
                "marks do not count. Remove one."
            )
    return tuple(wordings.values())


def _as_table(value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(
            f"{place} is {type(value).__name__} {shown(value)}, not a table. "
            "Write tables such as [clinc150.intent]."
        )
    return value


def _check_keys(table: Mapping[str, Any], known: tuple[str, ...], place: str) -> None:
    if unknown := sorted(set(table) - set(known)):
        raise ConfigError(
            f"{place} has the unknown keys {shown(unknown)}; known are {list(known)}. "
            "Correct the names."
        )
