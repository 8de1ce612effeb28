"""Opens training data: reads the files once, holds out, makes the source of batches."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from types import TracebackType
from typing import Literal, TypeAlias

from instruct_embeddings.errors import DataError
from instruct_embeddings.training.data.batches import (
    BatchSource,
    DrawnGroup,
    Group,
    GroupReader,
    group_probabilities,
)
from instruct_embeddings.training.data.files import (
    Aspect,
    Example,
    ReadingLog,
    ReadingReport,
    Row,
    SourceFile,
    answer_key,
    load_instructions,
    parse_row,
)
from instruct_embeddings.training.data.index import Entry, ExampleIndex, IndexGroup
from instruct_embeddings.training.settings import DataConfig, SourceConfig, ValidationConfig

Kind: TypeAlias = Literal["set", "instruction"]
# A validation task of instructions from a file has room for so many rows of each.
_VALIDATION_GROUP_ROWS = 32
_FEWEST_VALIDATION_ROWS = 4
# Answers and instructions come again and again; of open ones no more hashes are kept.
_HASHES_KEPT = 1024


@dataclass(frozen=True)
class ValidationTask:
    """Examples that are never trained on."""

    name: str  # set and aspect, "nlupp/domain", or the set alone where rows bring instructions
    # "set": the whole set is held out; "instruction": the set is trained on, but never under these
    # instructions (and, where rows have labels, never on these texts).
    kind: Kind
    # At most as many as asked for. Answers of one `group` can be compared.
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class TrainingData:
    """What a run learns from and is measured on; a context manager."""

    source: BatchSource
    validation: tuple[ValidationTask, ...]
    report: ReadingReport  # how reading went
    groups: tuple[Group, ...]  # what batches are drawn from
    _close: Callable[[], None]

    def close(self) -> None:
        """Close the files; no batch can be drawn any more."""
        self._close()

    def __enter__(self) -> "TrainingData":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_data(
    config: DataConfig, validation: ValidationConfig | None, *, seed: int
) -> TrainingData:
    """Read the files once, hold out what is measured on, and make the source of batches.

    Of a row its offset and some hashes are kept in memory; texts are read back when they are drawn.

    Raises:
        ConfigError: Instructions of an aspect are missing, or an aspect that is said to compete
            does not exist.
        DataError: A file cannot be read or holds nothing to learn; a bad line, where reading is
            strict.
    """
    with ExitStack() as stack:
        opening = _Opening(config, seed, stack)
        opening.read()
        tasks = opening.hold_out(validation) if validation else ()
        drawn = opening.groups()
        source = BatchSource(
            opening.index,
            drawn,
            batch_size=config.batch_size,
            extra_answers=config.extra_answers,
            seed=seed,
        )
        groups = tuple(one.group for one in drawn)
        return TrainingData(source, tasks, opening.log.report(), groups, stack.pop_all().close)


class _Opening:
    def __init__(self, config: DataConfig, seed: int, stack: ExitStack) -> None:
        self.config, self.seed = config, seed
        self.table = load_instructions(config.instructions)
        for given in config.sources:
            self.table.check_competing(given.name, given.competing)
        self.log = ReadingLog(config.strict)
        self.files = [
            stack.enter_context(closing(SourceFile(source.path))) for source in config.sources
        ]
        self.index = ExampleIndex()
        # Numbered by name, so that the order of lines decides nothing.
        self.aspects = [self.table.aspects[name] for name in sorted(self.table.aspects)]
        self.numbers = {aspect.name: number for number, aspect in enumerate(self.aspects)}
        self.hashed = lru_cache(_HASHES_KEPT)(lambda text: stable_hash(seed, text))
        self.labelled = lru_cache(_HASHES_KEPT)(self._label)

    def read(self) -> None:
        """Stage every file."""
        for number, source in enumerate(self.config.sources):
            self.index.stage(self._entries(number, source.name, self.files[number]))
        self.index.divide(least=self.config.min_group_rows)

    def _entries(self, number: int, name: str, file: SourceFile) -> Iterator[Entry]:
        """The examples of a file."""
        empty, skipped = True, self.log.skipped
        for line_number, offset, line in file.lines():
            try:
                row = parse_row(line, max_characters=self.config.max_characters)
            except ValueError as exc:
                self.log.skip(f"{file.path}:{line_number}: {exc}")
                continue
            self.log.read += 1
            text = stable_hash(self.seed, row.text)
            for own, key, answer in self._asked(name, row):
                empty = False
                yield Entry(number, own, key, answer, text, offset, len(line))
        if empty:
            raise DataError(
                f"The data file {file.path} holds nothing to learn: {self.log.skipped - skipped} "
                "bad lines, and no row with an instruction, nor with a label of one value that the "
                "instructions table asks for. Correct the file, or leave it out of data.sources."
            )

    def _asked(self, source: str, row: Row) -> list[tuple[bool, int, int]]:
        """Whether the instruction is the row's own, the instruction or aspect, the answer."""
        if row.instruction is not None:
            return [(True, self.hashed(row.instruction), self.hashed(answer_key(row.answer)))]
        found = (self.labelled(source, aspect, label) for aspect, label in row.labels)
        return [(False, *numbers) for numbers in found if numbers is not None]

    def _label(self, source: str, name: str, label: str) -> tuple[int, int] | None:
        aspect = self.table.aspect(source, name)
        if not aspect.instructions:
            return None
        return self.numbers[aspect.name], stable_hash(self.seed, answer_key(aspect.answer(label)))

    def hold_out(self, validation: ValidationConfig) -> tuple[ValidationTask, ...]:
        """Take out what is measured on."""
        sources = [source.name for source in self.config.sources]
        fraction, trained = validation.instructions, {}
        for number, source in enumerate(sources):
            if source in validation.sets:
                self.index.hold_out_source(number)
                continue
            count = held_out_count(self.index.instructions(number), fraction)
            self.index.hold_out_instructions(number, count)
            for key in self.index.aspects(number):
                trained[self.aspects[key].name] = self.aspects[key].instructions
        held = held_out_wordings(trained, fraction, seed=self.seed)
        tasks = []
        for number, source in enumerate(sources):
            kind: Kind = "set" if source in validation.sets else "instruction"
            for key in self.index.aspects(number):
                most = validation.rows
                if kind == "instruction":
                    most = min(most, int(fraction * self.index.count(number, key)))
                tasks.append(self._aspect_task(number, key, kind, held, most))
            tasks.append(self._own_task(number, kind, validation.rows))
        return tuple(task for task in tasks if task)

    def _aspect_task(
        self, number: int, key: int, kind: Kind, held: dict[str, tuple[str, ...]], most: int
    ) -> ValidationTask | None:
        """Rows of an aspect under a held-out wording; of a held-out set under its first."""
        aspect = self.aspects[key]
        wordings = aspect.instructions if kind == "set" else held.get(aspect.name)
        if not wordings or most < _FEWEST_VALIDATION_ROWS:
            return None
        measured = replace(aspect, instructions=wordings[:1])
        reader = self._reader(number, aspect.name, aspect=measured)
        found = self.index.pick_aspect(number, key, most)
        left = tuple(text for text in aspect.instructions if text not in wordings)
        self.aspects[key] = replace(aspect, instructions=left)
        return ValidationTask(aspect.name, kind, tuple(reader.example(one, 0.0) for one in found))

    def _own_task(self, number: int, kind: Kind, most: int) -> ValidationTask | None:
        """Rows of the held-out instructions that a file brings."""
        source = self.config.sources[number].name
        reader = self._reader(number, f"{source}/mixed")
        examples = []
        for location, mixed in self.index.pick_own(number, most, group_rows=_VALIDATION_GROUP_ROWS):
            example = reader.example(location, 0.0)
            own = reader.name if mixed else _own_name(source, reader.instruction(location))
            examples.append(replace(example, group=own))
        return ValidationTask(source, kind, tuple(examples)) if len(examples) > 1 else None

    def groups(self) -> list[DrawnGroup]:
        """What is left to train on."""
        found = [group for group in self.index.finish() if self._can_teach(group)]
        if not found:
            raise DataError(
                "Nothing is left to train on: each row is held out, or has the only answer to its "
                "instruction. Hold out less (validation.sets, validation.instructions), or add "
                "rows."
            )
        chances = group_probabilities(
            [group.rows for group in found],
            [group.source for group in found],
            [source.weight for source in self.config.sources],
            temperature=self.config.temperature,
            max_rows=self.config.max_rows,
        )
        drawn = []
        for one, chance in zip(found, chances.tolist(), strict=True):
            reader, instruction = self._group_reader(one)
            source = self.config.sources[one.source].name
            group = Group(reader.name, source, one.rows, one.answers, chance, instruction)
            drawn.append(DrawnGroup(group, reader, one.first))
        return drawn

    def _can_teach(self, group: IndexGroup) -> bool:
        if group.answers > 1:
            return True
        if group.own or group.key is None:
            return False
        raise DataError(
            f"All {group.rows} rows of {self.aspects[group.key].name!r} that are left to train on "
            "have one answer, so that there is nothing to learn. Add rows with other labels, or "
            f"write skip = true under that aspect in {self.table.origin}."
        )

    def _group_reader(self, group: IndexGroup) -> tuple[GroupReader, str]:
        source = self.config.sources[group.source].name
        if group.key is None:
            return self._reader(group.source, f"{source}/mixed", mixed=True), ""
        if not group.own:
            aspect = self.aspects[group.key]
            reader = self._reader(group.source, aspect.name, aspect=aspect)
            competing = self._competing(self.config.sources[group.source], aspect)
            return replace(reader, competing=competing), ""
        first = self.index.rows([self.index.answers([group.first])[0][0]])[0]
        reader = self._reader(group.source, source)
        instruction = reader.instruction(first)
        return replace(reader, name=_own_name(source, instruction)), instruction

    def _competing(self, source: SourceConfig, asked: Aspect) -> tuple[Aspect, ...]:
        """The aspects that compete with the one that is asked for."""
        names = source.competing if asked.label in source.competing else ()
        return tuple(self.table.aspect(source.name, name) for name in names if name != asked.label)

    def _reader(
        self, number: int, name: str, *, aspect: Aspect | None = None, mixed: bool = False
    ) -> GroupReader:
        most = self.config.max_characters
        return GroupReader(name, self.files[number], self.table, most, aspect, mixed)


def _own_name(source: str, instruction: str) -> str:
    return f"{source}/{sha256(instruction.encode()).hexdigest()[:8]}"


def stable_hash(seed: int, text: str) -> int:
    """64 bits, signed: the same on every machine and in every run."""
    return int.from_bytes(sha256(f"{seed}\n{text}".encode()).digest()[:8], "big", signed=True)


def held_out_count(total: int, fraction: float) -> int:
    """How many of `total` instructions are held out; one at least is kept."""
    return max(0, min(round(fraction * total), total - 1))


def held_out_wordings(
    wordings: Mapping[str, tuple[str, ...]], fraction: float, *, seed: int
) -> dict[str, tuple[str, ...]]:
    """Choose wordings that are never trained on, by aspect.

    The fraction is of all wordings together, so that aspects of few wordings have their turn too.
    An aspect keeps at least one, and a wording is held out in all aspects that have it, or in none.
    """
    texts = sorted({text for texts in wordings.values() for text in texts})
    wanted = held_out_count(len(texts), fraction)
    kept = {name: len(texts) for name, texts in wordings.items()}
    held: set[str] = set()
    for text in sorted(texts, key=lambda text: stable_hash(seed, text)):
        owners = [name for name, texts in wordings.items() if text in texts]
        if len(held) < wanted and all(kept[name] > 1 for name in owners):
            held.add(text)
            for name in owners:
                kept[name] -= 1
    chosen = {name: tuple(t for t in texts if t in held) for name, texts in wordings.items()}
    return {name: texts for name, texts in chosen.items() if texts}
