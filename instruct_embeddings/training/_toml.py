"""TOML files: settings and tables of instructions."""

import sys
from pathlib import Path
from typing import Any

from instruct_embeddings._extras import require
from instruct_embeddings._reading import TooLargeError, read_limited
from instruct_embeddings.errors import ConfigError

MAX_TOML_BYTES = 16 * 1024 * 1024

# Python 3.10 has no parser of its own; tomli is the same one.
_PARSER = "tomllib" if sys.version_info >= (3, 11) else "tomli"


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ConfigError: The file cannot be read, is not UTF-8, or breaks TOML's syntax; the message
            names file and line.
        MissingExtraError: Python 3.10 without tomli.
    """
    parser = require(_PARSER, extra="train")
    try:
        text = read_limited(path, MAX_TOML_BYTES).decode("utf-8-sig")
    except TooLargeError as exc:
        raise ConfigError(
            f"The file {path} is too large: {exc}. Pass a file of settings or instructions."
        ) from exc
    except OSError as exc:
        raise ConfigError(
            f"The file {path} cannot be read: {exc.strerror or exc}. "
            "Pass the path of a TOML file that exists."
        ) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(
            f"The file {path} is not UTF-8 (byte {exc.start}), as TOML must be. Save it as UTF-8."
        ) from exc
    try:
        tables: dict[str, Any] = parser.loads(text)
    except RecursionError as exc:
        raise ConfigError(
            f"The file {path} nests values too deeply. Lists of lists are not needed: write it as "
            "the tables of the documentation."
        ) from exc
    except ValueError as exc:
        raise ConfigError(f"The file {path} is not TOML: {exc}. Mend that line.") from exc
    return tables
