"""The collection of the demo: built once, reused afterwards."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from instruct_embeddings.cli.demo.corpus import Corpus
from instruct_embeddings.cli.encoders import TextEncoder
from instruct_embeddings.cli.indexing import Target, fill
from instruct_embeddings.cli.output import progress
from instruct_embeddings.cli.places import Place, check_model, new_collection

if TYPE_CHECKING:
    from chromadb import Collection
    from chromadb.api import ClientAPI


@dataclass(frozen=True)
class Built:
    """The collection, and how it came about.

    Attributes:
        client: Its database.
        collection: The collection.
        added: Rows stored in this run; 0 when everything was there.
        seconds: Time that took.
    """

    client: "ClientAPI"
    collection: "Collection"
    added: int
    seconds: float


def build(place: Place, corpus: Corpus, encoder: TextEncoder) -> Built:
    """Store what is not stored yet of a corpus.

    Raises:
        CollectionMismatchError: A collection of that content was filled by another model.
    """
    client = place.client(create=True)
    collection = new_collection(client, corpus.name, encoder.name)
    check_model(collection.metadata, corpus.name, encoder.name)
    started = time.perf_counter()
    if collection.count() == len(corpus.records):
        return Built(client, collection, 0, 0.0)
    with progress(f"Encoding {len(corpus.records):,} texts", len(corpus.records)) as advance:
        counts = fill(
            Target(collection, lambda: collection),
            corpus.records,
            encoder,
            largest_batch=client.get_max_batch_size(),
            on_rows=advance,
        )
    return Built(client, collection, counts.added, time.perf_counter() - started)
