"""What the embedding classes of all hosts have in common: queries for documents."""

import asyncio
import threading
import weakref
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from instruct_embeddings._types import UNSET, FloatArray, Unset, given
from instruct_embeddings.encoder.encoder import Embeddings, InstructEncoder
from instruct_embeddings.encoder.files import digest, locate
from instruct_embeddings.encoder.fingerprint import EmbeddingRecord
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.precision import float_rows, quantise
from instruct_embeddings.errors import ClosedEncoderError
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
        """Embed n queries for documents under an instruction, or none, as `documents` says.

        The result has the shape (n, dimension), and the length and precision of the documents.
        """
        instant = self._instant_for(instruction, documents)
        if instruction is None or instant is None:
            return self.encode(texts, instruction=instruction)
        request, _ = self._prepare(texts, None, None)
        return self._shaped(instant.fold(request.texts, instruction))

    async def aencode_queries(
        self, texts: Sequence[str], instruction: str | None, *, documents: str | None
    ) -> Embeddings:
        """The same as `encode_queries` without blocking the event loop."""
        # Files say which model it is.
        instant = await asyncio.to_thread(self._instant_for, instruction, documents)
        if instruction is None or instant is None:
            return await self.aencode(texts, instruction=instruction)
        request, _ = await asyncio.to_thread(self._prepare, texts, None, None)
        return self._shaped(await instant.afold(request.texts, instruction))

    def floats(self, rows: Embeddings) -> FloatArray:
        """Rows of any precision as vector stores take them: float32, shape (n, dimension).

        Whole numbers from -127 to 127 for "int8", 1 and -1 for "binary"; compare both by cosine.
        """
        precision = self.options.precision
        return rows if precision == "float32" else float_rows(rows, precision)

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
        if instruction is None or documents is not None or not self._is_default:
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

    @cached_property
    def _is_default(self) -> bool:
        options = self.options
        if options.adapter or options.refine_steps or options.truncate_layers:
            return False
        return self.source.model == locate(None, None, options)

    def _shaped(self, folded: FloatArray) -> Embeddings:
        """Folded queries in the dimension, length and precision of the documents."""
        kept = folded[:, : self.options.truncate_dim]
        return quantise(unit_rows(kept) if self.options.normalize else kept, self.options.precision)


class SharedEncoder:
    """One user's hold on an encoder that several embeddings of a host use; the last closes it.

    A copy that lives for one request finds the weights that an earlier one loaded, and leaves them
    behind when it is closed or collected.
    """

    def __init__(
        self,
        encoder: TwoSidedEncoder,
        users: "weakref.WeakSet[SharedEncoder] | None" = None,
    ) -> None:
        """Hold an encoder with other `users`, or as the first one."""
        self._encoder = encoder
        self._users = weakref.WeakSet() if users is None else users
        self._users.add(self)

    @property
    def encoder(self) -> TwoSidedEncoder:
        """The encoder; ClosedEncoderError after `close()`."""
        if self not in self._users:
            raise ClosedEncoderError(
                f"The embeddings over {self._encoder!r} were closed. Make new ones, or close them "
                "later."
            )
        return self._encoder

    def for_copy(self, own: "SharedEncoder") -> "SharedEncoder":
        """The hold of a copy: on this encoder where it serves, else on the copy's own."""
        if self not in self._users or own.encoder.options != self.encoder.options:
            return own
        return SharedEncoder(self.encoder, self._users)

    def close(self) -> None:
        """Let go of the encoder; its last user closes it."""
        self._users.discard(self)
        if not self._users:
            self._encoder.close()
        # A user that has let go keeps no model alive.
        self._encoder = type(self._encoder)(self._encoder.options)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies of its own kind, deep ones and pickles, are first users of another encoder."""
        return SharedEncoder, (self._encoder,)


class TwoSided:
    """What embedding classes of hosts inherit: documents and queries, each under an instruction.

    They have the attributes `query_instruction`, `document_instruction`, and `_shared`, the hold on
    the encoder.
    """

    if TYPE_CHECKING:
        # Only for the type checker: hosts that use pydantic would take these for fields.
        query_instruction: str | None
        document_instruction: str | None
        show_progress: bool
        _shared: SharedEncoder

        def _under(self, query: str | None, documents: str | None) -> Self:
            """A copy under these instructions."""

    @property
    def encoder(self) -> TwoSidedEncoder:
        """The encoder behind, for all that the interface of the host has no method for.

        Raises:
            ClosedEncoderError: After `close()`.
        """
        return self._shared.encoder

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
            document_instruction: For documents, which then need a collection of their own; left
                out, it stays as it is.

        Raises:
            ValueError: An instruction is empty or too long.
        """
        return self._under(instruction, given(document_instruction, self.document_instruction))

    def close(self) -> None:
        """Give the memory back, unless others use the same model; then refuse to work."""
        self._shared.close()

    def __enter__(self) -> Self:
        """Itself; `close()` follows at the end of the context."""
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _encode_documents(self, texts: Sequence[str]) -> Embeddings:
        return self.encoder.encode(
            texts, instruction=self.document_instruction, show_progress=self.show_progress
        )

    async def _aencode_documents(self, texts: Sequence[str]) -> Embeddings:
        return await self.encoder.aencode(
            texts, instruction=self.document_instruction, show_progress=self.show_progress
        )

    def _encode_queries(self, texts: Sequence[str]) -> Embeddings:
        return self.encoder.encode_queries(
            texts, self.query_instruction, documents=self.document_instruction
        )

    async def _aencode_queries(self, texts: Sequence[str]) -> Embeddings:
        return await self.encoder.aencode_queries(
            texts, self.query_instruction, documents=self.document_instruction
        )

    def _query(self, text: str) -> list[float]:
        return self._lists(self._encode_queries(_one_text(text)))[0]

    async def _aquery(self, text: str) -> list[float]:
        return self._lists(await self._aencode_queries(_one_text(text)))[0]

    def _lists(self, rows: Embeddings) -> list[list[float]]:
        """Rows as Python floats, the only numbers that all vector stores take."""
        # Row by row, so that other threads and the event loop get their turn in between.
        return [row.tolist() for row in self.encoder.floats(rows)]


def _one_text(text: str) -> list[str]:
    if not isinstance(text, str):
        raise TypeError(
            f"A query is one text, got {type(text).__name__}. Pass a str, and lists of texts to "
            "the methods for documents."
        )
    return [text]
