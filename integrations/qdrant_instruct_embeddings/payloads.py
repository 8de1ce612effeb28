"""Payloads of Qdrant as texts and metadata, in the layouts of those who write them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from instruct_embeddings._reading import parse_json
from instruct_embeddings.embedded import NODE_KEY
from instruct_embeddings.errors import ConfigError

_TEXT_KEYS = ("text", "document", "content")


@dataclass(frozen=True)
class Layout:
    """Where texts and metadata stand in a payload.

    Attributes:
        text_key: Of the text; None for the text inside a node of LlamaIndex.
        metadata_key: Of the mapping of metadata; None where all but the text is metadata.
    """

    text_key: str | None
    metadata_key: str | None

    @classmethod
    def of(cls, payload: Mapping[str, Any] | None) -> "Layout":
        """The layout of a row: of LangChain where there is none, of LlamaIndex, or a plain one."""
        if payload is None or "page_content" in payload:
            return cls("page_content", "metadata")
        texts = [key for key in _TEXT_KEYS if isinstance(payload.get(key), str)]
        return cls(None if NODE_KEY in payload else next(iter(texts), None), None)

    def read(self, payload: Mapping[str, Any] | None) -> tuple[str | None, dict[str, Any]]:
        """Text and metadata of a row."""
        payload = payload or {}
        text = _node_text(payload) if self.text_key is None else payload.get(self.text_key)
        data = payload if self.metadata_key is None else payload.get(self.metadata_key)
        metadata = dict(data) if isinstance(data, Mapping) else {}
        if self.metadata_key is None and self.text_key is not None:
            metadata.pop(self.text_key, None)
        return (text if isinstance(text, str) else None), metadata

    @property
    def text_path(self) -> str:
        """The path of texts in a filter; ConfigError where they have none."""
        if self.text_key is None:
            raise ConfigError(
                "where_document cannot be obeyed: the texts of this collection lie inside nodes of "
                "LlamaIndex, or there are none. A filter needs a key of the payload. Name it as "
                "text_key, or search without where_document."
            )
        return _quoted(self.text_key)

    def path(self, key: str) -> str:
        """The path of a key of the metadata in a filter."""
        if self.metadata_key is None:
            return _quoted(key)
        return f"{_quoted(self.metadata_key)}.{_quoted(key)}"


def _quoted(key: str) -> str:
    if '"' in key:
        raise ConfigError(
            f"The key {key!r:.60} holds a double quote, which no filter of Qdrant can name. Other "
            "characters are allowed. Filter by another key."
        )
    plain = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if plain else f'"{key}"'


def _node_text(payload: Mapping[str, Any]) -> str | None:
    try:
        node = parse_json(str(payload.get(NODE_KEY, "{}")), halves=True)
    except ValueError:
        return None
    if not isinstance(node, Mapping):
        return None
    inner = node.get("text_resource")  # of nodes of several media
    return node.get("text") or (inner.get("text") if isinstance(inner, Mapping) else None)
