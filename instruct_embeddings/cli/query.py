"""`query` and `explain`: one query, without and under an instruction."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from instruct_embeddings._printable import one_line, plain_table
from instruct_embeddings.cli.models import open_retriever, read_filter, read_instruction
from instruct_embeddings.cli.options import (
    BlendOption,
    CollectionOption,
    ExactOption,
    ExampleOption,
    FittedOption,
    JsonOption,
    ModelOption,
    WhereOption,
    command,
)
from instruct_embeddings.cli.output import finish, hit_dict, note
from instruct_embeddings.cli.store import Store

if TYPE_CHECKING:
    from rich.table import Table

    from instruct_embeddings.retrieval.ranking import Hit
    from instruct_embeddings.transform.store import TransformStore

_WIDEST_ID = 24


@command
def query(
    text: Annotated[str, typer.Argument(help="What to look for.")],
    collection: CollectionOption,
    store: Store,
    transforms: "TransformStore",
    instruction: Annotated[
        str | None, typer.Option("--instruction", "-i", help="A plain sentence; fitted or not.")
    ] = None,
    example: ExampleOption = None,
    k: Annotated[int, typer.Option("--k", "-k", help="Results wanted.", min=1)] = 5,
    where: WhereOption = None,
    blend: BlendOption = None,
    prefetch: Annotated[
        int | None, typer.Option(help="Candidates fetched before they are rescored.", min=1)
    ] = None,
    exact: ExactOption = False,
    fitted: FittedOption = False,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a collection, without and under an instruction.

    What `adapt` has fitted answers where it is better than the stored vectors; else the instant
    query does, for which nothing is fitted.
    """
    from instruct_embeddings.explain.explanation import ANSWERED

    asked = read_instruction(instruction, example)
    options: dict[str, Any] = {"k": k, "where": read_filter(where)}
    retriever, encoder = open_retriever(
        store, collection, transforms, model, instruction, fitted=fitted
    )
    seconds: dict[str, float] = {}
    with _timed(seconds, "encode"):
        vector = encoder.encode([text])[0]
    with _timed(seconds, "generic"):
        sides = {"generic": retriever.search(vector, **options)}
    if instruction is not None:
        with _timed(seconds, "load_transform"):
            retriever.fitted(instruction, wait=fitted)
        options |= {"instruction": asked, "query": text}
        options |= {"blend": blend, "prefetch": prefetch, "exact": exact}
        with _timed(seconds, "adapted"):
            sides["adapted"] = retriever.search(vector, **options)
    ranked_by = next((hit.ranked_by for hit in sides.get("adapted", [])), None)
    document = {
        "query": text,
        "instruction": instruction,
        "ranked_by": ranked_by,
        "adapted": None,
        **{side: [hit_dict(hit) for hit in hits] for side, hits in sides.items()},
        "collection": collection,
        "seconds": seconds,
    }
    title = text if instruction is None else f"{text}\n{instruction}"
    answered = [f"Answered by {ANSWERED[ranked_by]}."] if ranked_by else []
    took = (f"{name.replace('_', ' ')} {one * 1000:.1f} ms" for name, one in seconds.items())
    finish(document, _table(title, sides), *answered, ", ".join(took), as_json=as_json)


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - begin, 6)


def _table(title: str, sides: "Mapping[str, Sequence[Hit]]") -> "Table":
    table = plain_table(title=title, expand=True)
    for side in sides:
        table.add_column(side, justify="right", width=7)
        table.add_column("id", no_wrap=True, overflow="ellipsis", max_width=_WIDEST_ID)
        table.add_column("text", no_wrap=True, overflow="ellipsis", ratio=1)
    for hits in zip_longest(*sides.values()):
        cells = (
            [f"{hit.score:.3f}", hit.id, one_line(hit.text)] if hit else [""] * 3 for hit in hits
        )
        table.add_row(*chain(*cells))
    return table


@command
def explain(
    text: Annotated[str, typer.Argument(help="What to look for.")],
    collection: CollectionOption,
    instruction: Annotated[
        str, typer.Option("--instruction", "-i", help="A plain sentence; fitted or not.")
    ],
    store: Store,
    transforms: "TransformStore",
    png: Annotated[
        Path | None,
        typer.Option(
            "--png",
            dir_okay=False,
            help="Draw the map of a fitted transform into this file (.png, .svg or .pdf).",
        ),
    ] = None,
    example: ExampleOption = None,
    k: Annotated[int, typer.Option("--k", "-k", help="Results to compare.", min=1)] = 10,
    where: WhereOption = None,
    blend: BlendOption = None,
    exact: ExactOption = False,
    fitted: FittedOption = False,
    sample: Annotated[int, typer.Option(help="Rows that categories are shown for.", min=4)] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of that sample.", min=0)] = 1,
    label_key: Annotated[
        str | None, typer.Option(help="Metadata key of true labels; they colour the picture.")
    ] = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what an instruction does to a query: which results move, and why.

    It says whether a stored transform or the instant query answers, which constraints ("only",
    "no") the instruction states, and which --where would answer them exactly. Under a stored
    transform rows are put into categories: the labels that they are taken for, or clusters where
    the transform learned without labels. The picture shows the same rows as they are stored and
    under the instruction.
    """
    from instruct_embeddings.explain import explain as explained
    from instruct_embeddings.explain.explanation import tables
    from instruct_embeddings.explain.map import check_map_file

    if png is not None:
        check_map_file(png)  # before anything is computed
    filtered, asked = read_filter(where), read_instruction(instruction, example) or instruction
    retriever, encoder = open_retriever(
        store, collection, transforms, model, instruction, fitted=fitted
    )
    explanation = explained(
        retriever,
        encoder.encode([text])[0],
        text,
        asked,
        k=k,
        where=filtered,
        blend=blend,
        exact=exact,
        sample=sample,
        seed=seed,
        label_key=label_key,
    )
    if png is not None:
        note("Drawing the map ...")
        explanation.draw(png)
    document = {**explanation.to_dict(), "picture": None if png is None else str(png)}
    saved = [] if png is None else [f"\nThe map is in {png}"]
    finish(document, *tables(explanation), *saved, as_json=as_json)
