"""Runs tasks of mteb on several models."""

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from instruct_embeddings._extras import require
from instruct_embeddings._printable import figures_table
from instruct_embeddings.errors import DataError, TruncationWarning
from instruct_embeddings.evaluation.mteb_models import MtebEncoder, MtebRetriever

if TYPE_CHECKING:
    from mteb.abstasks import AbsTask
    from rich.table import Table

MtebModel: TypeAlias = MtebEncoder | MtebRetriever

_IFIR = ("Aila", "Cds", "FiQA", "Fire", "NFCorpus", "Pm", "Scifact")
# What papers name and mteb knows as several tasks.
GROUPS = {
    "IFIR": tuple(f"IFIR{part}" for part in _IFIR),
    "LIMIT": ("LIMITRetrieval", "LIMITSmallRetrieval"),
}


@dataclass(frozen=True)
class TaskScore:
    """One method on one task.

    Attributes:
        task: Name of the task.
        kind: Type of the task, such as `Clustering`.
        measure: Name of the main score.
        method: Name of the method.
        score: The main score; None where there is none.
        seconds: Wall time.
        problem: Why there is no score.
        scores: All scores, by split.
        instructions: Different instructions that were read.
        remarks: What a reader of the score should know.
    """

    task: str
    kind: str
    measure: str
    method: str
    score: float | None
    seconds: float
    problem: str | None = None
    scores: Mapping[str, Any] = field(default_factory=dict)
    instructions: int = 0
    remarks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def find_tasks(
    names: Sequence[str], instructions: Mapping[str, str] | None = None
) -> list["AbsTask"]:
    """Tasks by name; each once.

    Args:
        names: Of tasks or benchmarks of mteb (`Core17InstructionRetrieval`, `MTEB(eng, v2)`), of
            the groups `IFIR` and `LIMIT`, or paths of local files (`mteb_tasks.local_tasks`).
        instructions: For local tasks, by name.

    Raises:
        DataError: A name is unknown, or a path holds no task.
        MissingExtraError: mteb is not installed (extra `mteb`).
    """
    require("mteb", extra="mteb")
    found: dict[str, AbsTask] = {}
    for name in names:
        for task in _named(name, instructions or {}):
            found.setdefault(task.metadata.name, task)
    return list(found.values())


def run_task(task: "AbsTask", models: Mapping[str, MtebModel]) -> Iterator[TaskScore]:
    """Run one task on each model, by name of the method; its data are loaded once.

    Yields a score for each model; with a `problem` in place of a score where the data cannot be
    reached, or the model does not do such tasks.
    """
    unreachable = None
    if not task.is_aggregate:  # the parts of an aggregate are loaded one by one
        try:
            task.load_data()
        except OSError as exc:
            unreachable = _unreachable(exc)
    for method, model in models.items():
        foreign = isinstance(model, MtebRetriever) and not _ranks(task)
        no_rank = "it ranks documents, and this task has none" if foreign else None
        yield _scored(task, method, model, unreachable or no_rank)
    if task.data_loaded:
        task.unload_data()


def score_table(scores: Sequence[TaskScore]) -> "Table":
    """A line for each task, a column for each method; for a console of rich."""
    methods = list(dict.fromkeys(one.method for one in scores))
    lines: dict[str, list[str]] = {}
    for one in scores:
        line = lines.setdefault(one.task, [one.task, one.kind, one.measure])
        line.append("-" if one.score is None else f"{one.score:.4f}")
    return figures_table("", ["task", "type", "measure", *methods], lines.values())


def _scored(task: "AbsTask", method: str, model: MtebModel, problem: str | None) -> TaskScore:
    """One model on one task, unless there is a problem already."""
    mteb = require("mteb", extra="mteb")
    started = time.perf_counter()
    score, scores, truncated = None, {}, list[str]()
    model.instructions_read.clear()
    if isinstance(model, MtebRetriever):
        model.fallbacks.clear()
    if problem is None:
        try:
            with _truncation_remarked(truncated):
                [result] = mteb.evaluate(
                    model, task, cache=None, co2_tracker=False, show_progress_bar=False
                ).task_results
            score, scores = float(result.get_score()), result.to_dict()["scores"]
        except OSError as exc:  # Some tasks fetch more when they score.
            problem = _unreachable(exc)
    return TaskScore(
        task=task.metadata.name,
        kind=task.metadata.type,
        measure=task.metadata.main_score,
        method=method,
        score=score,
        seconds=round(time.perf_counter() - started, 2),
        problem=problem,
        scores=scores,
        instructions=len(model.instructions_read),
        remarks=() if score is None else (*_remarks(model), *truncated),
    )


def _unreachable(exc: OSError) -> str:
    return f"its data cannot be reached ({exc})"


@contextmanager
def _truncation_remarked(remarks: list[str]) -> Iterator[None]:
    """Remark once that texts were truncated; other warnings are passed on."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TruncationWarning)
        yield
    for one in caught:
        if not issubclass(one.category, TruncationWarning):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        elif not remarks:
            remarks.append("some texts are longer than the model reads; their ends did not count")


def _remarks(model: MtebModel) -> Iterator[str]:
    """Where the score of a model that reads instructions is that of one that does not."""
    if isinstance(model, MtebEncoder) and not model.instructed:
        return
    read = model.instructions_read
    if not read:
        yield (
            "there is no instruction for it, so none was read: the score says nothing about "
            "instructions"
        )
    elif isinstance(model, MtebRetriever) and (generic := read & set(model.fallbacks)):
        yield (
            f"{len(generic)} of {len(read)} instructions were ranked by the generic vectors, "
            f"{min(generic)!r} because {model.fallbacks[min(generic)]}"
        )


def _named(name: str, instructions: Mapping[str, str]) -> Sequence["AbsTask"]:
    mteb = require("mteb", extra="mteb")
    if Path(name).exists():
        # Its classes need mteb as soon as they are made.
        from instruct_embeddings.evaluation.mteb_tasks import local_tasks

        return local_tasks(Path(name), instructions)
    try:
        return [mteb.get_task(one) for one in GROUPS.get(name, (name,))]
    except KeyError as exc:
        no_task = exc.args[0]
    try:
        return list(mteb.get_benchmark(name).tasks)
    except KeyError as exc:
        raise DataError(
            f"{name!r} is no path; among mteb's tasks, {no_task} Among its benchmarks, "
            f"{exc.args[0]} Name a task such as 'Core17InstructionRetrieval', a benchmark such as "
            "'FollowIR', or a folder of JSONL files."
        ) from exc


def _ranks(task: "AbsTask") -> bool:
    """Whether a task has documents to rank; of a task made of several, all of them."""
    metadata: Any = task.metadata
    parts = metadata.tasks if task.is_aggregate else [task]
    kind = require("mteb.abstasks", extra="mteb").AbsTaskRetrieval
    return all(isinstance(part, kind) for part in parts)
