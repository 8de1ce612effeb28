"""`UpsertInto`: embedded rows go into a vector store or Parquet files, each once."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import ray
from numpy.typing import NDArray

from instruct_embeddings._addresses import shown
from instruct_embeddings._types import Metadata
from instruct_embeddings.errors import ConfigError, DataError
from instruct_embeddings.writing import Records, Writer
from ray_instruct_embeddings import batches
from ray_instruct_embeddings.batches import Batch
from ray_instruct_embeddings.embed import in_worker

if TYPE_CHECKING:
    from ray.data import Dataset

_BATCH = 512


class UpsertInto:
    """Writes the rows of each batch into a collection, by upsert: a retried batch changes nothing.

        UpsertInto("postgresql://user@host/shop", "documents").write(embedded, writers=4)

    `write` does what the store allows. For `Dataset.map_batches` it is a callable class too, which
    connects in the actor; a batch becomes one row, whose `rows` tells how many were written.

    A collection that is not there is made, for cosine similarity. The folders of embedded stores
    (`chroma:`, `milvus:`, `qdrant:`) belong to one process: only `write` takes them, which writes
    where it is called. Parquet files are one for each batch, so that a folder holds one run; with
    several machines it must be one that all see.

    Args:
        address: `chroma:FOLDER`, `chroma://host:8000`, `milvus:FILE.db`, `milvus://host:19530`,
            `qdrant:FOLDER`, `qdrant://host:6333`, `postgresql://user@host:5432/database` or
            `parquet:FOLDER`.
        collection: Its name; of PostgreSQL that of the table, of Parquet a folder inside.
        id_column: Ids: texts or whole numbers, which are stored as texts.
        vector_column: Vectors.
        text_column: Texts; None where there are none.
        metadata_column: One object, or its JSON, for each row. By default every other column is a
            key of the metadata. Missing values, NaN among them, are left out.

    Raises:
        ConfigError: No store has such an address.
    """

    def __init__(
        self,
        address: str,
        collection: str,
        *,
        id_column: str = "id",
        vector_column: str = "embedding",
        text_column: str | None = "text",
        metadata_column: str | None = None,
    ) -> None:
        self._writer = Writer(address, collection)
        self.address, self.collection = address, collection
        self.id_column, self.vector_column = id_column, vector_column
        self.text_column, self.metadata_column = text_column, metadata_column

    def __call__(self, batch: Batch) -> dict[str, NDArray[np.int64]]:
        """Write a batch.

        Returns:
            `{"rows": array([n])}`.

        Raises:
            CollectionError: The store refused the rows, whose dimension may be another than that
                of the collection, or did not answer.
            ConfigError: A column is missing; an embedded store in an actor.
            DataError: An id is missing, or stands twice in the batch.
        """
        if self._writer.one_process and in_worker():
            raise ConfigError(
                f"{self._writer} is a folder that one process may open, and this is one of several "
                "workers. Call UpsertInto(...).write(dataset), which writes in your own process, "
                "or use a server."
            )
        records = self._records(batch)
        self._writer.write(records)
        return {"rows": np.array([len(records)])}

    def write(
        self,
        dataset: "Dataset",
        *,
        writers: int = 1,
        batch_size: int = _BATCH,
        on_rows: Callable[[int], None] | None = None,
    ) -> int:
        """Write a data set: by several actors into servers and Parquet, else in this process.

        At the end a server of Milvus flushes the collection, once, so that all rows are searched by
        the index.

        Args:
            dataset: With the columns of ids, vectors and texts.
            writers: Most actors that write.
            batch_size: Rows that are written together.
            on_rows: Called with the number of rows of each batch that was written.

        Returns:
            Rows written.
        """
        written = 0
        try:
            for rows in self._written(dataset, writers, batch_size):
                written += rows
                if on_rows is not None:
                    on_rows(rows)
            self._writer.finish()
        finally:
            self.close()
        return written

    def close(self) -> None:
        """End the connection; it is made again when it is needed."""
        self._writer.close()

    def _written(self, dataset: "Dataset", writers: int, batch_size: int) -> Iterator[int]:
        """Numbers of rows, batch by batch, as they are written."""
        if self._writer.one_process:
            for part in dataset.iter_batches(batch_size=batch_size, batch_format="pyarrow"):
                yield int(self(part)["rows"][0])
            return
        done = dataset.map_batches(
            UpsertInto,
            fn_constructor_args=(self.address, self.collection),
            fn_constructor_kwargs={
                "id_column": self.id_column,
                "vector_column": self.vector_column,
                "text_column": self.text_column,
                "metadata_column": self.metadata_column,
            },
            batch_size=batch_size,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=writers),
            num_cpus=0,  # they wait for a server, and must not wait for CPUs of those who encode
        )
        for row in done.iter_rows():
            yield int(row["rows"])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({shown(self.address)!r}, {self.collection!r})"

    def _records(self, batch: Batch) -> Records:
        ids = [_checked_id(one) for one in batches.values(batch, self.id_column)]
        if len(set(ids)) < len(ids):
            twice = next(one for one in ids if ids.count(one) > 1)
            raise DataError(
                f"The id {twice!r:.60} stands twice in a batch. Each row needs an id of its own. "
                "Make the ids unique, or name another column with id_column."
            )
        texts = [None] * len(ids)
        if self.text_column is not None:
            found = batches.values(batch, self.text_column)
            texts = [None if batches.is_missing(one) else one for one in found]
        vectors = batches.vectors(batch, self.vector_column) if ids else np.empty((0, 0), "f4")
        return Records(ids, vectors, texts, self._metadata(batch, len(ids)))

    def _metadata(self, batch: Batch, rows: int) -> list[Metadata]:
        if self.metadata_column is None:
            known = (self.id_column, self.vector_column, self.text_column)
            others = [name for name in batches.names(batch) if name not in known]
            return batches.mappings(batch, others, rows)
        return [_mapping(one) for one in batches.values(batch, self.metadata_column)]


def _mapping(given: object) -> Metadata:
    try:
        found = json.loads(given) if isinstance(given, str) else given
    except ValueError:
        found = given
    if batches.is_missing(found):
        return {}
    if not isinstance(found, Mapping):
        raise DataError(
            f"The metadata {given!r:.60} are no object, nor the JSON of one. Correct them, or "
            "leave metadata_column out where each key has a column of its own."
        )
    return found


def _checked_id(given: object) -> str:
    if isinstance(given, bool) or not isinstance(given, str | int) or str(given) == "":
        raise DataError(
            f"The id {given!r:.60} is neither a text nor a whole number. Each row needs one. "
            "Name the column that holds them with id_column."
        )
    return str(given)
