"""The application: which commands there are."""

from typing import Annotated

import typer

from instruct_embeddings._version import __version__
from instruct_embeddings.cli.demo import demo
from instruct_embeddings.cli.evaluate import evaluate, evaluate_tasks
from instruct_embeddings.cli.index import index
from instruct_embeddings.cli.query import explain, query
from instruct_embeddings.cli.train import train
from instruct_embeddings.cli.transforms import adapt, transforms_app
from instruct_embeddings.cli.ui import ui

app = typer.Typer(
    name="instruct-embeddings",
    help="Ask the vectors that you already store different questions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo)
app.command()(ui)
app.command()(index)
app.command()(adapt)
app.command()(query)
app.command()(explain)
app.command()(evaluate)
app.command("eval")(evaluate_tasks)
app.command()(train)
app.add_typer(transforms_app, name="transforms")


def _show_version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    del version
