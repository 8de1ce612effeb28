"""The files of training data: rows of JSONL, and the table of instructions by set and aspect."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, StrictBool, StrictStr

from instruct_embeddings._reading import cut, shown
from instruct_embeddings._records import json_lines, parse_object, shown_keys
from instruct_embeddings.config import check_instruction, normal_form
from instruct_embeddings.errors import ConfigError, DataError
from instruct_embeddings.training.tables import Text, build, named, read_toml, settings

_REWRITES = "rewrites"


@dataclass(frozen=True)
class Example:
    """What a training run learns from: a text, an instruction, the answer to give."""

    text: str
    instruction: str  # what is asked about it
    answer: str
    negatives: tuple[str, ...] = ()  # wrong answers given with the row
    # Where it was drawn from, such as "clinc150/intent"; answers can be compared within a group
    # only.
    group: str = ""


class Row(NamedTuple):
    """A line of a file: either an instruction of its own with the answer, or labels by aspect.

    Labels of aspects that have several values on this row are left out.
    """

    text: str
    instruction: str | None = None
    answer: str = ""
    negatives: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


def parse_row(line: bytes, *, max_characters: int) -> Row:
    """Read a line, one JSON object in UTF-8; a ValueError says why it is no row."""
    data = parse_object(line)
    text = _text(data, "text")[:max_characters]
    if not text.strip():
        raise ValueError(f"'text' is blank in its first {max_characters:,} characters")
    if "instruction" not in data:
        return Row(text, labels=_labels(data))
    answer, wrong = _text(data, "answer"), data.get("negatives", [])
    if not isinstance(wrong, list):
        raise ValueError(f"'negatives' must be a list of texts, found {type(wrong).__name__}")
    for value in wrong:
        if normal_form(_filled("an entry of 'negatives'", value)) == normal_form(answer):
            raise ValueError(f"'negatives' holds the answer {answer!r:.60}")
    negatives = tuple(value.strip() for value in wrong)
    return Row(text, _text(data, "instruction").strip(), answer.strip(), negatives)


def _text(data: dict[str, Any], name: str) -> str:
    if name not in data:
        raise ValueError(f"{name!r} is missing; keys: {shown_keys(data)}")
    return _filled(repr(name), data[name])


def _filled(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} must be a text that is not blank, found {value!r:.60}")
    return value


def _labels(data: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    labels, several = data.get("labels"), data.get("multi", [])
    if not isinstance(labels, dict) or not labels:
        raise ValueError(
            f"neither 'instruction' and 'answer' nor 'labels' by aspect; keys: {shown_keys(data)}"
        )
    if not isinstance(several, list):
        raise ValueError(f"'multi' must be a list of aspects, found {type(several).__name__}")
    kept = tuple((aspect, label) for aspect, label in labels.items() if aspect not in several)
    for aspect, label in kept:
        if "|" in _filled(f"the label of {aspect!r:.60}", label):
            raise ValueError(
                f"the label {label!r:.60} of {aspect!r:.60} has several values, but 'multi' does "
                "not name the aspect"
            )
    return kept


@dataclass(frozen=True)
class ReadingReport:
    """What came of reading the files."""

    read: int
    skipped: int  # bad lines left out
    problems: tuple[str, ...] = ()  # what was wrong with the first of them, by file and line


class SourceFile:
    """A file of rows that is read line by line, then back by byte offsets; it must not change."""

    def __init__(self, path: Path, max_characters: int) -> None:
        self.path, self._most = path, max_characters
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as exc:
            raise DataError(
                f"The data file {path} cannot be read: {exc.strerror or exc}. "
                "Give the path of a JSONL file that exists."
            ) from exc
        self._stamp = self._state()

    def rows(self) -> Iterator[tuple[int, int, int, Row | ValueError]]:
        """Line number (from 1), byte offset and length of each row, and what is wrong with it."""
        for number, offset, line in json_lines(self.path):
            try:
                found: Row | ValueError = parse_row(line, max_characters=self._most)
            except ValueError as exc:
                found = exc
            yield number, offset, len(line), found
        self.check()

    def row(self, offset: int, length: int) -> Row:
        """A row that was read before."""
        self._file.seek(offset)
        return parse_row(self._file.read(length), max_characters=self._most)

    def check(self) -> None:
        """Raise DataError unless size and time of writing are those of the indexed file."""
        if self._state() != self._stamp:
            raise DataError(
                f"The data file {self.path} changed while training, or is gone. Rows are read back "
                "by their offsets in it. Start again, or bring the old file back and resume."
            )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _state(self) -> tuple[int, int]:
        try:
            state = os.stat(self.path)
        except FileNotFoundError:
            return -1, -1
        return state.st_size, state.st_mtime_ns


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
        words = " ".join(label.replace("_", " ").replace("-", " ").lower().split())
        return self.answers.get(label, words or label)


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
            table = self.origin or "data.instructions, which is none,"
            mine = [one for key, one in self.aspects.items() if key.startswith(f"{source}/")]
            known = sorted(one.label for one in mine)
            raise ConfigError(
                f"The set {source!r} has the aspect {shown(name)} in its rows or in `competing`, "
                f"and {table} has no instructions for it; there are {shown(known)}. Correct the "
                f'name, or write [{source}.{cut(name)}] with instructions = ["What ...?", ...] '
                "there, or with skip = true to leave the aspect out."
            )
        return found


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
    tables = read_toml(path)
    aspects, rewrites = dict[str, Aspect](), dict[str, tuple[str, ...]]()
    with named(path):
        for other in build(tuple[_Rewrite, ...], tables.pop(_REWRITES, ()), _REWRITES):
            if other.instruction.strip() in rewrites:
                raise ConfigError(
                    f"[[{_REWRITES}]] repeats the instruction {shown(other.instruction)}. Join the "
                    "two."
                )
            rewrites[other.instruction.strip()] = other.instructions
        for source, table in tables.items():
            for name, entry in build(dict[str, Any], table, source).items():
                one = build(_AspectTable, entry, f"{source}.{name}")
                asked = () if one.skip else one.instructions
                aspects[f"{source}/{name}"] = Aspect(f"{source}/{name}", asked, one.answers)
    return InstructionTable(str(path), aspects, rewrites)


def _wordings(values: tuple[str, ...]) -> tuple[str, ...]:
    texts = tuple(check_instruction(value) for value in values)
    if not texts or len({normal_form(text) for text in texts}) < len(texts):
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
