"""Texts encoded on all machines of a cluster and written into a store, for the command line."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import ray
import ray.data

from instruct_embeddings._extras import require
from instruct_embeddings.errors import ConfigError, InstructEmbeddingsError
from ray_instruct_embeddings.embed import EmbedTexts
from ray_instruct_embeddings.upsert import UpsertInto

# Comes with the extra, as a dependency of Ray Data.
pa = require("pyarrow", extra="ray")

# Id, text and metadata.
Row: TypeAlias = tuple[str, str, Mapping[str, Any]]
_BATCH = 512
# Of an actor, where no machine has a GPU. More of them read one batch hardly faster.
_CPUS = 4
_WRITERS = 4


@contextmanager
def connected(address: str) -> Iterator[None]:
    """A quiet connection to the cluster at `address`; "local" starts one on this machine.

    Raises:
        ConfigError: No cluster answers.
    """
    own = not ray.is_initialized()
    if own:
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, TimeoutError) as exc:
            raise ConfigError(
                f"No Ray cluster is reached by {address!r:.200} ({exc}). Allowed are local, auto, "
                "HOST:PORT and ray://HOST:10001. Start one with: ray start --head"
            ) from exc
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.raise_original_map_exception = True
    try:
        yield
    finally:
        if own:
            ray.shutdown()


def embed_into(
    address: str,
    collection: str,
    blocks: Iterable[Sequence[Row]],
    model: str,
    on_rows: Callable[[int], None],
) -> None:
    """Encode blocks of rows on the machines of the cluster, and write them into a store.

    Args:
        address: Of the store, as of `UpsertInto`.
        collection: Its name.
        blocks: They are put into the memory of the cluster one by one.
        model: As of `EmbedTexts`.
        on_rows: Called with the number of rows of each batch that was written.

    Raises:
        CollectionError: The store refused the rows or did not answer.
        EncoderError: The model cannot be loaded on some machine.
    """
    into = UpsertInto(address, collection, metadata_column="metadata")
    with _own_errors():
        tables: list[Any] = [ray.put(_table(rows)) for rows in blocks]
        embedded = ray.data.from_arrow_refs(tables).map_batches(
            EmbedTexts, fn_constructor_kwargs={"model": model}, batch_size=_BATCH, **_actors()
        )
        into.write(embedded, writers=_WRITERS, on_rows=on_rows)


def _table(rows: Sequence[Row]) -> Any:
    """A table of Arrow; metadata as JSON, since rows have different keys."""
    ids, texts, metadatas = zip(*rows, strict=True)
    values = [json.dumps(dict(one), ensure_ascii=False) for one in metadatas]
    return pa.table({"id": list(ids), "text": list(texts), "metadata": values})


def _actors() -> dict[str, Any]:
    """What each actor gets, a GPU or some CPUs, and as many actors as the cluster has room for."""
    listed: Any = ray.nodes
    nodes = [node["Resources"] for node in listed() if node["Alive"]]
    gpus = sum(int(one.get("GPU", 0)) for one in nodes)
    cpus = [int(one["CPU"]) for one in nodes if one.get("CPU", 0) >= 1] or [1]
    each = min(_CPUS, *cpus, *cpus)
    most = gpus or sum(one // each for one in cpus)
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=most)
    return {"num_gpus": 1, "compute": pool} if gpus else {"num_cpus": each, "compute": pool}


@contextmanager
def _own_errors() -> Iterator[None]:
    """Errors of this package that a worker raised, as if they had been raised here."""
    try:
        yield
    except ray.exceptions.RayTaskError as exc:
        if isinstance(exc.cause, InstructEmbeddingsError):
            raise exc.cause from None
        raise
