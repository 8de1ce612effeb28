"""Tables on a real server."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias
from uuid import uuid4

import numpy as np
import psycopg
import pytest

from instruct_embeddings._types import FloatArray
from postgres_instruct_embeddings import PostgresVectors
from tests.postgres_server import postgres_server

Execute: TypeAlias = Callable[..., list[tuple[Any, ...]]]
Open: TypeAlias = Callable[..., PostgresVectors]
COSINE = "hnsw (embedding vector_cosine_ops)"


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    with postgres_server() as found:
        yield found


@pytest.fixture
def execute(address: str) -> Execute:
    """Sends one statement, as the owner of the tables."""

    def send(text: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(address, autocommit=True) as connection:
            cursor = connection.execute(text, values or None)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    return send


@pytest.fixture
def table() -> str:
    return f"t{uuid4().hex}"


@pytest.fixture
def opened(address: str, table: str) -> Iterator[Open]:
    """Opens the table, or what is named."""
    kept: list[PostgresVectors] = []

    def make(name: str = table, source: Any = address, **options: Any) -> PostgresVectors:
        kept.append(PostgresVectors(source, name, **options))
        return kept[-1]

    yield make
    for one in kept:
        one.close()


@pytest.fixture
def filled(execute: Execute, table: str) -> Callable[..., str]:
    """Makes the table with vectors, ids "r0", "r1", ... and the metadata {"n": place}."""

    def make(
        vectors: FloatArray | Sequence[Sequence[float]],
        *,
        columns: str = "id text PRIMARY KEY, embedding vector({d}), text text, metadata jsonb",
        index: str | None = COSINE,
        ids: Sequence[Any] | None = None,
    ) -> str:
        rows = np.asarray(vectors, dtype=np.float32)
        execute(f"CREATE TABLE {table} ({columns.format(d=rows.shape[1])})")
        names = [f"r{i}" for i in range(len(rows))] if ids is None else ids
        values = [
            f"({_literal(name)}, '{row.tolist()}', 'text {i}', '{{\"n\": {i}}}')"
            for i, (name, row) in enumerate(zip(names, rows, strict=True))
        ]
        if values:
            execute(f"INSERT INTO {table} VALUES {', '.join(values)}")
        if index:
            execute(f"CREATE INDEX ON {table} USING {index}")
        execute(f"ANALYZE {table}")
        return table

    return make


def _literal(value: Any) -> str:
    return str(value) if isinstance(value, int) else f"'{value}'"
