"""What the embedding classes of all hosts have in common."""

from typing import TYPE_CHECKING

from typing_extensions import Self

from instruct_embeddings._arguments import UNSET, Unset, given
from instruct_embeddings.encoder.fingerprint import EmbeddingRecord

if TYPE_CHECKING:
    from instruct_embeddings.encoder.encoder import InstructEncoder


class TwoSided:
    """Documents and queries of one encoder, each under an instruction of their own."""

    if TYPE_CHECKING:
        # Only for the type checker: hosts that use pydantic would take these for fields.
        query_instruction: str | None
        document_instruction: str | None

        @property
        def encoder(self) -> InstructEncoder:
            """The encoder behind both."""

        def close(self) -> None:
            """Give the memory back."""

        def _under(self, query: str | None, documents: str | None) -> Self:
            """A copy under these instructions."""

    @property
    def record(self) -> EmbeddingRecord:
        """What a collection has to remember of its documents' embeddings."""
        return self.encoder.record(instruction=self.document_instruction)

    @property
    def fingerprint(self) -> str:
        """Namespace for caches of documents: equal only where equal texts have equal embeddings."""
        return self.encoder.fingerprint(instruction=self.document_instruction, role="document")

    @property
    def query_fingerprint(self) -> str:
        """The same for queries."""
        return self.encoder.fingerprint(instruction=self.query_instruction, role="query")

    def with_instruction(
        self, instruction: str | None, *, document_instruction: str | Unset | None = UNSET
    ) -> Self:
        """A copy that asks something else: it shares the weights, and has a `close()` of its own.

        Args:
            instruction: For queries; None for generic embeddings.
            document_instruction: For documents, who then need a collection of their own. Left out,
                it stays as it is, and what is stored or cached stays valid.

        Raises:
            ValueError: An instruction is empty or too long.
        """
        return self._under(instruction, given(document_instruction, self.document_instruction))

    def __enter__(self) -> Self:
        """Itself; `close()` follows at the end of the context."""
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
