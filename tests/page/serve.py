"""Serve the page by the real command, with models without weights, in a process of its own.

    NOTED=FILE python -m tests.page.serve ui [arguments]

Gradio leaves loops of events behind, which warnings of later tests would be about. FILE gets a line
for each text that is embedded and for each host that this process speaks to.
"""

import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from instruct_embeddings._types import FloatArray
from instruct_embeddings.cli import models
from instruct_embeddings.cli.app import app
from instruct_embeddings.encoder import InstructEncoder
from instruct_embeddings.testing import TinyEncoder
from tests.models import tiny_checkpoint
from tests.movers import TinyInstant


def main() -> None:
    log = Path(os.environ["NOTED"])

    def note(line: str) -> None:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def watch(event: str, given: tuple[Any, ...]) -> None:
        if event == "socket.connect" and given[0].family != socket.AF_UNIX:
            note(f"host {given[1][0]}")
        if event == "socket.getaddrinfo":
            note(f"host {given[0]}")

    class Watched(TinyEncoder):
        def encode(self, texts: Sequence[str], **options: Any) -> FloatArray:  # type: ignore[override]
            for _ in texts:
                note("embedded")
            return super().encode(texts, **options)

    given: dict[str, Any] = {
        "load_encoder": lambda model=None: Watched(),
        "load_instructed": lambda model=None: InstructEncoder.from_pretrained(tiny_checkpoint()),
        "load_instant": TinyInstant,
    }
    for name, function in given.items():
        setattr(models, name, function)
    sys.addaudithook(watch)
    app()


if __name__ == "__main__":
    main()
