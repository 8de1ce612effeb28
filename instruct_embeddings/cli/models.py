"""The encoders and retrievers that the commands use, and filters."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from instruct_embeddings.cli.output import note
from instruct_embeddings.cli.store import Store
from instruct_embeddings.errors import CollectionMismatchError, GuideError

if TYPE_CHECKING:
    from instruct_embeddings.config import Instruction
    from instruct_embeddings.encoder import InstructEncoder
    from instruct_embeddings.protocols import CollectionInfo, InstantMover, VectorCollection
    from instruct_embeddings.retrieval.retriever import InstructRetriever
    from instruct_embeddings.transform.store import TransformStore

MODEL_KEY = "instruct_embeddings:model"


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
    store: Store,
    collection: str,
    transforms: "TransformStore",
    model: str | None,
    *instructions: str | None,
    fitted: bool = True,
) -> tuple["InstructRetriever", "InstructEncoder"]:
    """A retriever of stored transforms, and the encoder of its queries.

    If `fitted`, a transform of each instruction has to be stored and is used whatever its report
    says; else the instant query answers where none serves.
    """
    from instruct_embeddings.retrieval.retriever import InstructRetriever

    vectors = store.collection(collection)
    info = vectors.info()  # stops where nothing is stored
    asked = [one for one in instructions if one is not None]
    if fitted and asked:
        _check_stored(transforms, asked, info, store.flags(collection))
    encoder = load_encoder(model)
    check_filled_by(encoder, vectors, info)
    instant = None if fitted else load_instant()
    return InstructRetriever(vectors, store=transforms, instant=instant, force=fitted), encoder


def check_filled_by(
    encoder: "InstructEncoder", vectors: "VectorCollection", info: "CollectionInfo"
) -> None:
    """Refuse an encoder that did not fill a collection; say so where that is not recorded."""
    check_dimension(encoder, info)
    if not is_recorded(vectors, info.name, encoder):
        note(f"The collection does not record which model filled it; using {encoder.name}.")


def check_dimension(encoder: "InstructEncoder", info: "CollectionInfo") -> None:
    """Refuse an encoder whose vectors have another length than those stored."""
    length = encoder.encode([info.name]).shape[1]
    if length != info.dimension:
        raise CollectionMismatchError(
            f"The vectors of {info.name!r} have {info.dimension:,} dimensions, those of "
            f"{encoder.name!r} have {length:,}. Name the model that filled it: --model."
        )


def is_recorded(vectors: "VectorCollection", collection: str, encoder: "InstructEncoder") -> bool:
    """Refuse a collection that another model filled; whether it records its model at all."""
    # Of the stores only Chroma keeps metadata beside a collection.
    metadata = getattr(getattr(vectors, "collection", None), "metadata", None)
    return check_model(metadata, collection, encoder.name)


def check_model(metadata: Mapping[str, Any] | None, collection: str, model: str) -> bool:
    """Refuse a collection that another model filled; whether it records its model at all."""
    recorded = (metadata or {}).get(MODEL_KEY)
    if recorded is not None and recorded != model:
        raise CollectionMismatchError(
            f"The collection {collection!r} was filled by {recorded!r}, and {model!r} is about "
            "to be used: their vectors cannot be compared. "
            f"Use the model that filled it: --model {recorded}"
        )
    return recorded is not None


def read_filter(where: str | None) -> dict[str, Any] | None:
    """A filter from the command line; a usage error where it is none."""
    if where is None:
        return None
    from instruct_embeddings.filters import parse_where

    try:
        found: dict[str, Any] = json.loads(where)
        parse_where(found)
    except ValueError as exc:
        raise typer.BadParameter(
            f'--where is a filter such as {{"area": "x"}}, as JSON ({exc}): {where}'
        ) from exc
    return found


def read_instruction(
    text: str | None, examples: Sequence[str] | None
) -> "str | Instruction | None":
    """An instruction from the command line; a usage error where examples are no JSON."""
    if not examples:
        return text
    from instruct_embeddings.config import Instruction

    found = []
    for example in examples:
        try:
            found.append(json.loads(example))
        except ValueError as exc:
            raise typer.BadParameter(
                f'--example is a list such as ["query", "good text"], as JSON ({exc}): {example}'
            ) from exc
    return Instruction(text or "", found)


def _check_stored(
    transforms: "TransformStore",
    instructions: Sequence[str],
    info: "CollectionInfo",
    flags: str,
) -> None:
    """Stop where an instruction has no stored transform for the collection."""
    from instruct_embeddings.config import normalise_instruction

    summaries = transforms.summaries()
    known = {one.instruction for one in summaries if not one.problem and one.collection == info}
    stored = set(map(normalise_instruction, known))
    missing = [one for one in instructions if normalise_instruction(one) not in stored]
    if missing:
        listed = "; ".join(f'"{one}"' for one in sorted(known)) or "none"
        damaged = sum(one.problem is not None for one in summaries)
        also = f", and {damaged} damaged (see: transforms list)" if damaged else ""
        raise GuideError(
            f'No transform is stored for "{missing[0]}" and the collection {info.name!r}; stored '
            f"are: {listed}{also} (in {transforms.path}). Fit one with: instruct-embeddings adapt "
            f'"{missing[0]}" {flags}'
        )
