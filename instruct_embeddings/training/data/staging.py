"""Turns the lines of a file into entries of the index, in one pass."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

from instruct_embeddings.errors import DataError
from instruct_embeddings.training.data.examples import answer_key
from instruct_embeddings.training.data.index import Entry
from instruct_embeddings.training.data.instructions import Aspect, InstructionTable
from instruct_embeddings.training.data.reading import ReadingLog, Row, SourceFile, parse_row
from instruct_embeddings.training.data.split import stable_hash

# Answers and instructions come again and again; of open ones no more are kept in memory.
_REMEMBERED = 1024


class Stager:
    """Reads files for the index.

    Args:
        table: What is asked about labelled rows.
        aspects: The aspects of the table; an entry names one by its place.
        log: Counts rows and bad lines.
        seed: Seed of all hashes.
        max_characters: Longer texts are cut there.
    """

    def __init__(
        self,
        table: InstructionTable,
        aspects: Sequence[Aspect],
        log: ReadingLog,
        *,
        seed: int,
        max_characters: int,
    ) -> None:
        self._log, self._seed, self._max_characters = log, seed, max_characters
        numbers = {aspect.name: number for number, aspect in enumerate(aspects)}

        @lru_cache(_REMEMBERED)
        def hashed(text: str) -> int:
            return stable_hash(seed, text)

        @lru_cache(_REMEMBERED)
        def labelled(source: str, name: str, label: str) -> tuple[int, int] | None:
            aspect = table.aspect(source, name)
            if not aspect.instructions:
                return None
            return numbers[aspect.name], stable_hash(seed, answer_key(aspect.answer(label)))

        self._hashed, self._labelled = hashed, labelled

    def entries(self, number: int, name: str, file: SourceFile) -> Iterator[Entry]:
        """The examples of a file.

        Args:
            number: Of the source.
            name: Of the source, as the table calls it.
            file: Its rows.

        Raises:
            ConfigError: The table says nothing about an aspect.
            DataError: A bad line, where reading is strict; a file without any example.
        """
        empty, skipped = True, self._log.skipped
        for line_number, place, line in file.lines():
            try:
                row = parse_row(line, max_characters=self._max_characters)
            except ValueError as exc:
                self._log.skip(f"{file.path}:{line_number}: {exc}")
                continue
            self._log.read += 1
            text = stable_hash(self._seed, row.text)
            for own, key, answer in self._asked(name, row):
                empty = False
                yield Entry(number, own, key, answer, text, place, len(line))
        if empty:
            raise DataError(
                f"The data file {file.path} holds nothing to learn: {self._log.skipped - skipped} "
                "bad lines, and no row with an instruction, nor with a label of one value that the "
                "instructions table asks for. Mend the file, or leave it out of data.sources."
            )

    def _asked(self, source: str, row: Row) -> list[tuple[bool, int, int]]:
        """Whether the instruction is the row's own, the instruction or aspect, the answer."""
        if row.instruction is not None:
            answer = self._hashed(answer_key(row.answer))
            return [(True, self._hashed(row.instruction), answer)]
        found = (self._labelled(source, aspect, label) for aspect, label in row.labels)
        return [(False, *numbers) for numbers in found if numbers is not None]
