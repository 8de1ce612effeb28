"""What teaches the demo's instructions."""

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from instruct_embeddings.cli import encoders
from instruct_embeddings.cli.demo.questions import Aspect
from instruct_embeddings.errors import ConfigError

if TYPE_CHECKING:
    from instruct_embeddings.protocols import Guide


class GuideName(str, Enum):
    """Guides that the demo knows."""

    ENCODER = "encoder"
    LABELS = "labels"


def guide_of_aspects(name: GuideName) -> "Callable[[Aspect], Guide]":
    """What teaches an aspect, by the name of a kind of guide."""
    from instruct_embeddings.guides import EncoderGuide, MetadataGuide

    if name is GuideName.ENCODER:
        guide = EncoderGuide(encoders.load_instructed())
        return lambda aspect: guide

    def by_labels(aspect: Aspect) -> "Guide":
        if aspect.key is None:
            raise ConfigError(
                "--guide labels needs labels, and an --instruction names none. Leave out "
                "--instruction, or take --guide encoder."
            )
        return MetadataGuide(aspect.key, separator=aspect.separator)

    return by_labels
