"""Checks of arguments; none of them waits for a GPU."""

from torch import Tensor

from instruct_embeddings.errors import ConfigError


def check_temperature(temperature: float) -> None:
    """Check what similarities are divided by.

    Raises:
        ConfigError: It is not positive.
    """
    if not temperature > 0:
        raise ConfigError(
            f"temperature={temperature!r} is not positive. Use a number such as 0.05."
        )


def check_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Check a shape that would otherwise be broadcast.

    Raises:
        ConfigError: The shape is another one.
    """
    if tuple(tensor.shape) != shape:
        raise ConfigError(
            f"{name} has the shape {tuple(tensor.shape)}; the other arguments ask for {shape}. "
            "Give one entry for each row and candidate."
        )
