"""The categories that answer an instruction, readable and editable, and counts of a labelling."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import Self

from instruct_embeddings._printable import printed
from instruct_embeddings._reading import brief, parse_json, read_limited
from instruct_embeddings.config import check_instruction
from instruct_embeddings.errors import ConfigError, DataError
from instruct_embeddings.guides.base import digest
from instruct_embeddings.guides.chat import Cost
from instruct_embeddings.guides.llm.prompts import (
    MAX_DESCRIPTION_CHARACTERS,
    MAX_NAME_CHARACTERS,
    category_line,
    one_line,
)

MAX_CATEGORIES = 100
MAX_FILE_BYTES = 1024 * 1024
FORMAT_VERSION = 1
_SHOWN = 12


@dataclass(frozen=True)
class Categories:
    """Names of the categories for one instruction, with a sentence on what belongs to each.

    Attributes:
        instruction: The instruction that they answer; None where they serve any.
        names: At least two different names.
        descriptions: What belongs to a name, for some or all of the names.
    """

    instruction: str | None
    names: tuple[str, ...]
    descriptions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.instruction is not None:
            object.__setattr__(self, "instruction", check_instruction(self.instruction))
        names = tuple(_checked(name, "name", MAX_NAME_CHARACTERS) for name in self.names)
        given = {one_line(name): text for name, text in self.descriptions.items() if text}
        folded = [name.casefold() for name in names]
        twice = sorted({name for name in folded if folded.count(name) > 1})
        unknown = sorted(set(given) - set(names))
        if not 2 <= len(names) <= MAX_CATEGORIES or twice or unknown:
            raise ConfigError(
                f"Got {len(names)} categories; 2 to {MAX_CATEGORIES} different ones, and "
                f"descriptions of these, are allowed. Given twice (case does not count): {twice}; "
                f"described, not named: {unknown}. Add, rename or remove some; 'none of them' is "
                "always possible and needs no category."
            )
        texts = {
            name: _checked(text, "description", MAX_DESCRIPTION_CHARACTERS)
            for name, text in given.items()
        }
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "descriptions", texts)

    @classmethod
    def of(cls, given: "Categories | Mapping[str, str] | Sequence[str]") -> "Categories":
        """Categories from names, or from names with descriptions.

        Raises:
            ConfigError: They are fewer than two or more than 100, empty, too long, or given twice.
        """
        if isinstance(given, Categories):
            return given
        if isinstance(given, str):
            raise ConfigError(
                f"Categories are several names, got one string {given!r}. Use a list."
            )
        return cls(None, tuple(given), given if isinstance(given, Mapping) else {})

    @printed
    def __str__(self) -> str:
        """One line a category."""
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """Each name, with its description where there is one."""
        return [category_line(name, self.descriptions.get(name)) for name in self.names]

    @property
    def digest(self) -> str:
        """Stable hexadecimal digest of names and descriptions."""
        return digest([[name, self.descriptions.get(name)] for name in self.names])

    def to_json(self, path: str | Path) -> None:
        """Write a file that people can read and edit."""
        categories = [
            {"name": name, "description": self.descriptions.get(name, "")} for name in self.names
        ]
        data = {"format_version": FORMAT_VERSION, "instruction": self.instruction}
        text = json.dumps(data | {"categories": categories}, ensure_ascii=False, indent=2)
        Path(path).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def from_json(cls, path: str | Path) -> Self:
        """Read such a file.

        Raises:
            DataError: The file is missing, no JSON, or of another form or a newer version.
            ConfigError: Its categories are fewer than two, empty, too long, or given twice.
        """
        try:
            data = parse_json(read_limited(Path(path), MAX_FILE_BYTES))
            if data["format_version"] > FORMAT_VERSION:
                raise ValueError(f"format_version {data['format_version']} is newer than this code")
            found = {str(one["name"]): str(one["description"]) for one in data["categories"]}
            names = tuple(str(one["name"]) for one in data["categories"])
            instruction = data["instruction"]
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise DataError(
                f"{path} holds no categories ({brief(exc)}). Expected is the JSON "
                'that Categories.to_json writes: {"format_version": 1, "instruction": "...", '
                '"categories": [{"name": "...", "description": "..."}]}.'
            ) from exc
        return cls(instruction, names, found)


@dataclass(frozen=True)
class LabellingReport:
    """Counts of one labelling; the five kinds of rows add up to `rows`.

    Attributes:
        rows: Rows in the sample.
        labelled: Rows that have a category.
        none: Rows to which no category applies.
        refused: Rows that the model refused to judge.
        unparsable: Rows whose replies could not be read, the repair round included.
        unread: Rows without a text, and rows beyond the guide's own sample.
        calls: Calls made for this instruction since the guide was made, failed ones included.
        cached: Questions that were answered from the cache instead.
        cost: What was sent and received for it; tokens are estimates.
        categories: Labelled rows for each category, most frequent first; 0 for unused ones.
    """

    rows: int
    labelled: int
    none: int
    refused: int
    unparsable: int
    unread: int
    calls: int
    cached: int
    cost: Cost
    categories: Mapping[str, int] = field(default_factory=dict)

    @printed
    def __str__(self) -> str:
        """A few readable lines."""
        shown = [f"{name} {count}" for name, count in list(self.categories.items())[:_SHOWN]]
        more = len(self.categories) - len(shown)
        return "\n".join(
            [
                f"{self.labelled} of {self.rows} rows labelled; none of the categories "
                f"{self.none}, refused {self.refused}, unparsable {self.unparsable}, "
                f"not read {self.unread}",
                f"categories: {', '.join(shown)}" + (f", and {more} more" if more > 0 else ""),
                f"cost: {self.cost}; {self.cached} questions answered from the cache",
            ]
        )


def _checked(text: str, what: str, longest: int) -> str:
    if not isinstance(text, str) or not one_line(text) or len(one_line(text)) > longest:
        raise ConfigError(
            f"The {what} of a category is {text!r:.100}; it has to be text of 1 to {longest} "
            "characters. Shorten it, or leave the category out."
        )
    return one_line(text)
