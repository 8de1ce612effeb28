"""`query`: generic and adapted hits side by side."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from instruct_embeddings.cli.database import Database
from instruct_embeddings.cli.models import open_retriever, read_filter
from instruct_embeddings.cli.options import (
    BlendOption,
    CollectionOption,
    ExactOption,
    FittedOption,
    JsonOption,
    ModelOption,
    StoreOption,
    WhereOption,
    command,
)
from instruct_embeddings.cli.output import finish, hit_dict, one_line, plain_table

if TYPE_CHECKING:
    from rich.table import Table

    from instruct_embeddings.retrieval.ranking import Hit

_WIDEST_ID = 24


@command
def query(
    text: Annotated[str, typer.Argument(help="What to look for.")],
    collection: CollectionOption,
    database: Database,
    instruction: Annotated[
        str | None, typer.Option("--instruction", "-i", help="A plain sentence; fitted or not.")
    ] = None,
    k: Annotated[int, typer.Option("--k", "-k", help="Results wanted.", min=1)] = 5,
    where: WhereOption = None,
    blend: BlendOption = None,
    prefetch: Annotated[
        int | None, typer.Option(help="Candidates fetched before they are rescored.", min=1)
    ] = None,
    exact: ExactOption = False,
    fitted: FittedOption = False,
    store: StoreOption = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a collection, without and under an instruction.

    What `adapt` has fitted answers where it is better than the stored vectors; else the instant
    query does, for which nothing is fitted.
    """
    from instruct_embeddings.explain.tables import ANSWERED

    options: dict[str, Any] = {"k": k, "where": read_filter(where)}
    retriever, encoder = open_retriever(
        database, collection, store, model, instruction, fitted=fitted
    )
    clock = _Clock()
    vector = encoder.encode([text])[0]
    clock.lap("encode")
    generic = retriever.search(vector, **options)
    clock.lap("generic")
    adapted = []
    if instruction is not None:
        retriever.fitted(instruction, wait=fitted)
        clock.lap("load_transform")
        options |= {"instruction": instruction, "query": text}
        options |= {"blend": blend, "prefetch": prefetch, "exact": exact}
        adapted = retriever.search(vector, **options)
        clock.lap("adapted")
    ranked_by = adapted[0].ranked_by if adapted else None
    document = {
        "query": text,
        "instruction": instruction,
        "ranked_by": ranked_by,
        "generic": [hit_dict(hit) for hit in generic],
        "adapted": None if instruction is None else [hit_dict(hit) for hit in adapted],
        "collection": collection,
        "seconds": clock.laps,
    }
    sides = {"generic": generic} | ({} if instruction is None else {"adapted": adapted})
    title = text if instruction is None else f"{text}\n{instruction}"
    answered = [f"Answered by {ANSWERED[ranked_by]}."] if ranked_by else []
    finish(document, _table(title, sides), *answered, clock.shown(), as_json=as_json)


class _Clock:
    """Seconds between calls, by name."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name], self._last = round(now - self._last, 6), now

    def shown(self) -> str:
        laps = self.laps.items()
        return ", ".join(f"{name.replace('_', ' ')} {lap * 1000:.1f} ms" for name, lap in laps)


def _table(title: str, sides: "Mapping[str, Sequence[Hit]]") -> "Table":
    table = plain_table(title=title, expand=True)
    for side in sides:
        table.add_column(side, justify="right", width=7)
        table.add_column("id", no_wrap=True, overflow="ellipsis", max_width=_WIDEST_ID)
        table.add_column("text", no_wrap=True, overflow="ellipsis", ratio=1)
    for rank in range(max(map(len, sides.values()))):
        row: list[str] = []
        for hits in sides.values():
            hit = hits[rank] if rank < len(hits) else None
            row += [f"{hit.score:.3f}", hit.id, one_line(hit.text)] if hit else ["", "", ""]
        table.add_row(*row)
    return table
