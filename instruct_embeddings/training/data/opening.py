"""Opens training data: reads the files once, holds out, makes the source of batches."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from hashlib import sha256
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from instruct_embeddings.errors import ConfigError, DataError
from instruct_embeddings.training.data.batches import BatchSource, DrawnGroup
from instruct_embeddings.training.data.index import ExampleIndex, IndexGroup
from instruct_embeddings.training.data.instructions import (
    Aspect,
    InstructionTable,
    load_instructions,
)
from instruct_embeddings.training.data.making import GroupMaker
from instruct_embeddings.training.data.mixture import group_probabilities
from instruct_embeddings.training.data.reading import (
    ReadingLog,
    ReadingReport,
    SourceFile,
)
from instruct_embeddings.training.data.split import (
    ValidationTask,
    held_out_count,
    held_out_wordings,
)
from instruct_embeddings.training.data.staging import Stager

if TYPE_CHECKING:
    from instruct_embeddings.training.settings import DataConfig, SourceConfig, ValidationConfig

Kind = Literal["set", "instruction"]
# A validation task of instructions from a file has room for so many rows of each.
_VALIDATION_GROUP_ROWS = 32
_FEWEST_VALIDATION_ROWS = 4


@dataclass(frozen=True)
class Group:
    """What batches of one instruction are drawn from.

    Attributes:
        name: Set and aspect, "clinc150/intent"; a set and the digest of the instruction that its
            rows bring, "natinst/1f0c4b2a"; or "natinst/mixed".
        source: The set.
        rows: Examples to train on.
        answers: Different answers among them.
        probability: How often it is drawn; the sum over all groups is 1.
        instruction: The instruction that its rows bring; empty for labels and mixed groups.
    """

    name: str
    source: str
    rows: int
    answers: int
    probability: float
    instruction: str = ""


@dataclass(frozen=True)
class TrainingData:
    """What a run learns from and is measured on; a context manager.

    Attributes:
        source: Draws the batches.
        validation: What is held out.
        report: How reading went.
        groups: What batches are drawn from.
    """

    source: BatchSource
    validation: tuple[ValidationTask, ...]
    report: ReadingReport
    groups: tuple[Group, ...]
    _close: Callable[[], None]

    def close(self) -> None:
        """Close the files and remove the index; no batch can be drawn any more."""
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
    config: "DataConfig", validation: "ValidationConfig | None", *, seed: int
) -> TrainingData:
    """Read the files once, hold out what is measured on, and make the source of batches.

    Memory does not grow with the files: what is needed of them lies in a temporary file until
    `close`, and texts are read back by their places.

    Args:
        config: Files, and how batches are drawn.
        validation: What is held out; None holds nothing out.
        seed: Seed of all draws and of what is held out.

    Raises:
        ConfigError: Instructions of an aspect are missing, or an aspect that is said to compete
            or a held-out set does not exist.
        DataError: A file cannot be read or holds nothing to learn; a bad line, where reading is
            strict.
    """
    with ExitStack() as stack:
        opening = _Opening(config, load_instructions(config.instructions), seed, stack)
        opening.read()
        tasks = opening.hold_out(validation) if validation else ()
        groups, drawn = opening.groups()
        source = BatchSource(
            opening.index,
            drawn,
            batch_size=config.batch_size,
            extra_answers=config.extra_answers,
            seed=seed,
        )
        return TrainingData(source, tasks, opening.log.report(), groups, stack.pop_all().close)


class _Opening:
    def __init__(
        self, config: "DataConfig", table: InstructionTable, seed: int, stack: ExitStack
    ) -> None:
        self.config, self.table, self.seed = config, table, seed
        for given in config.sources:
            table.check_competing(given.name, given.competing)
        self.log = ReadingLog(config.strict)
        self.files = [
            stack.enter_context(closing(SourceFile(source.path))) for source in config.sources
        ]
        self.index = stack.enter_context(closing(ExampleIndex()))
        # Numbered by name, so that the order of lines decides nothing.
        self.aspects = [table.aspects[name] for name in sorted(table.aspects)]

    def read(self) -> None:
        """Stage every file."""
        stager = Stager(
            self.table,
            self.aspects,
            self.log,
            seed=self.seed,
            max_characters=self.config.max_characters,
        )
        for number, (file, source) in enumerate(zip(self.files, self.config.sources, strict=True)):
            self.index.stage(stager.entries(number, source.name, file))
        self.index.part(least=self.config.min_group_rows)

    def hold_out(self, validation: "ValidationConfig") -> tuple[ValidationTask, ...]:
        """Take out what is measured on."""
        sources = [source.name for source in self.config.sources]
        if unknown := sorted(set(validation.sets) - set(sources)):
            raise ConfigError(
                f"validation.sets names {unknown}, which are no sources; the sources are "
                f"{sources}. Correct the names."
            )
        share, trained = validation.instructions, {}
        for number, source in enumerate(sources):
            if source in validation.sets:
                self.index.hold_out_source(number)
                continue
            count = held_out_count(self.index.instructions(number), share)
            self.index.hold_out_instructions(number, count)
            for key in self.index.aspects(number):
                trained[self.aspects[key].name] = self.aspects[key].instructions
        held = held_out_wordings(trained, share, seed=self.seed)
        tasks = []
        for number, source in enumerate(sources):
            kind: Kind = "set" if source in validation.sets else "instruction"
            for key in self.index.aspects(number):
                most = validation.rows
                if kind == "instruction":
                    most = min(most, int(share * self.index.count(number, key)))
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
        maker = self._maker(number, aspect.name, aspect=measured)
        places = self.index.pick_aspect(number, key, most)
        left = tuple(text for text in aspect.instructions if text not in wordings)
        self.aspects[key] = replace(aspect, instructions=left)
        return ValidationTask(aspect.name, kind, tuple(maker.example(p, 0.0) for p in places))

    def _own_task(self, number: int, kind: Kind, most: int) -> ValidationTask | None:
        """Rows of the held-out instructions that a file brings."""
        source = self.config.sources[number].name
        maker = self._maker(number, f"{source}/mixed")
        examples = []
        for place, mixed in self.index.pick_own(number, most, group_rows=_VALIDATION_GROUP_ROWS):
            example = maker.example(place, 0.0)
            own = maker.name if mixed else _own_name(source, maker.instruction(place))
            examples.append(replace(example, group=own))
        return ValidationTask(source, kind, tuple(examples)) if len(examples) > 1 else None

    def groups(self) -> tuple[tuple[Group, ...], list[DrawnGroup]]:
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
        shown, drawn = [], []
        for group, chance in zip(found, chances.tolist(), strict=True):
            maker, instruction = self._group_maker(group)
            source = self.config.sources[group.source].name
            shown.append(Group(maker.name, source, group.rows, group.answers, chance, instruction))
            drawn.append(DrawnGroup(maker, group.first, group.answers, group.rows, chance))
        return tuple(shown), drawn

    def _can_teach(self, group: IndexGroup) -> bool:
        if group.answers > 1:
            return True
        if group.own or group.key is None:
            return False
        raise DataError(
            f"All {group.rows} rows of {self.aspects[group.key].name!r} that are left to train on "
            "have one answer, so that nothing is told apart. Add rows with other labels, or write "
            f"skip = true under that aspect in {self.table.origin}."
        )

    def _group_maker(self, group: IndexGroup) -> tuple[GroupMaker, str]:
        source = self.config.sources[group.source].name
        if group.key is None:
            return self._maker(group.source, f"{source}/mixed", mixed=True), ""
        if not group.own:
            aspect = self.aspects[group.key]
            maker = self._maker(group.source, aspect.name, aspect=aspect)
            competing = self._competing(self.config.sources[group.source], aspect)
            return replace(maker, competing=competing), ""
        first = self.index.rows([self.index.answers([group.first])[0][0]])[0]
        maker = self._maker(group.source, source)
        instruction = maker.instruction(first)
        return replace(maker, name=_own_name(source, instruction)), instruction

    def _competing(self, source: "SourceConfig", asked: Aspect) -> tuple[Aspect, ...]:
        """The aspects that compete with the one that is asked for."""
        names = source.competing if asked.label in source.competing else ()
        return tuple(self.table.aspect(source.name, name) for name in names if name != asked.label)

    def _maker(
        self, number: int, name: str, *, aspect: Aspect | None = None, mixed: bool = False
    ) -> GroupMaker:
        most = self.config.max_characters
        return GroupMaker(name, self.files[number], self.table, most, aspect, mixed)


def _own_name(source: str, instruction: str) -> str:
    return f"{source}/{sha256(instruction.encode()).hexdigest()[:8]}"
