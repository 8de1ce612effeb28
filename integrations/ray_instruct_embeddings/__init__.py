"""Ray Data for `instruct-embeddings`: texts are encoded and stored on several machines.

The only package of this project that knows `ray`.
"""

from instruct_embeddings._extras import require

require("ray", extra="ray")

# After the check, so that a missing Ray is reported with the extra that brings it.
from ray_instruct_embeddings.embed import EmbedTexts  # noqa: E402
from ray_instruct_embeddings.upsert import UpsertInto  # noqa: E402

__all__ = ["EmbedTexts", "UpsertInto"]
