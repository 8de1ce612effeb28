"""Optional dependencies, and names that are loaded when they are first used."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType

from instruct_embeddings.errors import MissingExtraError


def require(module: str, *, extra: str | None = None) -> ModuleType:
    """Import an optional dependency, or one that an incomplete installation may lack.

    Raises:
        MissingExtraError: It is not installed; the message names the extra that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as exc:
        # A dependency of the module that is missing is somebody else's fault and named as it is.
        if exc.name is None or not f"{module}.".startswith(f"{exc.name}."):
            raise
        what = f"instruct-embeddings[{extra}]" if extra else "instruct-embeddings"
        raise MissingExtraError(
            f'{module} is not installed. Install it with: pip install "{what}"'
        ) from exc


def lazy_exports(
    package: str,
    exports: Mapping[str, str | tuple[str, ...]],
    *,
    needs: Sequence[str] = (),
    extra: str | None = None,
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose names are loaded when they are first used.

    `exports` gives the module of each name; or the module, and what it needs beside `needs`.
    """

    def load(name: str) -> object:
        if name not in exports:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        entry = exports[name]
        module, *others = (entry,) if isinstance(entry, str) else entry
        for dependency in (*needs, *others):
            require(dependency, extra=extra)
        return getattr(importlib.import_module(f"{package}.{module}"), name)

    return load, lambda: list(sys.modules[package].__all__)
