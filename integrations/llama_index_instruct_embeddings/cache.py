"""LlamaIndex's cache of embeddings, made safe for instructions."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from llama_index.core.storage.kvstore.types import DEFAULT_COLLECTION, BaseKVStore

Vector = list[float]

_OF_THE_HOST = "embeddings"
_VALUE = "embedding"


class SeparateCache(BaseKVStore):
    """A key-value store in which models, instructions and roles have collections of their own.

    `BaseEmbedding` looks texts up in the collection "embeddings", whoever embedded them and under
    whatever instruction. Here that collection is always empty, so that LlamaIndex asks the
    embedding model, which knows its own collection and reads it through `embed`. All other
    collections are those of the store.

    Attributes:
        store: Where embeddings are kept.
    """

    def __init__(self, store: BaseKVStore) -> None:
        self.store = store

    def embed(
        self, texts: Sequence[str], namespace: str, encode: Callable[[list[str]], list[Vector]]
    ) -> list[Vector]:
        """Embeddings of n texts; those that are not known are encoded, in one call, and kept.

        Of equal namespaces are equal embeddings of a text.
        """
        place = f"{_OF_THE_HOST}-{namespace}"
        known = {text: self.store.get(_key(text), place) for text in dict.fromkeys(texts)}
        if missing := [text for text, value in known.items() if value is None]:
            for text, vector in zip(missing, encode(missing), strict=True):
                known[text] = {_VALUE: vector}
                self.store.put(_key(text), {_VALUE: vector}, place)
        return _in_order(texts, known)

    async def aembed(
        self,
        texts: Sequence[str],
        namespace: str,
        encode: Callable[[list[str]], Awaitable[list[Vector]]],
    ) -> list[Vector]:
        """The same as `embed`, with a store and an encoder that are awaited."""
        place = f"{_OF_THE_HOST}-{namespace}"
        known = {text: await self.store.aget(_key(text), place) for text in dict.fromkeys(texts)}
        if missing := [text for text, value in known.items() if value is None]:
            for text, vector in zip(missing, await encode(missing), strict=True):
                known[text] = {_VALUE: vector}
                await self.store.aput(_key(text), {_VALUE: vector}, place)
        return _in_order(texts, known)

    def put(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Keep a value, unless LlamaIndex tells nothing but the text."""
        if collection != _OF_THE_HOST:
            self.store.put(key, val, collection)

    async def aput(
        self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION
    ) -> None:
        """As `put`."""
        if collection != _OF_THE_HOST:
            await self.store.aput(key, val, collection)

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """A value; None where LlamaIndex tells nothing but the text."""
        return None if collection == _OF_THE_HOST else self.store.get(key, collection)

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """As `get`."""
        return None if collection == _OF_THE_HOST else await self.store.aget(key, collection)

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """All values of a collection."""
        return {} if collection == _OF_THE_HOST else self.store.get_all(collection)

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """As `get_all`."""
        return {} if collection == _OF_THE_HOST else await self.store.aget_all(collection)

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Remove a value; whether there was one."""
        return collection != _OF_THE_HOST and self.store.delete(key, collection)

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """As `delete`."""
        return collection != _OF_THE_HOST and await self.store.adelete(key, collection)


def _key(text: str) -> str:
    # Stores limit the length of keys and their characters; texts have neither limit.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _in_order(texts: Sequence[str], known: dict[str, dict[str, Any] | None]) -> list[Vector]:
    # Copies, so that a caller who changes a vector does not change what is kept.
    return [list(value[_VALUE]) for value in map(known.get, texts) if value is not None]
