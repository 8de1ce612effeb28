"""One guide for each instruction."""

from collections.abc import Mapping, Sequence

from instruct_embeddings._reading import shown
from instruct_embeddings.config import normalise_instruction
from instruct_embeddings.errors import GuideError, InstructionError
from instruct_embeddings.guides._common import digest
from instruct_embeddings.protocols import Guide, Rows
from instruct_embeddings.supervision import Supervision


class GuideByInstruction:
    """Chooses the guide of an instruction.

    A guide such as `MetadataGuide("language")` teaches the same labels under every instruction. A
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
            GuideError: It is no mapping, or an empty one.
            InstructionError: An instruction is empty or too long, or two mean the same.
        """
        if not isinstance(guides, Mapping) or not guides:
            raise GuideError(
                f"GuideByInstruction got no guides: {shown(guides)}. At least one is wanted. Pass "
                "{instruction: guide}."
            )
        self._guides: dict[str, Guide] = {}
        self._texts: dict[str, str] = {}
        for text, guide in guides.items():
            form = normalise_instruction(text)
            if form in self._guides:
                raise InstructionError(
                    f"{self._texts[form]!r} and {text!r} are one instruction: case, spacing and "
                    "end marks do not count. Each has one guide. Keep one of them."
                )
            self._guides[form], self._texts[form] = guide, text

    def __repr__(self) -> str:
        """The known instructions."""
        return f"GuideByInstruction({list(self._texts.values())})"

    @property
    def key(self) -> str:
        """`by-instruction:<digest>`; transforms are stored under the key of the chosen guide."""
        parts = sorted([text, guide.key] for text, guide in self._guides.items())
        return f"by-instruction:{digest(parts)}"

    def choose(self, instruction: str) -> Guide:
        """The guide of an instruction.

        Raises:
            GuideError: No guide is given for it; the message lists the known instructions.
        """
        guide = self._guides.get(normalise_instruction(instruction))
        if guide is None:
            raise GuideError(
                f"No guide is given for the instruction {instruction!r}. Known instructions: "
                f"{list(self._texts.values())}. Add one, or use one of these."
            )
        return guide

    def ids(self) -> Sequence[str] | None:
        """None: the rows depend on the chosen guide."""
        return None

    def judge(self, instruction: str, sample: Rows) -> Supervision:
        """Supervision from the chosen guide."""
        return self.choose(instruction).judge(instruction, sample)


def chosen_guide(guide: Guide, instruction: str) -> Guide:
    """The guide given, or the one that a `GuideByInstruction` chooses.

    Raises:
        GuideError: There are guides by instruction, and none for this one.
    """
    return guide.choose(instruction) if isinstance(guide, GuideByInstruction) else guide
