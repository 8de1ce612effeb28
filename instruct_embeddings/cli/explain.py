"""`explain`: what an instruction did to one query, as tables and as a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from instruct_embeddings.cli.options import (
    BlendOption,
    CollectionOption,
    DebugOption,
    ExactOption,
    FittedOption,
    JsonOption,
    ModelOption,
    StoreOption,
    WhereOption,
)
from instruct_embeddings.cli.output import finish, note, reported
from instruct_embeddings.cli.placed import placed
from instruct_embeddings.cli.places import Place
from instruct_embeddings.cli.searching import open_retriever, read_filter

if TYPE_CHECKING:
    from instruct_embeddings.explain.explanation import Explanation


@reported
@placed
def explain(
    text: Annotated[str, typer.Argument(help="What to look for.")],
    collection: CollectionOption,
    instruction: Annotated[
        str, typer.Option("--instruction", "-i", help="A plain sentence; fitted or not.")
    ],
    place: Place,
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
    debug: DebugOption = False,
) -> None:
    """Show what an instruction does to a query: which results move, and why.

    It says whether a stored transform or the instant query answers, which constraints ("only",
    "no") the instruction states, and which --where would answer them exactly. Under a stored
    transform rows are put into categories: the labels that they are taken for, or clusters where
    the transform learned without labels. The picture shows the same rows as they are stored and
    under the instruction.
    """
    from instruct_embeddings.explain.map import check_map_file
    from instruct_embeddings.explain.tables import tables

    if png is not None:
        check_map_file(png)  # before anything is computed
    options = {"k": k, "where": read_filter(where), "blend": blend, "exact": exact}
    options |= {"sample": sample, "seed": seed}
    explanation = run_explain(
        place, collection, text, instruction, place.store(store), model, options, fitted=fitted
    )
    if png is not None:
        note("Drawing the map ...")
        explanation.draw(png)
    document = {**explanation.to_dict(), "picture": None if png is None else str(png)}
    saved = [] if png is None else [f"\nThe map is in {png}"]
    finish(document, *tables(explanation), *saved, as_json=as_json)


def run_explain(
    place: Place,
    name: str,
    text: str,
    instruction: str,
    store: Path,
    model: str | None,
    options: dict[str, Any],
    *,
    fitted: bool = False,
) -> "Explanation":
    """Explain one query under an instruction.

    Raises:
        EmptyCollectionError: Nothing is stored.
        CollectionMismatchError: Another model filled the collection.
        GuideError: No transform is stored for the instruction though it has to be, or the instant
            query does not reach the space of the collection.
        ConfigError: A map is asked for where no transform answers.
    """
    from instruct_embeddings.explain import explain

    engine, encoder = open_retriever(place, name, store, model, instruction, fitted=fitted)
    vector = encoder.encode([text])[0]
    return explain(engine, vector, text, instruction, **options)
