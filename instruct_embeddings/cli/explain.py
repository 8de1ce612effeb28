"""`explain`: what an instruction did to one query, as tables and as a picture."""

from pathlib import Path
from typing import Annotated

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
from instruct_embeddings.cli.output import finish, note


@command
def explain(
    text: Annotated[str, typer.Argument(help="What to look for.")],
    collection: CollectionOption,
    instruction: Annotated[
        str, typer.Option("--instruction", "-i", help="A plain sentence; fitted or not.")
    ],
    database: Database,
    png: Annotated[
        Path | None,
        typer.Option(
            "--png",
            dir_okay=False,
            help="Draw the map of a fitted transform into this file (.png, .svg or .pdf).",
            show_default=False,
        ),
    ] = None,
    k: Annotated[int, typer.Option("--k", "-k", help="Results to compare.", min=1)] = 10,
    where: WhereOption = None,
    blend: BlendOption = None,
    exact: ExactOption = False,
    fitted: FittedOption = False,
    sample: Annotated[int, typer.Option(help="Rows that categories are shown for.", min=4)] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of that sample.", min=0)] = 1,
    store: StoreOption = None,
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
    from instruct_embeddings.explain.map import check_map_file
    from instruct_embeddings.explain.tables import tables

    if png is not None:
        check_map_file(png)  # before anything is computed
    filtered = read_filter(where)
    retriever, encoder = open_retriever(
        database, collection, store, model, instruction, fitted=fitted
    )
    explanation = explained(
        retriever,
        encoder.encode([text])[0],
        text,
        instruction,
        k=k,
        where=filtered,
        blend=blend,
        exact=exact,
        sample=sample,
        seed=seed,
    )
    if png is not None:
        note("Drawing the map ...")
        explanation.draw(png)
    document = {**explanation.to_dict(), "picture": None if png is None else str(png)}
    saved = [] if png is None else [f"\nThe map is in {png}"]
    finish(document, *tables(explanation), *saved, as_json=as_json)
