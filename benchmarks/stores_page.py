"""The part of docs/performance.md about the stores."""

from typing import Any

from benchmarks.environment import load
from benchmarks.pages import Ran, Tabulate

PARTS_OF = {"Milvus, two shards": "Milvus", "PostgreSQL, four partitions": "PostgreSQL"}
# Nothing is fitted for it; it asks for a relation, as users do.
NEW = "Find the text that explains the cause of this."


def section(tabulate: Tabulate, ran: Ran) -> list[str]:
    """Paragraphs and tables; nothing where it was not measured."""
    results = load("stores")
    if not results:
        return []
    rows = results["results"]
    return [
        "## Stores",
        "`make bench-stores DATA=folder`",
        f"{ran(results['environment'])} Each store holds the same rows, "
        f"{results['vectors']:,} real vectors mixed in pairs and jittered, in its usual HNSW index "
        "and is asked on loopback or in the process. Milvus is a standalone server, PostgreSQL one "
        "with pgvector; Qdrant is its engine behind a small REST server of our tests, as its own "
        "server is in no package index, and its milliseconds are those of that server.",
        "Plain is one request of the engine's own client for ten rows with texts and metadata. "
        "Adapted is a search under a known instruction for the same; both alternate in one loop. "
        f"Instant is one under {NEW!r}, for which nothing was fitted, after them; in brackets the "
        "part that reads query and instruction by a model. Recall is against all rows, compared "
        "one by one. First answer: sampling, fitting or mapping, searching.",
        tabulate(
            (
                "store",
                "rows",
                "plain ms (p95)",
                "adapted ms (p95)",
                "ratio",
                "instant ms (reading)",
                "recall@10 plain / adapted / instant",
                "candidates",
                "sampling s",
                "first answer s, fitted / instant",
            ),
            [_line(row) for row in rows],
        ),
        "Rows in several parts beside the same rows in one: the share of the ten that both find, "
        "and in brackets the share of queries with the same ten. Each index is approximate, and "
        "one of a part misses other rows than one of the whole, the fewer the further both look.",
        tabulate(
            ("store", "beside", "rows", "way", "same of ten (same ten)", "recall@10", "ms (p95)"),
            [line for row in rows if "as undivided" in row for line in _parts(row)],
        ),
    ]


def _line(row: dict[str, Any]) -> list[str]:
    ms, recall, first = row["ms"], row["recall@10"], row["first answer s"]
    return [
        row["store"],
        f"{row['n']:,}",
        f"{ms['plain']['median']} ({ms['plain']['p95']})",
        f"{ms['adapted']['median']} ({ms['adapted']['p95']})",
        str(row["over plain"]["adapted"]),
        f"{ms['instant']['median']} ({row['reading ms']['median']})",
        f"{recall['plain']} / {recall['adapted']} / {recall['instant']}",
        str(row["prefetch"]),
        str(row["sampling s"]),
        f"{first['fitted']} / {first['instant']}",
    ]


def _parts(row: dict[str, Any]) -> list[list[str]]:
    """One line for each way of asking."""
    lines = []
    known = {
        f"adapted, {depth} candidates": one for depth, one in row.get("candidates", {}).items()
    }
    for way, (share, same) in row["as undivided"].items():
        about = known.get(way) or {
            "recall@10": row["recall@10"].get(way, ""),
            "ms": row["ms"].get(way),
        }
        ms = about["ms"] and f"{about['ms']['median']} ({about['ms']['p95']})"
        where = [row["store"], PARTS_OF[row["store"]], f"{row['n']:,}"]
        lines.append([*where, way, f"{share} ({same})", str(about["recall@10"]), ms or ""])
    return lines
