"""The encoders and retrievers that the commands use, and filters."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from instruct_embeddings._extras import require
from instruct_embeddings.cli.database import Database, check_model
from instruct_embeddings.cli.output import note
from instruct_embeddings.errors import GuideError

if TYPE_CHECKING:
    from instruct_embeddings.encoder import InstructEncoder
    from instruct_embeddings.protocols import CollectionInfo, InstantMover
    from instruct_embeddings.retrieval.retriever import InstructRetriever
    from instruct_embeddings.transform.store import TransformStore


def load_encoder(model: str | None = None) -> "InstructEncoder":
    """Load the encoder of generic vectors; all-MiniLM-L6-v2 unless another is named."""
    from instruct_embeddings.encoder import BASE_MODEL

    return load_instructed(model or BASE_MODEL)


def load_instant() -> "InstantMover":
    """What answers where nothing is fitted; weights are loaded at its first use."""
    from instruct_embeddings.instant import InstantQuery

    return InstantQuery.from_pretrained()


def load_instructed(model: str | None = None) -> "InstructEncoder":
    """Load the encoder that guides; the one in the package unless another is named."""
    from instruct_embeddings.encoder import InstructEncoder

    encoder = InstructEncoder.from_pretrained(model)
    # Looked for now, so that a model that is not there stops a command before it starts.
    _ = encoder.name
    return encoder


def open_retriever(
    database: Database,
    collection: str,
    store: Path | None,
    model: str | None,
    *instructions: str | None,
    fitted: bool = True,
) -> tuple["InstructRetriever", "InstructEncoder"]:
    """A retriever of stored transforms, and the encoder of its queries.

    If `fitted`, a transform of each instruction has to be stored and is used whatever its report
    says; else the instant query answers where none serves.
    """
    from chroma_instruct_embeddings import ChromaVectors
    from instruct_embeddings.retrieval.retriever import InstructRetriever
    from instruct_embeddings.transform.store import TransformStore

    folder = database.store(store)
    kept = TransformStore(folder)
    opened = database.collection(collection)
    vectors = ChromaVectors(opened)
    info = vectors.info()  # stops where nothing is stored
    asked = [one for one in instructions if one is not None]
    if fitted and asked:
        _check_stored(kept, folder, asked, info, database)
    encoder = load_encoder(model)
    if not check_model(opened.metadata, collection, encoder.name):
        note(f"The collection does not record which model filled it; using {encoder.name}.")
    instant = None if fitted else load_instant()
    return InstructRetriever(vectors, store=kept, instant=instant, force=fitted), encoder


def read_filter(where: str | None) -> dict[str, Any] | None:
    """A filter of Chroma from the command line; a usage error where it is none."""
    if where is None:
        return None
    try:
        found: dict[str, Any] = json.loads(where)
        require("chromadb.api.types", extra="chroma").validate_where(found)
    except ValueError as exc:
        raise typer.BadParameter(
            f'--where is a filter of Chroma such as {{"area": "x"}}, as JSON ({exc}): {where}'
        ) from exc
    return found


def _check_stored(
    store: "TransformStore",
    folder: Path,
    instructions: Sequence[str],
    info: "CollectionInfo",
    database: Database,
) -> None:
    """Stop where an instruction has no stored transform for the collection."""
    from instruct_embeddings.config import normalise_instruction

    summaries = store.summaries()
    known = {one.instruction for one in summaries if not one.problem and one.collection == info}
    stored = set(map(normalise_instruction, known))
    missing = [one for one in instructions if normalise_instruction(one) not in stored]
    if missing:
        listed = "; ".join(f'"{one}"' for one in sorted(known)) or "none"
        damaged = sum(one.problem is not None for one in summaries)
        also = f", and {damaged} damaged (see: transforms list)" if damaged else ""
        raise GuideError(
            f'No transform is stored for "{missing[0]}" and the collection {info.name!r}; stored '
            f"are: {listed}{also} (in {folder}). Fit one with: instruct-embeddings adapt "
            f'"{missing[0]}" {database.flags} --collection {info.name}'
        )
