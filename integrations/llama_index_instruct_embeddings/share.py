"""One encoder behind several embedding models."""

import weakref

from instruct_embeddings.encoder import InstructEncoder
from instruct_embeddings.errors import ClosedEncoderError


class Share:
    """One user's share of an encoder, which is closed with its last share.

    A copy that lives for one request so finds the weights that an earlier copy loaded, and leaves
    them behind when it is closed or collected.
    """

    def __init__(
        self, encoder: InstructEncoder, shares: "weakref.WeakSet[Share] | None" = None
    ) -> None:
        self._encoder = encoder
        self._shares = weakref.WeakSet() if shares is None else shares
        self._shares.add(self)

    @property
    def closed(self) -> bool:
        """Whether this share was given back."""
        return self not in self._shares

    @property
    def encoder(self) -> InstructEncoder:
        """The encoder.

        Raises:
            ClosedEncoderError: After `close()`.
        """
        if self.closed:
            raise ClosedEncoderError(
                f"The embedding model over {self._encoder!r} was closed. Make a new one, or close "
                "it later."
            )
        return self._encoder

    def another(self) -> "Share":
        """A share for another user of the same encoder."""
        return Share(self.encoder, self._shares)

    def close(self) -> None:
        """Give this share back; the last one closes the encoder."""
        self._shares.discard(self)
        if not self._shares:
            self._encoder.close()
