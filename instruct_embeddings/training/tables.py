"""TOML files and the tables in them: read with pydantic, refused with messages that say where."""

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field, fields, is_dataclass
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictStr,
    TypeAdapter,
    ValidationError,
)
from pydantic.dataclasses import dataclass
from typing_extensions import dataclass_transform

from instruct_embeddings._extras import require
from instruct_embeddings._reading import TooLargeError, cut, read_limited, shown
from instruct_embeddings.errors import ConfigError

T = TypeVar("T")
_MOST_SHOWN = 3
_LISTS = ("data.sources", "rewrites")

MAX_TOML_BYTES = 16 * 1024 * 1024
# Python 3.10 has no parser of its own; tomli is the same one.
PARSER = "tomllib" if sys.version_info >= (3, 11) else "tomli"


def different(values: tuple[T, ...]) -> tuple[T, ...]:
    """The values, of which none may stand there twice."""
    if len(set(values)) < len(values):
        raise ValueError("every value must stand there once only")
    return values


def _filled_path(value: object) -> object:
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError("Input should be a path such as 'train.jsonl'")
    return Path(value).expanduser()


Count = Annotated[int, Field(strict=True, ge=0)]
Positive = Annotated[int, Field(strict=True, ge=1)]
Weight = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Above0 = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(strict=True, ge=0, lt=1)]
Text = Annotated[StrictStr, Field(min_length=1, pattern=r"\S")]
Names = Annotated[tuple[Text, ...], AfterValidator(different)]
Sizes = Annotated[tuple[Positive, ...], Field(min_length=1), AfterValidator(different)]
FilePath = Annotated[Path, BeforeValidator(_filled_path)]


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def settings(kind: type[T]) -> type[T]:
    """Make a class a frozen dataclass of pydantic that raises ConfigError for what it refuses."""
    made: Any = dataclass(frozen=True, config=ConfigDict(extra="forbid"))(kind)
    checked = made.__init__

    @wraps(checked)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            checked(self, *args, **kwargs)
        except ValidationError as exc:
            raise _refused(made, exc, whole=made.__name__) from exc

    made.__init__ = init
    return made  # type: ignore[no-any-return]


def build(kind: type[T], table: object, where: str = "") -> T:
    """Make settings of a table; `where` is its name, such as "loss.gist", empty for a whole file.

    Raises:
        ConfigError: A key is unknown or missing, or a value is out of its range. The message names
            each table, key and value, and what is allowed.
    """
    try:
        return TypeAdapter(kind).validate_python(table)
    except ValidationError as exc:
        raise _refused(kind, exc, where) from exc


def unknown_keys(given: Collection[str], known: Collection[str], where: str) -> str:
    """What to say of keys that do not exist; empty where all do."""
    unknown = sorted(set(given) - set(known))
    if not unknown:
        return ""
    close = get_close_matches(unknown[0], known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    what = "the unknown key" + "s" * (len(unknown) > 1)
    named = cut(", ".join(map(repr, unknown)))
    return f"{where} has {what} {named}; known are {sorted(known)}.{hint} Correct or remove it."


def _refused(
    kind: Any, exc: ValidationError, where: str = "", whole: str = "The file"
) -> ConfigError:
    """An error of pydantic in the words of the file, or of the class where there is none."""
    said = [_explained(kind, error, where, whole) for error in exc.errors()[:_MOST_SHOWN]]
    return ConfigError(" ".join(dict.fromkeys(said)))


def _explained(kind: Any, error: Any, where: str, root: str) -> str:
    path, value = list(error["loc"]), error["input"]
    if path and isinstance(path[0], int) and is_dataclass(kind):
        # An argument by its place.
        path[:1] = [one.name for one in fields(kind)[path[0] :][:1]]
    whole = _header(where, path, root)  # where the value is a table itself
    # The number of an entry of a list belongs to the list; that of a source names the source.
    *tables, key = path[:-1] if path and isinstance(path[-1], int) else path or ("",)
    header = _header(where, tables, root)
    if error["type"] == "unexpected_keyword_argument":
        return unknown_keys([key], _keys(kind, tables), header)
    if error["type"] == "missing":
        return f"{header} lacks the key {key!r}. Add it."
    if error["type"] in ("dataclass_type", "dict_type"):
        return f"{whole} is {shown(value)}, not a table. Write {whole} on a line of its own."
    if error["type"] == "tuple_type" and not path:
        return f"{whole} is {shown(value)}, not a list of tables. Write {whole} above each of them."
    said = error["msg"].removeprefix("Value error, ")
    if said.startswith("["):
        # A check of a whole table says itself what it is about.
        return str(said)
    if error["type"] == "value_error" and (isinstance(value, Mapping) or not path):
        return f"{whole} {said}"
    must = said.removeprefix("Input should be ")
    said = f" must be {must}" if must != said else f": {said[0].lower()}{said[1:]}"
    return f"{header} {cut(str(key))}={shown(value)}{said.rstrip('.')}."


def _header(where: str, path: Sequence[Any], root: str) -> str:
    names = [*filter(None, [where]), *(name for name in path if isinstance(name, str))]
    if not names:
        return root
    number = next((f" {one + 1}:" for one in path if isinstance(one, int)), "")
    table = cut(".".join(names))
    return f"[[{table}]]{number}" if table in _LISTS else f"[{table}]"


def _keys(kind: Any, path: Any) -> list[str]:
    """The keys of the table at a path below a dataclass."""
    kind = _table_of(kind)
    for name in path:
        if isinstance(name, str):
            kind = _table_of(kind.__pydantic_fields__[name].annotation)
    return [field.name for field in fields(kind)]


def _table_of(kind: Any) -> Any:
    """The dataclass that a type names: itself, or what it is a list of, or may be."""
    while not is_dataclass(kind):
        kind = next(part for part in get_args(kind) if part is not type(None))
    return kind


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ConfigError: The file cannot be read, is not UTF-8, or breaks TOML's syntax; the message
            names file and line.
        MissingExtraError: Python 3.10 without tomli.
    """
    parser = require(PARSER, extra="train")
    try:
        text = read_limited(path, MAX_TOML_BYTES).decode("utf-8-sig")
        return parser.loads(text)  # type: ignore[no-any-return]
    except (OSError, TooLargeError) as exc:
        raise ConfigError(
            f"The file {path} cannot be read: {getattr(exc, 'strerror', None) or exc}. "
            "Pass the path of a TOML file."
        ) from exc
    except RecursionError as exc:
        raise ConfigError(
            f"The file {path} nests values too deeply. Write fewer brackets within one another."
        ) from exc
    except ValueError as exc:
        raise ConfigError(
            f"The file {path} is not TOML in UTF-8: {exc}. Correct that place."
        ) from exc


@contextmanager
def named(file: Path) -> Iterator[None]:
    """Put the name of a file in front of what is wrong with its tables."""
    try:
        yield
    except ConfigError as exc:
        raise ConfigError(f"{file}: {exc}") from exc


def parse_value(text: str) -> Any:
    """A value as TOML writes it; what is none, such as a bare word, is a string."""
    try:
        tables = require(PARSER, extra="train").loads(f"value = {text}")
    except ValueError:
        return text
    return tables["value"] if len(tables) == 1 else text
