"""How far an index looks, and which part of a large table a sample is drawn from."""

from collections.abc import Iterator, Mapping
from math import ceil, sqrt

from psycopg import sql

from instruct_embeddings._types import Space
from postgres_instruct_embeddings.table import Table

DISTANCES: Mapping[Space, sql.SQL] = {
    "cosine": sql.SQL("<=>"),
    "ip": sql.SQL("<#>"),
    "l2": sql.SQL("<->"),
}
_MOST = 1000  # of ef_search
_SCANNED = 20_000  # rows that a scan visits while a filter lets too few pass; pgvector's default
_LARGE = 2_000_000  # rows whose ids are hashed within a second or two
_SURPLUS = 20


def looking(table: Table | None, k: int, wide: int) -> sql.Composed:
    """Settings, to the end of a transaction, for `k` rows; of no table, compare all rows."""
    if table is None or table.index is None:
        settings = {"enable_indexscan": "off", "enable_seqscan": "on", "enable_sort": "on"}
    elif table.index == "hnsw":
        settings = {
            "hnsw.ef_search": str(min(_MOST, wide)),
            "hnsw.iterative_scan": "relaxed_order",
            "hnsw.max_scan_tuples": str(max(_SCANNED, 4 * k)),
        }
    else:
        settings = {
            "ivfflat.probes": str(min(table.lists, max(10, ceil(2 * sqrt(table.lists))))),
            "ivfflat.iterative_scan": "relaxed_order",
        }
    calls = [
        sql.SQL("set_config({}, {}, true)").format(sql.Literal(name), sql.Literal(value))
        for name, value in settings.items()
    ]
    return sql.SQL("SELECT {}").format(sql.SQL(", ").join(calls))


def sampled(rows: float, size: int, seed: int) -> Iterator[sql.Composed]:
    """Parts of a table to draw a sample from, to be tried in turn until there are enough rows."""
    if rows > _LARGE:
        yield sql.SQL("TABLESAMPLE SYSTEM ({}) REPEATABLE ({})").format(
            sql.Literal(min(100.0, 100 * _SURPLUS * size / rows)), sql.Literal(seed)
        )
    yield sql.Composed([])
