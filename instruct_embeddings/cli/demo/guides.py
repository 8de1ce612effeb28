"""What teaches the demo's instructions."""

from collections.abc import Sequence
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


def guide_of(name: GuideName, aspects: Sequence[Aspect]) -> "Guide":
    """What teaches some aspects, by the name of a kind of guide.

    Raises:
        ConfigError: Labels shall teach, and an aspect has none.
    """
    from instruct_embeddings.guides import EncoderGuide, GuideByInstruction, MetadataGuide

    if name is GuideName.ENCODER:
        return EncoderGuide(encoders.load_instructed())
    guides = {}
    for aspect in aspects:
        if aspect.key is None:
            raise ConfigError(
                "--guide labels needs labels, and an --instruction names none. Leave out "
                "--instruction, or take --guide encoder."
            )
        guides[aspect.instruction] = MetadataGuide(aspect.key, separator=aspect.separator)
    return GuideByInstruction(guides)
