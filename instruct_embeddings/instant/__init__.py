"""The instant query: answers under an instruction that was never seen, nothing fitted for it."""

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.instant.query import InstantQuery
from instruct_embeddings.protocols import InstantMover

__all__ = ["InstantQuery", "find_instant"]


def find_instant(given: InstantMover | bool | None) -> InstantMover | None:
    """What a retriever of a host takes for its instant query.

    Args:
        given: True for the one that comes with the package, None or False for none.

    Raises:
        ConfigError: It is something else, or a class.
    """
    if given is None or given is False:
        return None
    if given is True:
        return InstantQuery.from_pretrained()
    if isinstance(given, type) or not hasattr(given, "for_collection"):
        raise ConfigError(
            f"instant={given!r} is not an instant query. Pass True for the one that comes with the "
            "package, InstantQuery.from_pretrained(folder) for your own, or None for none."
        )
    return given
