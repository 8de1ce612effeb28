"""`InstructEmbeddingFunction`: Chroma embeds texts itself, under an instruction."""

import copy
import threading
from pathlib import Path
from typing import Any, cast

from chromadb import Documents, EmbeddingFunction, Embeddings
from chromadb.api.types import Space
from chromadb.utils.embedding_functions import register_embedding_function
from typing_extensions import Self, Unpack

from chroma_instruct_embeddings.configuration import (
    check_config,
    check_contents,
    check_update,
    contents_of,
    portable,
    to_config,
)
from instruct_embeddings._types import UNSET, Unset, given
from instruct_embeddings.config import check_instruction
from instruct_embeddings.encoder import EncoderArguments, EncoderOptions
from instruct_embeddings.encoder.encoder import Embeddings as Rows
from instruct_embeddings.instant.two_sided import SharedEncoder, TwoSided, TwoSidedEncoder

# Chroma makes a function anew for each text query of a collection that was opened without one.
# Without these the model would be loaded for each of them. Keys: options, contents of folders.
_kept: dict[tuple[EncoderOptions, tuple[str, ...]], TwoSidedEncoder] = {}
_kept_lock = threading.Lock()


@register_embedding_function
class InstructEmbeddingFunction(TwoSided, EmbeddingFunction[Documents]):
    """Embedding function of Chroma, with an instruction for documents and one for queries.

    The collection stores the model, both instructions and all that shapes the embeddings, so that
    it can be opened without the function wherever `chroma_instruct_embeddings` is imported. It does
    not store what belongs to a machine (devices, batch sizes, caches, network) nor
    `trust_remote_code`: to set these, pass the function when you open the collection.

    Setup:
        `pip install "instruct-embeddings[chroma,offline]"`

    Instantiate:
        ```python
        from chroma_instruct_embeddings import InstructEmbeddingFunction

        function = InstructEmbeddingFunction(instruction="Which method is used?")
        ```

        Nothing is read yet; the model is loaded at the first text, and shared by all functions of
        the process that use the same one. Functions can be pickled.

    Usage:
        Chroma compares functions by name alone. `open_collection` and `check_collection` compare
        model and instruction too.

        ```python
        from chroma_instruct_embeddings import open_collection

        collection = open_collection(client, "papers", function)
        collection.add(ids=ids, documents=texts)
        collection.query(query_texts=["contrastive learning"])
        ```

        Chroma takes at most `client.get_max_batch_size()` texts at a time:

        ```python
        from chromadb.utils.batch_utils import create_batches

        for batch in create_batches(client, ids=ids, documents=texts):
            collection.add(*batch)
        ```

    Args:
        model: Hub id, folder of a Hugging Face model, or folder of a saved encoder. None means
            instruct-minilm-l6-v1, which comes with this package.
        instruction: A plain sentence for documents and queries; None for generic embeddings.
        query_instruction: What queries get instead, None included. Where documents have none, the
            default model moves the generic vector of the query among those of the documents.
        document_instruction: What documents get instead, None included.
        show_progress: Show a bar on stderr while documents are embedded.
        options: Every further field of `EncoderOptions`.

    Raises:
        ConfigError: An option is out of its range.
        InstructionError: An instruction is empty or too long.

    Attributes:
        query_instruction: Instruction of queries.
        document_instruction: Instruction of documents.
        show_progress: Whether a bar is shown.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        instruction: str | None = None,
        query_instruction: str | Unset | None = UNSET,
        document_instruction: str | Unset | None = UNSET,
        show_progress: bool = False,
        **options: Unpack[EncoderArguments],
    ) -> None:
        self.query_instruction = _chosen(query_instruction, instruction)
        self.document_instruction = _chosen(document_instruction, instruction)
        self.show_progress = show_progress
        chosen = EncoderOptions(model=None if model is None else str(model), **options)
        self._options = chosen
        self._own: SharedEncoder | None = SharedEncoder(TwoSidedEncoder(chosen))
        # Of a function that Chroma made: what the collection says its folders hold.
        self._contents: dict[str, str] | None = None

    def __call__(self, input: Documents) -> Embeddings:
        """Embed documents.

        Args:
            input: n texts, at least one.

        Returns:
            n float32 rows. Of precision "int8" they hold whole numbers, of "binary" 1 and -1.

        Raises:
            TypeError: `input` is a bare string, or holds something that is not a string.
            TextError: A text holds a lone surrogate.
            ValueError: `input` is empty, which Chroma does not allow.
        """
        encoded = self.encoder.encode(
            input, instruction=self.document_instruction, show_progress=self.show_progress
        )
        return self._rows(encoded)

    def embed_query(self, input: Documents) -> Embeddings:
        """Embed queries; see `__call__`. No queries give no rows."""
        return self._rows(self._encode_queries(input))

    @property
    def encoder(self) -> TwoSidedEncoder:
        """The encoder behind the function; nothing is loaded by asking for it.

        Raises:
            ClosedEncoderError: After `close()`, unless Chroma made the function.
        """
        if self._own is not None:
            return self._own.encoder
        key = (self._options, tuple(sorted((self._contents or {}).values())))
        with _kept_lock:
            if key not in _kept:
                check_contents(self.get_config())
                _kept[key] = TwoSidedEncoder(self._options)
            return _kept[key]

    def close(self) -> None:
        """Give the memory back, unless another function uses the same model.

        The function refuses to work from now on. Those that Chroma made itself of equal settings
        let the model go too, and load it again when a text comes.
        """
        with _kept_lock:
            equal = [key for key in _kept if key[0] == portable(self._options)]
            kept = [_kept.pop(key) for key in equal]
        for held in (self._own, *kept):
            if held is not None:
                held.close()

    @staticmethod
    def name() -> str:
        """The name under which collections know the function."""
        return "instruct_embeddings"

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> "InstructEmbeddingFunction":
        """The function that a collection stored; called by Chroma, often.

        Such functions share an encoder for each model, which stays loaded until `close()` of one.

        Raises:
            ConfigError: A setting is unknown to this version.
        """
        options = check_config(config)
        built = InstructEmbeddingFunction(
            query_instruction=config["query_instruction"],
            document_instruction=config["document_instruction"],
        )
        built._options, built._own = portable(options), None
        built._contents = dict(config.get("contents") or {})
        return built

    def get_config(self) -> dict[str, Any]:
        """What a collection stores: plain data that names the model and all that shapes vectors."""
        contents = contents_of(self._options) if self._contents is None else self._contents
        return self._described(contents)

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Refuse a configuration that this version cannot use.

        Raises:
            ConfigError: A setting is missing, unknown or out of its range.
        """
        check_config(config)

    def validate_config_update(
        self, old_config: dict[str, Any], new_config: dict[str, Any]
    ) -> None:
        """Refuse another model or document instruction; called by `Collection.modify`.

        Raises:
            CollectionMismatchError: Stored vectors could not be compared with new ones.
        """
        check_update(old_config, new_config)

    def default_space(self) -> Space:
        """Cosine."""
        return "cosine"

    def supported_spaces(self) -> list[Space]:
        """All of Chroma's; "int8" rows have a scale each and need cosine."""
        if self._options.precision == "int8":
            return ["cosine"]
        return ["cosine", "ip", "l2"]

    def is_legacy(self) -> bool:
        """Never: collections store the function."""
        return False

    def __repr__(self) -> str:
        model, *settings = self._described({}).items()
        listed = [repr(model[1]), *(f"{name}={value!r}" for name, value in settings)]
        return f"{type(self).__name__}({', '.join(listed)})"

    def _described(self, contents: dict[str, str]) -> dict[str, Any]:
        instructions = (self.query_instruction, self.document_instruction)
        return to_config(self._options, *instructions, contents)

    def _under(self, query: str | None, documents: str | None) -> Self:
        twin = copy.copy(self)
        twin.query_instruction = _chosen(query, None)
        twin.document_instruction = _chosen(documents, None)
        if self._own is not None:
            closed = self._own.closed
            twin._own = (
                SharedEncoder(TwoSidedEncoder(self._options)) if closed else self._own.another()
            )
        return twin

    def _rows(self, encoded: Rows) -> Embeddings:
        return cast(Embeddings, list(self.encoder.floats(encoded)))


def _chosen(own: str | Unset | None, common: str | None) -> str | None:
    chosen = given(own, common)
    return None if chosen is None else check_instruction(chosen)
