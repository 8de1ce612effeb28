"""Our own encoder as a judge."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from instruct_embeddings.transform.vectors import unit_rows

if TYPE_CHECKING:
    from instruct_embeddings.encoder import InstructEncoder


class EncoderJudge:
    """Our own encoder, which reads query and texts under the instruction: free, and local.

    It says how alike they are in the respect that the instruction names, so it judges questions of
    the kind "more like this"; what answers a request, a reranker judges better.

    Instantiate:
        ```python
        judge = EncoderJudge()  # the weights that come with the package
        ```
    """

    def __init__(self, encoder: "InstructEncoder | None" = None) -> None:
        """Load nothing yet; None takes the encoder that comes with the package."""
        if encoder is None:
            from instruct_embeddings.encoder import InstructEncoder

            encoder = InstructEncoder.from_pretrained()
        self._encoder = encoder
        self.key = f"encoder:{encoder.name}"

    def __repr__(self) -> str:
        """By its encoder."""
        return f"EncoderJudge({self._encoder!r})"

    def relevance(
        self, query: str, instruction: str | None, texts: Sequence[str]
    ) -> Sequence[float | None]:
        """Cosines of the texts with the query, times 10, as they are no probabilities."""
        vectors = unit_rows(self._encoder.encode([query, *texts], instruction=instruction))
        return [10.0 * float(cosine) for cosine in vectors[1:] @ vectors[0]]
