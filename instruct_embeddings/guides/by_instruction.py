"""One guide for each instruction."""

from collections.abc import Mapping, Sequence
from hashlib import sha256

from instruct_embeddings.config import normalise_instruction
from instruct_embeddings.errors import GuideError
from instruct_embeddings.protocols import Guide, Rows
from instruct_embeddings.supervision import Supervision


class GuideByInstruction:
    """Chooses the guide that knows an instruction.

    A guide such as `MetadataGuide("language")` teaches the same labels whatever is asked. A
    retriever that answers several instructions from labels takes one guide for each:

    Instantiate:
        ```python
        guide = GuideByInstruction(
            {
                "What language is it written in?": MetadataGuide("language"),
                "What kind of interface does it have?": MetadataGuide("interface"),
            }
        )
        ```
    """

    def __init__(self, guides: Mapping[str, Guide]) -> None:
        """Keep the guides under their instructions.

        Args:
            guides: Instruction to guide. Case, spacing and end marks of instructions do not count.

        Raises:
            GuideError: The mapping is empty.
            InstructionError: An instruction is empty or too long.
        """
        if not guides:
            raise GuideError("GuideByInstruction got no guides. Pass {instruction: guide}.")
        self._guides = {normalise_instruction(text): guide for text, guide in guides.items()}
        self._shown = list(guides)

    def __repr__(self) -> str:
        """The instructions it knows."""
        return f"GuideByInstruction({self._shown})"

    @property
    def key(self) -> str:
        """`by-instruction:<digest>`; transforms are stored under the key of the chosen guide."""
        text = "\x1e".join(f"{text}\x1f{guide.key}" for text, guide in sorted(self._guides.items()))
        return f"by-instruction:{sha256(text.encode()).hexdigest()[:16]}"

    def choose(self, instruction: str) -> Guide:
        """The guide of an instruction.

        Raises:
            GuideError: No guide is given for it; the message lists the known instructions.
        """
        guide = self._guides.get(normalise_instruction(instruction))
        if guide is None:
            raise GuideError(
                f"No guide is given for the instruction {instruction!r}. Known instructions: "
                f"{self._shown}. Add one, or use one of these."
            )
        return guide

    def ids(self) -> Sequence[str] | None:
        """None: each chosen guide says for itself which rows it wants."""
        return None

    def judge(self, instruction: str, sample: Rows) -> Supervision:
        """What the chosen guide says."""
        return self.choose(instruction).judge(instruction, sample)


def chosen_guide(guide: Guide, instruction: str) -> Guide:
    """The guide that teaches an instruction: the one given, or the one it chooses.

    Raises:
        GuideError: There are guides by instruction, and none for this one.
    """
    return guide.choose(instruction) if isinstance(guide, GuideByInstruction) else guide
