"""The `demo` command."""

from pathlib import Path
from typing import Annotated

import typer

from instruct_embeddings._extras import require
from instruct_embeddings.cli.demo.guides import GuideName
from instruct_embeddings.cli.options import DebugOption, JsonOption
from instruct_embeddings.cli.output import finish, reported


@reported
def demo(
    corpus: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="JSONL with `text`, labels and, if there is one, `id`. By default 480 support "
            "tickets that come with the package.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Read at most so many rows.", min=20, show_default=False)
    ] = None,
    label_key: Annotated[
        list[str] | None,
        typer.Option(
            help="Key that holds labels, nested ones with a dot; can be given several times. "
            "By default up to three keys with 2 to 50 different values. With the encoder as "
            "guide they only judge the hits.",
            show_default=False,
        ),
    ] = None,
    instruction: Annotated[
        list[str] | None,
        typer.Option(
            "--instruction",
            "-i",
            help="What to ask, where there are no labels; can be given several times.",
            show_default=False,
        ),
    ] = None,
    guide: Annotated[
        GuideName, typer.Option(help="What teaches the instructions: no labels, or the labels.")
    ] = GuideName.ENCODER,
    path: Annotated[
        Path, typer.Option(help="Folder of the demo's collection and transforms.")
    ] = Path(".demo"),
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Build a collection, ask it under several instructions, show what changes.

    Everything is real: a Chroma collection, a sentence encoder, the retriever that the classes for
    LangChain and LlamaIndex wrap. A second run reuses the collection and the transforms.
    """
    require("chromadb", extra="chroma")
    from instruct_embeddings.cli.demo.run import run_demo
    from instruct_embeddings.cli.demo.screen import screen

    result = run_demo(corpus, limit, label_key or [], instruction or [], guide, path)
    finish(result.to_dict(), *screen(result), as_json=as_json)
