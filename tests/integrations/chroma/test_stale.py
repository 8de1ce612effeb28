import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import pytest
from chromadb.api import ClientAPI
from chromadb.api.shared_system_client import SharedSystemClient
from chromadb.errors import ChromaError, InternalError

from chroma_instruct_embeddings import ChromaVectors
from chroma_instruct_embeddings.errors import translate_chroma, translated
from instruct_embeddings.errors import StaleCollectionError

ANOTHER_PROCESS = """
import sys, chromadb
collection = chromadb.PersistentClient(sys.argv[1]).get_collection("shared")
collection.add(ids=["new"], embeddings=[[0.0, 1.0]], metadatas=[{"n": 1}])
collection.delete(ids=["old"])
"""


def test_a_directory_changed_by_another_process_says_what_to_do(tmp_path: Path) -> None:
    client: Any = chromadb.PersistentClient(tmp_path)
    collection = client.create_collection("shared", embedding_function=None)
    collection.add(ids=["old", "kept"], embeddings=[[1.0, 0.0], [0.0, 1.0]])
    vectors = ChromaVectors(collection)
    query = np.array([1.0, 0.0], dtype=np.float32)
    assert vectors.search(query, k=2).ids == ("old", "kept")

    subprocess.run([sys.executable, "-c", ANOTHER_PROCESS, str(tmp_path)], check=True)

    remedy = r"another process.*close\(\).*open it again.*chroma run.*HttpClient"
    with pytest.raises(StaleCollectionError, match=remedy):
        vectors.fetch(["new"], vectors=True)
    with pytest.raises(StaleCollectionError, match=remedy):
        vectors.page(limit=9, offset=0, vectors=True)
    with pytest.raises(StaleCollectionError, match=remedy):
        vectors.search(query, k=2, where={"n": 1})
    # Chroma's index still knows the deleted row; the record is gone.
    assert vectors.search(query, k=1).ids == ("old",)
    assert vectors.fetch(["old", "kept"], vectors=True).ids == ("kept",)

    # Older clients have no close(): forgetting them has the same effect.
    getattr(client, "close", SharedSystemClient.clear_system_cache)()
    reopened = chromadb.PersistentClient(tmp_path).get_collection("shared")
    assert ChromaVectors(reopened).page(limit=9, offset=0, vectors=True).ids == ("kept", "new")


def test_a_deleted_collection_says_so(make: Callable[..., Any], client: ClientAPI) -> None:
    collection = make([[1.0, 0.0]])
    vectors = ChromaVectors(collection)
    client.delete_collection(collection.name)
    with pytest.raises(StaleCollectionError, match=r"no longer exists.*get_collection"):
        vectors.count()
    with pytest.raises(StaleCollectionError, match="no longer exists"):
        vectors.search(np.array([1.0, 0.0], dtype=np.float32), k=1)
    with pytest.raises(StaleCollectionError, match="no longer exists"):
        vectors.info()


@pytest.mark.parametrize(
    "message", ["Error finding id", "hnsw segment reader: Nothing found on disk"]
)
def test_signs_of_a_stale_index(message: str) -> None:
    error = translate_chroma(InternalError(f"Error executing plan: {message}"), "reviews")
    assert isinstance(error, StaleCollectionError)
    assert message in str(error)
    assert "'reviews'" in str(error)


def test_other_errors_of_chroma_pass_unchanged(make: Callable[..., Any]) -> None:
    error: ChromaError = InternalError("database or disk is full")
    with pytest.raises(InternalError) as raised, translated(make()):
        raise error
    assert raised.value is error
