"""`ui`: a page to play with, on a collection or on the sample tickets."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from instruct_embeddings._extras import require
from instruct_embeddings.cli import models
from instruct_embeddings.cli.options import (
    AddressOption,
    HeaderOption,
    ModelOption,
    TimeoutOption,
    command,
)
from instruct_embeddings.cli.output import note
from instruct_embeddings.cli.store import Store

_DEMO = Path(".demo")


@command
def ui(
    address: AddressOption = None,
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Name of the collection.")
    ] = None,
    header: HeaderOption = None,
    timeout: TimeoutOption = None,
    folder: Annotated[
        Path | None,
        typer.Option("--transforms", help="Folder of the fitted transforms, as for `query`."),
    ] = None,
    model: ModelOption = None,
    host: Annotated[
        str, typer.Option(help="Who reaches the page: this machine alone, unless it is another.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help="By default the first free one from 7860 on.", min=1)
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser", help="Open the page in the browser of this machine.")
    ] = False,
) -> None:
    """Play with a collection in the browser: instructions, rankings, maps, your own questions.

    Without --store the page asks the sample tickets of `demo`. The collection is only read, fitted
    transforms are kept where `query` finds them, and nothing leaves the machine.
    """
    if address is not None and collection is None:
        raise typer.BadParameter("name the collection of the store: --collection NAME.")
    require("gradio", extra="ui")
    require("sklearn", extra="ui")
    from instruct_embeddings.cli.demo_corpus import ASPECTS, QUESTIONS, read_tickets
    from instruct_embeddings.cli.page.app import build, launch
    from instruct_embeddings.cli.page.session import Session
    from instruct_embeddings.transform.store import TransformStore

    with ExitStack() as stack:
        store = stack.enter_context(Store(address or f"chroma:{_DEMO}", header, timeout))
        encoder = models.load_encoder(model)
        filled: dict[str, str] = {}
        if address is None:
            from instruct_embeddings.cli.demo import build_collection

            require("chromadb", extra="chroma")
            built, _ = build_collection(store.chroma(), read_tickets(), encoder)
            collection = built.name
            filled = {"query": QUESTIONS["problem"][0], "instruction": ASPECTS["problem"]}
        vectors = store.collection(str(collection))
        models.check_filled_by(encoder, vectors, vectors.info())
        kept = TransformStore(folder or store.transforms)
        session = Session(vectors, encoder, models.load_instant(), kept)
        page = build(session, address=str(store), collection=str(collection), **filled)
        note(f"The page is at {launch(page, host=host, port=port, browser=browser)}")
        note("Ctrl-C ends it.")
        page.block_thread()
