"""`index --ray`: the rows of files are encoded on the machines of a Ray cluster, for any store."""

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from instruct_embeddings._extras import require
from instruct_embeddings.cli import models
from instruct_embeddings.cli.index import EXAMPLES, Counts, Target, batches, differs
from instruct_embeddings.cli.models import check_model
from instruct_embeddings.cli.output import note, progress
from instruct_embeddings.cli.records import Reader, Record
from instruct_embeddings.cli.store import Store
from instruct_embeddings.errors import (
    CollectionError,
    CollectionMismatchError,
    ConfigError,
    InstructEmbeddingsError,
    UnreachableCollectionError,
)

if TYPE_CHECKING:
    from instruct_embeddings.protocols import VectorCollection

# Rows that are read, and compared with those stored, together; and that are encoded together.
_BLOCK, _BATCH = 1000, 512
# Of an actor, where no machine has a GPU. More of them read one batch hardly faster.
_CPUS = 4
_WRITERS = 4
# Read when Ray is imported. Its own log files are kept.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_LOG_LEVEL": "ERROR",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}


def run_ray_index(
    store: Store,
    name: str,
    files: list[Path],
    reader: Reader,
    model: str | None,
    address: str,
    *,
    update: bool = False,
) -> dict[str, Any]:
    """Index files by the cluster at an address; what happened, as plain data.

    All files are read before anything is encoded: their texts lie in the memory of the cluster.
    """
    if store.options:
        raise typer.BadParameter(
            "--header and --timeout do not go with --ray, whose workers connect by themselves. "
            "Credentials of Chroma come from CHROMA_CLIENT_AUTH_CREDENTIALS on each machine."
        )
    encoder_name = models.load_encoder(model).name
    started = time.perf_counter()
    with _connected(address) as ray:
        from instruct_embeddings.encoder import BASE_MODEL

        upserts = require("ray_instruct_embeddings", extra="ray")
        writer = upserts.UpsertInto(store.address, name, metadata_column="metadata")
        counts, blocks = Counts(), []
        stored = _Stored(store, name, writer.stored_id)
        _check_filled_by(store, name, encoder_name, model, stored)
        for batch in batches(reader.read(files), _BLOCK):
            rows = _wanted(batch, stored.among(list(batch)), counts, update=update)
            if rows:
                blocks.append(ray.put(_block(rows)))
        stored.close()
        chosen = counts.added + counts.updated
        with progress(f"Indexing into {name}", chosen) as advance, _own_errors(ray):
            if blocks:
                _record_model(store, name, encoder_name)
                embedded = ray.data.from_arrow_refs(blocks).map_batches(
                    upserts.EmbedTexts,
                    fn_constructor_kwargs={"model": model or BASE_MODEL},
                    batch_size=_BATCH,
                    **_actors(ray),
                )
                writer.write(embedded, writers=_WRITERS, on_rows=advance)
    return {
        "collection": name,
        "store": str(store),
        "model": encoder_name,
        **asdict(counts),
        "unmatched": 0,
        "rebuilt": False,
        "bad": len(reader.bad),
        "bad_lines": reader.bad,
        "rows": store.collection(name).count() if blocks or stored.found else 0,
        "seconds": round(time.perf_counter() - started, 3),
    }


class _Stored:
    """The rows of a collection that are stored already; none where there is no collection yet."""

    def __init__(self, store: Store, name: str, stored_id: Any) -> None:
        from instruct_embeddings.stores import open_store

        self._stored_id = stored_id
        self._collection: VectorCollection | None = None
        try:
            opened = open_store(store.address, name)
            opened.info()  # stops where nothing is stored
        except ConfigError as exc:
            raise typer.BadParameter(str(exc)) from exc
        except UnreachableCollectionError:
            raise
        except CollectionError:  # the first rows make it, or say better what is wrong
            opened = None
        self._collection = opened
        self.found = opened is not None

    def among(self, names: list[str]) -> dict[str, tuple[str | None, Mapping[str, Any]]]:
        """Text and metadata of those of some rows that are stored."""
        if self._collection is None:
            return {}
        given = {self._stored_id(name): name for name in names}
        rows = self._collection.fetch(list(given), records=True)
        entries = zip(rows.ids, rows.texts, rows.metadatas, strict=True)
        return {given[one]: (text, metadata) for one, text, metadata in entries}

    def close(self) -> None:
        """End the connection: an embedded store has one writer or reader."""
        if (close := getattr(self._collection, "close", None)) is not None:
            close()
        self._collection = None


def _wanted(
    batch: Mapping[str, Record],
    known: Mapping[str, tuple[str | None, Mapping[str, Any]]],
    counts: Counts,
    *,
    update: bool,
) -> list[Record]:
    """The records to store: new ones, and with `update` those that have changed."""
    new = [record for name, record in batch.items() if name not in known]
    changed = [batch[name] for name, row in known.items() if differs(batch[name], *row)]
    counts.added += len(new)
    counts.skipped += len(known) - (len(changed) if update else 0)
    if update:
        counts.updated += len(changed)
        return [*new, *changed]
    counts.changed += len(changed)
    counts.examples += [one.id for one in changed][: EXAMPLES - len(counts.examples)]
    return new


def _block(rows: list[Record]) -> Any:
    """A table of Arrow; metadata as JSON, since rows have different keys."""
    return require("pyarrow", extra="ray").table(
        {
            "id": [row.id for row in rows],
            "text": [row.text for row in rows],
            "metadata": [json.dumps(dict(row.metadata), ensure_ascii=False) for row in rows],
        }
    )


def _check_filled_by(
    store: Store, name: str, encoder: str, model: str | None, stored: _Stored
) -> None:
    """Refuse a collection that another model filled; Chroma's record which one did."""
    if not stored.found:
        return
    metadata = None
    if store.address.startswith("chroma:"):
        found = store.chroma().find(name)
        metadata = found.metadata if found is not None else None
    if not check_model(metadata, name, encoder) and model is None:
        raise CollectionMismatchError(
            f"The collection {name!r} exists and does not record which model filled it. Name a new "
            "collection, or name the model that filled this one with --model."
        )


def _record_model(store: Store, name: str, encoder: str) -> None:
    """Make a collection of Chroma that records its model; other stores are made by who writes."""
    if store.address.startswith("chroma:"):
        database = store.chroma()
        database.client(create=True)
        Target(database, name, encoder).collection()


def _actors(ray: Any) -> dict[str, Any]:
    """What each actor gets, a GPU or some CPUs, and as many actors as the cluster has room for."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = sum(int(one.get("GPU", 0)) for one in nodes)
    cpus = [int(one["CPU"]) for one in nodes if one.get("CPU", 0) >= 1] or [1]
    each = min(_CPUS, *cpus, *cpus)
    most = gpus or sum(one // each for one in cpus)
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=most)
    return {"num_gpus": 1, "compute": pool} if gpus else {"num_cpus": each, "compute": pool}


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Ray, with a connection to the cluster at `address`; "local" starts one on this machine."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    ray = require("ray", extra="ray")
    require("ray.data", extra="ray")
    own = not ray.is_initialized()
    if own:
        note(f"Connecting to Ray ({address}) ...")
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, TimeoutError) as exc:
            raise ConfigError(
                f"No Ray cluster is reached by --ray {address!r:.200} ({exc}). Allowed are local, "
                "auto, HOST:PORT and ray://HOST:10001. Start one with: ray start --head"
            ) from exc
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.raise_original_map_exception = True
    try:
        yield ray
    finally:
        if own:
            ray.shutdown()


@contextmanager
def _own_errors(ray: Any) -> Iterator[None]:
    """Errors of this package that a worker raised, as if they had been raised here."""
    try:
        yield
    except ray.exceptions.RayTaskError as exc:
        if isinstance(exc.cause, InstructEmbeddingsError):
            raise exc.cause from None
        raise
