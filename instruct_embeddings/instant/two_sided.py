"""What the embedding classes of all hosts have in common: queries for documents."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from typing_extensions import Self

from instruct_embeddings._arguments import UNSET, Unset, given
from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder.encoder import Embeddings, InstructEncoder
from instruct_embeddings.encoder.fingerprint import EmbeddingRecord, digest
from instruct_embeddings.encoder.hub import locate
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.precision import quantise
from instruct_embeddings.instant.query import DEFAULT_INSTANT, InstantQuery
from instruct_embeddings.transform.vectors import unit_rows


class TwoSidedEncoder(InstructEncoder):
    """An encoder that also embeds queries for documents which have another instruction, or none.

    An embedding under an instruction does not lie among generic ones. So where the documents are
    generic vectors of the default model, the instant query moves the generic vector of the query
    instead. Everything else is encoded under its instruction: by other models, for documents that
    have an instruction, and where an option chooses how instructions are read (`adapter`,
    `refine_steps`) or makes another space of the default model (`truncate_layers`).
    """

    def __init__(self, options: EncoderOptions | None = None) -> None:
        """Describe an encoder; nothing is read before it is used."""
        super().__init__(options)
        self._instant: InstantQuery | None = None
        self._making = threading.Lock()

    def encode_queries(
        self, texts: Sequence[str], instruction: str | None, *, documents: str | None
    ) -> Embeddings:
        """Embed queries.

        Args:
            texts: n queries.
            instruction: Theirs; None for generic embeddings.
            documents: Instruction of the documents; None where they are generic.

        Returns:
            Shape (n, dimension), of the length and precision of the documents; see `encode`.
        """
        instant = self._instant_for(instruction, documents)
        if instruction is None or instant is None:
            return self.encode(texts, instruction=instruction)
        return self._shaped(instant.fold(self._checked(texts), instruction))

    async def aencode_queries(
        self, texts: Sequence[str], instruction: str | None, *, documents: str | None
    ) -> Embeddings:
        """The same as `encode_queries` without blocking the event loop."""
        # Files say which model it is.
        instant = await asyncio.to_thread(self._instant_for, instruction, documents)
        if instruction is None or instant is None:
            return await self.aencode(texts, instruction=instruction)
        checked = await asyncio.to_thread(self._checked, texts)
        return self._shaped(await instant.afold(checked, instruction))

    def query_fingerprint(self, instruction: str | None, *, documents: str | None) -> str:
        """A stable string for caches of queries, as `fingerprint` is one for documents."""
        instant = self._instant_for(instruction, documents)
        if instruction is None or instant is None:
            return self.fingerprint(instruction=instruction, role="query")
        return digest([self.fingerprint(role="query"), instant.fingerprint(instruction)])

    def close(self) -> None:
        """Give the memory back, that of the instant query too; then refuse to work."""
        super().close()
        with self._making:
            if self._instant is not None:
                self._instant.close()

    def _instant_for(self, instruction: str | None, documents: str | None) -> InstantQuery | None:
        """The instant query, where it is the one to embed queries."""
        if instruction is None or documents is not None or not self._is_default():
            return None
        with self._making:
            if self._instant is None:
                devices = self.options.devices  # their workers are for many texts
                self._instant = InstantQuery.from_options(
                    replace(
                        self.options,
                        model=DEFAULT_INSTANT,
                        device=devices[0] if devices else self.options.device,
                        devices=(),
                        refine_steps=None,
                    )
                )
            return self._instant

    def _is_default(self) -> bool:
        options = self.options
        if options.adapter or options.refine_steps or options.truncate_layers:
            return False
        return self._lease.source.model == locate(None, None, options)

    def _checked(self, texts: Sequence[str]) -> Sequence[str]:
        """Texts, and options, that generic embeddings can be made of."""
        request, _ = self._calls.prepare(texts, None, None)
        return request.texts

    def _shaped(self, folded: FloatArray) -> Embeddings:
        """Folded queries in the dimension, length and precision of the documents."""
        kept = folded[:, : self.options.truncate_dim]
        return quantise(unit_rows(kept) if self.options.normalize else kept, self.options.precision)


class TwoSided:
    """Documents and queries of one encoder, each under an instruction of their own."""

    if TYPE_CHECKING:
        # Only for the type checker: hosts that use pydantic would take these for fields.
        query_instruction: str | None
        document_instruction: str | None

        @property
        def encoder(self) -> TwoSidedEncoder:
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
        return self.encoder.query_fingerprint(
            self.query_instruction, documents=self.document_instruction
        )

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

    def _encode_queries(self, texts: Sequence[str]) -> Embeddings:
        """Embed queries for the documents."""
        return self.encoder.encode_queries(
            texts, self.query_instruction, documents=self.document_instruction
        )

    async def _aencode_queries(self, texts: Sequence[str]) -> Embeddings:
        """The same without blocking the event loop."""
        return await self.encoder.aencode_queries(
            texts, self.query_instruction, documents=self.document_instruction
        )
