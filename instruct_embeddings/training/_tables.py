"""From tables of a TOML file to frozen dataclasses, with messages that say where."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from instruct_embeddings.errors import ConfigError

T = TypeVar("T")


def build(kind: type[T], table: object, where: str, parts: Mapping[str, Any] | None = None) -> T:
    """Make a dataclass of a table.

    Args:
        kind: The dataclass; it checks its values itself.
        table: What stands in the file.
        where: Header of the table, such as "[loss.gist]".
        parts: Dataclasses of the tables inside it, by key.

    Raises:
        ConfigError: It is no table, or a key is unknown or missing, or a value is out of its range.
    """
    given = as_table(table, where)
    known: Any = fields(kind)  # type: ignore[arg-type]
    names = [field.name for field in known if field.init]
    check_names(given, names, where)
    required = [f.name for f in known if f.default is MISSING and f.default_factory is MISSING]
    if missing := [name for name in required if name not in given]:
        raise ConfigError(f"{where} lacks the keys {missing}. Add them.")
    values = dict(given)
    for name, part in (parts or {}).items():
        if values.get(name) is not None:
            values[name] = build(part, values[name], f"{where[:-1]}.{name}]")
    return kind(**values)


def as_table(value: object, where: str) -> Mapping[str, Any]:
    """A table, and nothing else.

    Raises:
        ConfigError: It is something else.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"{where} is {value!r}, not a table. Write {where} on a line of its own and the keys "
            "below it."
        )
    return value


def check_names(given: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Refuse keys that do not exist.

    Raises:
        ConfigError: The message names the unknown ones, those that are known, and a close match.
    """
    unknown = sorted(set(given) - set(known))
    if not unknown:
        return
    close = get_close_matches(unknown[0], known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    what = "the unknown key" if len(unknown) == 1 else "the unknown keys"
    raise ConfigError(
        f"{where} has {what} {', '.join(map(repr, unknown))}; known are {sorted(known)}.{hint} "
        "Correct or remove it."
    )


def as_number(owner: Any, where: str, name: str, *, above: float = -math.inf, low: float) -> None:
    """Check a finite number of at least `low` and keep it as a float: 1 and 1.0 are the same.

    Args:
        owner: The frozen dataclass that holds it.
        where: Header of its table.
        name: Name of the number.
        above: What it must be larger than.
        low: The least value allowed.

    Raises:
        ConfigError: It is something else.
    """
    value = getattr(owner, name)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < low or value <= above:
        least = f"above {above:g}" if above >= low else f"of at least {low:g}"
        raise ConfigError(f"{where} {name}={value!r} is not a number {least}. Correct it.")
    object.__setattr__(owner, name, float(value))


def as_share(owner: Any, where: str, name: str) -> None:
    """Check a number from 0 up to, but not including, 1.

    Raises:
        ConfigError: It is something else.
    """
    value = getattr(owner, name)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value < 1:
        raise ConfigError(
            f"{where} {name}={value!r} is not a share from 0 to below 1. Use one such as 0.1."
        )
    object.__setattr__(owner, name, float(value))


def as_text(owner: Any, where: str, name: str, *, empty: bool = False) -> None:
    """Check a string.

    Raises:
        ConfigError: It is something else, or empty where that is not allowed.
    """
    value = getattr(owner, name)
    if not isinstance(value, str) or not (value.strip() or empty):
        raise ConfigError(f"{where} {name}={value!r} is not a{'' if empty else ' filled'} string.")


def as_path(owner: Any, where: str, name: str) -> None:
    """Keep a file name as a `Path`.

    Raises:
        ConfigError: It is neither a path nor a filled string.
    """
    value = getattr(owner, name)
    if not isinstance(value, str | Path) or not str(value):
        raise ConfigError(f"{where} {name}={value!r} is no path. Use a string such as 'train'.")
    object.__setattr__(owner, name, Path(value).expanduser())


def as_names(owner: Any, where: str, name: str) -> None:
    """Keep a list of different, filled strings as a tuple.

    Raises:
        ConfigError: It is something else.
    """
    value = getattr(owner, name)
    listed = isinstance(value, list | tuple)
    if not listed or not all(isinstance(one, str) and one.strip() for one in value):
        raise ConfigError(f'{where} {name}={value!r} is no list of names. Use one such as ["a"].')
    _check_different(value, where, name)
    object.__setattr__(owner, name, tuple(value))


def as_sizes(owner: Any, where: str, name: str) -> None:
    """Keep a list of different whole numbers of at least 1 as a tuple.

    Raises:
        ConfigError: It is something else, or empty.
    """
    value = getattr(owner, name)
    listed = isinstance(value, list | tuple)
    whole = listed and all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in value)
    if not whole or not value:
        raise ConfigError(
            f"{where} {name}={value!r} is no list of whole numbers of at least 1. Use [128, 64]."
        )
    _check_different(value, where, name)
    object.__setattr__(owner, name, tuple(value))


def _check_different(value: Sequence[Any], where: str, name: str) -> None:
    if len(set(value)) < len(value):
        raise ConfigError(f"{where} {name}={value!r} names one twice. Remove the second.")
