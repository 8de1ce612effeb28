"""`InstructEmbeddingFunction`: Chroma embeds texts itself, under an instruction."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from chromadb import Documents, EmbeddingFunction, Embeddings
from chromadb.api.types import Space
from chromadb.utils.embedding_functions import register_embedding_function
from typing_extensions import Self, Unpack

from chroma_instruct_embeddings import configuration
from instruct_embeddings._types import given
from instruct_embeddings.config import optional_instruction
from instruct_embeddings.encoder import Embeddings as Rows
from instruct_embeddings.encoder import EncoderArguments, EncoderOptions
from instruct_embeddings.instant import UNSET, SharedEncoder, TwoSided, TwoSidedEncoder, Unset


@register_embedding_function
class InstructEmbeddingFunction(TwoSided, EmbeddingFunction[Documents]):
    """Embedding function of Chroma, with an instruction for documents and one for queries.

    The collection stores all that shapes the embeddings, but neither what belongs to a machine
    (devices, batch sizes, caches) nor `trust_remote_code`: for these pass the function again.

    Setup:
        `pip install "instruct-embeddings[chroma,offline]"`

    Instantiate:
        ```python
        from chroma_instruct_embeddings import InstructEmbeddingFunction, open_collection

        function = InstructEmbeddingFunction(instruction="Which method is used?")
        ```

    Usage:
        ```python
        # Chroma compares functions by name alone; this compares model and instruction too.
        collection = open_collection(client, "papers", function)
        collection.add(ids=ids, documents=texts)  # at most client.get_max_batch_size() at a time
        collection.query(query_texts=["contrastive learning"])
        ```

    Args:
        model: Hub id or folder; None means instruct-minilm-l6-v1, which comes with this package.
        instruction: A plain sentence for documents and queries; None for generic embeddings.
        query_instruction: What queries get instead, None included. Where only they have one, the
            default model moves their generic vectors.
        document_instruction: What documents get instead.
        show_progress: Show a bar on stderr while documents are embedded.
        options: Every further field of `EncoderOptions`; ConfigError where one is out of range.
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
        self.query_instruction = optional_instruction(given(query_instruction, instruction))
        self.document_instruction = optional_instruction(given(document_instruction, instruction))
        self.show_progress = show_progress
        self._options = EncoderOptions(model=None if model is None else str(model), **options)
        self._own: SharedEncoder | None = SharedEncoder(TwoSidedEncoder(self._options))
        self._contents: dict[str, str] | None = None  # stored with the collection

    def __call__(self, input: Documents) -> Embeddings:
        """Embed documents: n float32 rows; integers of "int8", 1 and -1 of "binary"."""
        return self._rows(self._encode_documents(input))

    def embed_query(self, input: Documents) -> Embeddings:
        """Embed queries; see `__call__`. No queries give no rows."""
        return self._rows(self._encode_queries(input))

    @property
    def encoder(self) -> TwoSidedEncoder:
        """The encoder behind; a closed function has none (ClosedEncoderError)."""
        if self._own is not None:
            return self._own.encoder
        return configuration.stored_encoder(self._options, self._contents or {})

    def close(self) -> None:
        """Give the memory back, unless others use the same model; then refuse to work."""
        if self._own is not None:
            self._own.close()
        configuration.close_stored(configuration.portable(self._options))

    @staticmethod
    def name() -> str:
        """The name under which collections know the function."""
        return "instruct_embeddings"

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> "InstructEmbeddingFunction":
        """The function that a collection stored; those of one model share an encoder."""
        options = configuration.check_config(config)
        instructions = {name: config[name] for name in configuration.INSTRUCTIONS}
        built = InstructEmbeddingFunction(**instructions)
        built._options, built._own = configuration.portable(options), None
        built._contents = dict(config.get("contents") or {})
        return built

    def get_config(self) -> dict[str, Any]:
        """What a collection stores: plain data that names the model and all that shapes vectors."""
        found = self._contents
        return self._config(configuration.contents_of(self._options) if found is None else found)

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Refuse a configuration with missing, unknown or wrong settings (ConfigError)."""
        configuration.check_config(config)

    def validate_config_update(
        self, old_config: dict[str, Any], new_config: dict[str, Any]
    ) -> None:
        """Refuse an update under which vectors cannot be compared (CollectionMismatchError)."""
        configuration.check_update(old_config, new_config)

    def default_space(self) -> Space:
        """Cosine."""
        return "cosine"

    def supported_spaces(self) -> list[Space]:
        """All of Chroma's; "int8" rows have a scale each and need cosine."""
        return ["cosine"] if self._options.precision == "int8" else ["cosine", "ip", "l2"]

    def is_legacy(self) -> bool:
        """Never: collections store the function."""
        return False

    def __repr__(self) -> str:
        model, *settings = self._config({}).items()
        listed = [repr(model[1]), *(f"{name}={value!r}" for name, value in settings)]
        return f"{type(self).__name__}({', '.join(listed)})"

    def _config(self, contents: Mapping[str, str]) -> dict[str, Any]:
        instructions = {name: getattr(self, name) for name in configuration.INSTRUCTIONS}
        return configuration.to_config(self._options, instructions, contents)

    def _under(self, query: str | None, documents: str | None) -> Self:
        twin = copy.copy(self)
        twin.query_instruction = optional_instruction(query)
        twin.document_instruction = optional_instruction(documents)
        if self._own is not None:
            twin._own = self._own.for_copy(SharedEncoder(TwoSidedEncoder(self._options)))
        return twin

    def _rows(self, encoded: Rows) -> Embeddings:
        return cast(Embeddings, list(self.encoder.floats(encoded)))
