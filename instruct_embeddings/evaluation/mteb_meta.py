"""What mteb records about our models."""

from typing import TYPE_CHECKING

from instruct_embeddings._extras import require
from instruct_embeddings.encoder.encoder import InstructEncoder

if TYPE_CHECKING:
    from mteb.models import ModelMeta

_OWNER = "instruct-embeddings"


def model_meta(
    encoder: InstructEncoder, *, revision: str, instructed: bool, kind: str
) -> "ModelMeta":
    """The metadata of one of our models.

    Args:
        encoder: Whose embeddings are ranked.
        revision: Differs where vectors or rankings differ, so that cached results are not mixed.
        instructed: Whether instructions are read.
        kind: How the encoder is used: `encoder` or `transform`.

    Raises:
        MissingExtraError: mteb is not installed (extra `mteb`).
    """
    meta = require("mteb.models.model_meta", extra="mteb")
    # Only a name on the hub has an owner; the model may be a folder.
    parts = encoder.name.split("/")
    name = encoder.name if len(parts) == 2 else f"{_OWNER}/{parts[-1]}"
    made: ModelMeta = meta.ModelMeta.create_empty(
        overwrites={
            "name": name if kind == "encoder" else f"{name}-{kind}",
            "revision": revision,
            "languages": ["eng-Latn"],
            "max_tokens": encoder.max_tokens,
            "embed_dim": encoder.dimension,
            "framework": ["PyTorch", "Transformers"],
            "similarity_fn_name": meta.ScoringFunction.COSINE,
            "use_instructions": instructed,
            "modalities": ["text"],
        }
    )
    return made
