"""One encoder behind several embeddings of a host."""

import weakref
from typing import Any, Generic, TypeVar

from instruct_embeddings.encoder.encoder import InstructEncoder
from instruct_embeddings.errors import ClosedEncoderError

E = TypeVar("E", bound=InstructEncoder)


class Share(Generic[E]):
    """One user's share of an encoder, which is closed with its last share.

    A copy that lives for one request finds the weights that an earlier one loaded, and leaves them
    behind when it is closed or collected.
    """

    def __init__(self, encoder: E, shares: "weakref.WeakSet[Share[E]] | None" = None) -> None:
        """A further share, or the first one where `shares` is absent."""
        self._encoder = encoder
        self._shares = weakref.WeakSet() if shares is None else shares
        self._shares.add(self)

    @property
    def closed(self) -> bool:
        """Whether this share was given back."""
        return self not in self._shares

    @property
    def encoder(self) -> E:
        """The encoder.

        Raises:
            ClosedEncoderError: After `close()`.
        """
        if self.closed:
            raise ClosedEncoderError(
                f"The embeddings over {self._encoder!r} were closed. Make new ones, or close them "
                "later."
            )
        return self._encoder

    def another(self) -> "Share[E]":
        """A share for another user of the same encoder."""
        return Share(self.encoder, self._shares)

    def close(self) -> None:
        """Give this share back; the last one closes the encoder."""
        self._shares.discard(self)
        if not self._shares:
            self._encoder.close()
        # A share that was given back keeps no model alive.
        self._encoder = type(self._encoder)(self._encoder.options)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies of its own kind, deep ones and pickles, are first shares of another encoder."""
        return Share, (self._encoder,)
