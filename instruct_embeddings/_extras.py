"""Optional dependencies: one probe, one typed error."""

import importlib
from importlib.util import find_spec
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
    if find_spec(module.partition(".")[0]) is None:
        raise MissingExtraError(
            f"{module} is not installed. Install it with: "
            f'pip install "instruct-embeddings[{extra}]"'
        )
    return importlib.import_module(module)
