"""Optional dependencies: one probe, one typed error."""

import importlib
from types import ModuleType

from instruct_embeddings.errors import MissingExtraError


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        module: Import name, dotted names included.
        extra: The extra of this distribution that installs it.

    Returns:
        The imported module.

    Raises:
        MissingExtraError: The module is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as exc:
        # A dependency of the module that is missing is somebody else's fault and named as it is.
        if exc.name is None or not f"{module}.".startswith(f"{exc.name}."):
            raise
        raise MissingExtraError(
            f"{module} is not installed. Install it with: "
            f'pip install "instruct-embeddings[{extra}]"'
        ) from exc
