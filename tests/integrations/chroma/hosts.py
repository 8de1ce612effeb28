"""What the tests of collections share."""

from dataclasses import dataclass
from pathlib import Path

import chromadb
import numpy as np
from chromadb.api import ClientAPI

from instruct_embeddings.encoder import EmbeddingRecord, InstructEncoder


@dataclass
class HostEmbedding:
    """As far as a collection is concerned, an embedding class of LangChain or LlamaIndex."""

    model: Path
    instruction: str | None

    @property
    def record(self) -> EmbeddingRecord:
        encoder = InstructEncoder.from_pretrained(self.model)
        return encoder.record(instruction=self.instruction)


def recorded(client: ClientAPI, name: str) -> EmbeddingRecord | None:
    metadata = client.get_collection(name, embedding_function=None).metadata
    return EmbeddingRecord.from_metadata(metadata)


def with_rows(collection: chromadb.Collection, dimension: int = 32) -> chromadb.Collection:
    collection.add(ids=["a"], embeddings=np.eye(1, dimension, dtype=np.float32))
    return collection
