"""Optional dependencies: one probe, one typed error."""

import importlib
from types import ModuleType

from instruct_embeddings.errors import MissingExtraError


def require(module: str, *, extra: str | None = None) -> ModuleType:
    """Import an optional dependency, or one that an incomplete installation may lack.

    Args:
        module: Import name, dotted names included.
        extra: The extra of this distribution that installs it; None where it comes with all.

    Returns:
        The imported module.

    Raises:
        MissingExtraError: The module is not installed; the message says how to install it.
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
