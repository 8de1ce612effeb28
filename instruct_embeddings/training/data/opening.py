"""Opens training data: reads the files once, holds out, makes the source of batches."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from hashlib import sha256

from instruct_embeddings.config import normal_form
from instruct_embeddings.errors import DataError
from instruct_embeddings.training.data.batches import (
    BatchSource,
    DrawnGroup,
    Group,
    GroupReader,
    group_probabilities,
)
from instruct_embeddings.training.data.files import (
    Example,
    ReadingReport,
    SourceFile,
    load_instructions,
)
from instruct_embeddings.training.data.index import Entry, FileIndex, IndexGroup
from instruct_embeddings.training.settings import DataConfig, SourceConfig, ValidationConfig

_PROBLEMS_KEPT = 10
# A validation task of instructions from a file has room for so many rows of each.
_VALIDATION_GROUP_ROWS = 32
_FEWEST_VALIDATION_ROWS = 4
# Answers and instructions come again and again; of open ones no more hashes are kept.
_HASHES_KEPT = 1024


@dataclass(frozen=True)
class ValidationTask:
    """Examples that are never trained on."""

    name: str  # set and aspect, "nlupp/domain", or the set alone where rows bring instructions
    # At most as many as asked for. Answers of one `group` can be compared.
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class TrainingData:
    """What a run learns from and is measured on."""

    source: BatchSource
    validation: tuple[ValidationTask, ...]
    report: ReadingReport  # how reading went
    groups: tuple[Group, ...]  # what batches are drawn from


@contextmanager
def open_data(
    config: DataConfig, validation: ValidationConfig | None, *, seed: int
) -> Iterator[TrainingData]:
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
        tasks = opening.hold_out(validation) if validation else []
        drawn = opening.groups()
        source = BatchSource(drawn, config.batch_size, config.extra_answers, seed)
        groups = tuple(one.group for one in drawn)
        yield TrainingData(source, tuple(tasks), opening.report(), groups)


class _Opening:
    def __init__(self, config: DataConfig, seed: int, stack: ExitStack) -> None:
        self.config, self.seed = config, seed
        self.table = load_instructions(config.instructions)
        for source in config.sources:
            for name in source.competing:
                self.table.aspect(source.name, name)
        # By name; wordings that are held out are taken away.
        self.aspects = dict(self.table.aspects)
        self.read, self.skipped, self.problems = 0, 0, list[str]()
        self.hashed = lru_cache(_HASHES_KEPT)(partial(stable_hash, seed))
        self.labelled = lru_cache(_HASHES_KEPT)(self._label)
        most = config.max_characters
        files = [
            stack.enter_context(closing(SourceFile(source.path, most))) for source in config.sources
        ]
        self.parts = [
            (source, file, self._index(source, file))
            for source, file in zip(config.sources, files, strict=True)
        ]

    def report(self) -> ReadingReport:
        """How reading went."""
        return ReadingReport(self.read, self.skipped, tuple(self.problems))

    def hold_out(self, validation: ValidationConfig) -> list[ValidationTask]:
        """Take out what is measured on."""
        fraction = validation.instructions
        trained: dict[str, tuple[str, ...]] = {}
        for source, _, index in self.parts:
            if source.name in validation.sets:
                index.hold_out(len(index.own))
                continue
            index.hold_out(held_out_count(len(index.own), fraction))
            trained |= {name: self.aspects[name].instructions for name in index.labelled}
        wordings = held_out_wordings(trained, fraction, seed=self.seed)
        tasks = []
        for source, file, index in self.parts:
            for name in sorted(index.labelled):
                most, asked = validation.rows, wordings.get(name, ())
                if source.name in validation.sets:
                    asked = self.aspects[name].instructions[:1]
                else:
                    most = min(most, int(fraction * len(index.labelled[name])))
                if asked and most >= _FEWEST_VALIDATION_ROWS:
                    tasks.append(self._aspect_task(file, index, name, asked, most))
            tasks += self._own_task(source, file, index, validation.rows)
        self.parts = [part for part in self.parts if part[0].name not in validation.sets]
        return tasks

    def groups(self) -> list[DrawnGroup]:
        """What is left to train on."""
        found = [
            (source, file, group)
            for source, file, index in self.parts
            for group in index.groups()
            if self._can_teach(group)
        ]
        if not found:
            raise DataError(
                "Nothing is left to train on: each row is held out, or has the only answer to its "
                "instruction. Hold out less (validation.sets, validation.instructions), or add "
                "rows."
            )
        chances = group_probabilities(
            [group.rows for _, _, group in found],
            [self.config.sources.index(source) for source, _, _ in found],
            [source.weight for source in self.config.sources],
            temperature=self.config.temperature,
            max_rows=self.config.max_rows,
        )
        drawn = []
        for (source, file, one), chance in zip(found, chances.tolist(), strict=True):
            reader, asked = self._group_reader(source, file, one)
            group = Group(reader.name, source.name, one.rows, len(one.answers), chance, asked)
            drawn.append(DrawnGroup(group, reader, one.answers))
        return drawn

    def _index(self, source: SourceConfig, file: SourceFile) -> FileIndex:
        index, skipped = FileIndex(least=self.config.min_group_rows), self.skipped
        for number, offset, length, row in file.rows():
            if isinstance(row, ValueError):
                self._skip(f"{file.path}:{number}: {row}")
                continue
            self.read += 1
            text = stable_hash(self.seed, row.text)
            if row.instruction is not None:
                answer = self.hashed(normal_form(row.answer))
                own = index.own[self.hashed(row.instruction)]
                own.append(Entry(answer, text, offset, length))
            for name, label in row.labels:
                if (found := self.labelled(source.name, name, label)) is not None:
                    labelled = index.labelled[f"{source.name}/{name}"]
                    labelled.append(Entry(found, text, offset, length))
        if not index.own and not index.labelled:
            raise DataError(
                f"The data file {file.path} holds nothing to learn: {self.skipped - skipped} "
                "bad lines, and no row with an instruction, nor with a label of one value that the "
                "instructions table asks for. Correct the file, or leave it out of data.sources."
            )
        return index

    def _skip(self, problem: str) -> None:
        if self.config.strict:
            raise DataError(f"{problem}. Correct the line, or skip it with strict = false.")
        self.skipped += 1
        if self.skipped <= _PROBLEMS_KEPT:
            self.problems.append(problem)

    def _label(self, source: str, name: str, label: str) -> int | None:
        """Hash of the answer that a label stands for; None where nobody asks for the aspect."""
        aspect = self.table.aspect(source, name)
        if not aspect.instructions:
            return None
        return stable_hash(self.seed, normal_form(aspect.answer(label)))

    def _aspect_task(
        self, file: SourceFile, index: FileIndex, name: str, asked: tuple[str, ...], most: int
    ) -> ValidationTask:
        """Rows of an aspect under the first of the wordings that are asked, and never trained."""
        aspect = self.aspects[name]
        reader = GroupReader(name, file, self.table, replace(aspect, instructions=asked[:1]))
        left = tuple(text for text in aspect.instructions if text not in asked)
        self.aspects[name] = replace(aspect, instructions=left)
        found = index.pick_aspect(name, most)
        return ValidationTask(name, tuple(reader.example(row, 0.0) for row in found))

    def _own_task(
        self, source: SourceConfig, file: SourceFile, index: FileIndex, most: int
    ) -> list[ValidationTask]:
        """Rows of the held-out instructions that a file brings, where there are two."""
        examples = []
        for entry, mixed in index.pick_own(most, group_rows=_VALIDATION_GROUP_ROWS):
            name, _ = _named(source, file, entry, mixed=mixed)
            examples.append(GroupReader(name, file, self.table).example(entry, 0.0))
        return [ValidationTask(source.name, tuple(examples))] if len(examples) > 1 else []

    def _can_teach(self, group: IndexGroup) -> bool:
        if len(group.answers) > 1:
            return True
        if group.aspect is None:
            return False
        raise DataError(
            f"All {group.rows} rows of {group.aspect!r} that are left to train on "
            "have one answer, so that there is nothing to learn. Add rows with other labels, or "
            f"write skip = true under that aspect in {self.table.origin}."
        )

    def _group_reader(
        self, source: SourceConfig, file: SourceFile, group: IndexGroup
    ) -> tuple[GroupReader, str]:
        """What reads a group, and the instruction that its rows have in common."""
        if group.aspect is None:
            first = group.answers[0][0]
            name, instruction = _named(source, file, first, mixed=group.mixed)
            return GroupReader(name, file, self.table, mixed=group.mixed), instruction
        asked = self.aspects[group.aspect]
        others = source.competing if asked.label in source.competing else ()
        competing = tuple(
            self.table.aspect(source.name, name) for name in others if name != asked.label
        )
        return GroupReader(group.aspect, file, self.table, asked, competing=competing), ""


def _named(source: SourceConfig, file: SourceFile, entry: Entry, *, mixed: bool) -> tuple[str, str]:
    """Name and instruction of a group of rows that bring theirs, of which one is given."""
    if mixed:
        return f"{source.name}/mixed", ""
    instruction = file.row(entry.offset, entry.length).instruction or ""
    return f"{source.name}/{sha256(instruction.encode()).hexdigest()[:8]}", instruction


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
    left = {name: set(texts) for name, texts in wordings.items()}
    held: set[str] = set()
    for text in sorted(texts, key=lambda text: stable_hash(seed, text)):
        owners = [own for own in left.values() if text in own]
        if len(held) < wanted and all(len(own) > 1 for own in owners):
            held.add(text)
            for own in owners:
                own.remove(text)
    chosen = {name: tuple(t for t in texts if t in held) for name, texts in wordings.items()}
    return {name: texts for name, texts in chosen.items() if texts}
