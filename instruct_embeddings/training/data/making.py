"""Makes examples of rows that are read back from their files."""

from dataclasses import dataclass

from instruct_embeddings.training.data.examples import Example, answer_key
from instruct_embeddings.training.data.index import Place
from instruct_embeddings.training.data.instructions import Aspect, InstructionTable
from instruct_embeddings.training.data.reading import Row, SourceFile, parse_row


@dataclass(frozen=True)
class GroupMaker:
    """Makes the examples of one group.

    Attributes:
        name: Of the group.
        file: Where its rows stand.
        table: Other wordings of the instructions that rows bring.
        max_characters: Longer texts are cut there.
        aspect: What is asked about labelled rows; None where rows bring their instructions.
        mixed: Whether rows bring different instructions.
        competing: Other aspects whose answers are wrong answers here.
    """

    name: str
    file: SourceFile
    table: InstructionTable
    max_characters: int
    aspect: Aspect | None = None
    mixed: bool = False
    competing: tuple[Aspect, ...] = ()

    def check(self) -> None:
        """Make sure that the file did not change.

        Raises:
            DataError: It did.
        """
        self.file.check()

    def example(self, place: Place, wording: float) -> Example:
        """The example of a row.

        Args:
            place: Where the row stands.
            wording: In [0, 1): chooses among the wordings of its instruction.
        """
        row = self._row(place)
        wordings = (
            self.aspect.instructions if self.aspect else self.table.wordings(row.instruction or "")
        )
        instruction = wordings[int(wording * len(wordings))]
        answer = self._answer(row)
        wrong = (*row.negatives, *self._competing(row, answer))
        return Example(row.text, instruction, answer, wrong, self.name)

    def answer(self, place: Place) -> str:
        """The answer of a row."""
        return self._answer(self._row(place))

    def instruction(self, place: Place) -> str:
        """The instruction that a row brings."""
        return self._row(place).instruction or ""

    def _competing(self, row: Row, answer: str) -> tuple[str, ...]:
        labels, right = dict(row.labels), answer_key(answer)
        found = (
            aspect.answer(labels[aspect.label])
            for aspect in self.competing
            if aspect.label in labels
        )
        return tuple(other for other in found if answer_key(other) != right)

    def _row(self, place: Place) -> Row:
        line = self.file.read(place.place, place.length)
        return parse_row(line, max_characters=self.max_characters)

    def _answer(self, row: Row) -> str:
        if self.aspect is None:
            return row.answer
        return self.aspect.answer(dict(row.labels)[self.aspect.label])
