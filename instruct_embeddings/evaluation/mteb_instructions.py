"""Which instruction a task of mteb is read under."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.types import PromptType


@dataclass(frozen=True)
class TaskInputs:
    """Inputs of a task as an encoder of ours reads them.

    Attributes:
        texts: Without any instruction; titles in front of the text of documents.
        instructions: Of each text; None where the task gives none.
    """

    texts: list[str]
    instructions: list[str | None]

    @classmethod
    def of_batches(cls, batches: Iterable[Mapping[str, Any]]) -> "TaskInputs":
        """What mteb hands to an encoder.

        In batches of queries `text` holds query and instruction joined, `query` the query alone.
        """
        texts: list[str] = []
        instructions: list[str | None] = []
        for batch in batches:
            own = list(batch["query"] if "instruction" in batch else batch["text"])
            texts += own
            instructions += [text or None for text in batch.get("instruction", [None] * len(own))]
        return cls(texts, instructions)

    @classmethod
    def of_rows(cls, rows: Iterable[Mapping[str, Any]]) -> "TaskInputs":
        """What mteb hands to a search model: documents or queries.

        Titles stand in front of the text of documents, as mteb puts them for encoders; the turns of
        a conversation become one text.
        """
        read = [(_text(row), row.get("instruction") or None) for row in rows]
        return cls([text for text, _ in read], [instruction for _, instruction in read])

    def grouped(self) -> dict[str | None, list[int]]:
        """Positions of the texts by instruction, in the order of their first text."""
        groups: dict[str | None, list[int]] = {}
        for place, text in enumerate(self.instructions):
            groups.setdefault(text, []).append(place)
        return groups

    def under(self, instruction: str | None) -> "TaskInputs":
        """The same with an instruction for the texts that have none of their own."""
        return TaskInputs(self.texts, [own or instruction for own in self.instructions])


def task_instruction(
    metadata: "TaskMetadata",
    prompt_type: "PromptType | None",
    instructions: Mapping[str, str],
) -> str | None:
    """The instruction of a task, for one side of it.

    Args:
        metadata: Of the task.
        prompt_type: Queries or documents; None where there are no two sides.
        instructions: By name as mteb names prompts, the first that is there: `<task>-query`,
            `<task>`, `<type>-query`, `<type>`, `query`; likewise with `document`. A task or a type
            alone does not speak for documents. An empty text means no instruction.

    Returns:
        What `instructions` says, else the prompt of the task itself; None for neither.
    """
    side = prompt_type.value if prompt_type else None
    for key in _keys(metadata.name, metadata.type, side):
        if key in instructions:
            return instructions[key] or None
    prompt: Any = metadata.prompt
    if isinstance(prompt, Mapping):
        return (prompt.get(side) if side else None) or None
    return None if side == "document" else prompt or None


def _text(row: Mapping[str, Any]) -> str:
    text = row["text"]
    if isinstance(text, str):
        return f"{row.get('title') or ''} {text}".strip()
    turns = [
        turn if isinstance(turn, str) else f"{turn['role']}: {turn['content']}" for turn in text
    ]
    return "; ".join(turns)


def _keys(name: str, kind: str, side: str | None) -> Sequence[str]:
    if side is None:
        return name, kind
    if side == "document":
        return f"{name}-document", f"{kind}-document", "document"
    return f"{name}-{side}", name, f"{kind}-{side}", kind, side
