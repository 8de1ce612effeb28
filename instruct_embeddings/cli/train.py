"""`train`: an encoder from a config file or a shipped recipe."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from instruct_embeddings._extras import require
from instruct_embeddings._printable import plain_table
from instruct_embeddings.cli.options import JsonOption, command
from instruct_embeddings.cli.output import finish, note, progress
from instruct_embeddings.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from instruct_embeddings.training.config import TrainingConfig
    from instruct_embeddings.training.log import TrainEvent
    from instruct_embeddings.training.plan import Plan


@command
def train(
    config: Annotated[
        str | None, typer.Argument(help="A TOML file, or the name of a recipe (--list).")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Folder of the training files. By default that of the config file; for a recipe "
            "the current one.",
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder of the run.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, and what it would take.")
    ] = False,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="With --dry-run: take a few steps, keep nothing of them, and show examples per "
            "second and hours.",
        ),
    ] = False,
    measure_steps: Annotated[int, typer.Option(help="How many steps --measure takes.", min=1)] = 3,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the output folder.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad line.")] = False,
    steps: Annotated[int | None, typer.Option(help="Steps of the optimiser.", min=1)] = None,
    device: Annotated[
        str | None, typer.Option(help="A torch device; by default the best one.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a setting, such as loss.temperature=0.1; repeatable."),
    ] = None,
    list_recipes: Annotated[
        bool, typer.Option("--list", help="Show the recipes that come with the package.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train an encoder on your own examples.

    Each line of a training file is like {"text": "...", "instruction": "...", "answer": "..."}.
    """
    if list_recipes:
        _show_recipes(as_json=as_json)
        return
    if config is None:
        raise typer.BadParameter("name a config file or a recipe; --list shows the recipes.")
    if measure and not dry_run:
        raise typer.BadParameter("--measure belongs to --dry-run. Add it, or leave --measure out.")
    known: dict[str, Any] = {"run.output": output, "run.steps": steps, "run.device": device}
    named = [(key, value) for key, value in known.items() if value is not None]
    if strict:
        named.append(("data.strict", True))
    loaded = _load(config, data, [*_parsed(changes or []), *named])
    if dry_run:
        from instruct_embeddings.training.plan import plan_training

        if measure:
            note(f"Measuring {measure_steps:,} steps, after one to warm up")
        plan = plan_training(loaded, measure=measure_steps if measure else 0)
        finish(plan.to_dict(), *_screen(plan), as_json=as_json)
        return
    document = run_train(loaded, resume=resume)
    finish(document, _summary(document), as_json=as_json)


def run_train(config: "TrainingConfig", *, resume: bool) -> dict[str, Any]:
    """Train, with progress on stderr; what came of it, as plain data."""
    require("accelerate", extra="train")
    if config.backbone.train == "lora":
        require("peft")
    from instruct_embeddings.training.trainer import train as run

    done = 0
    with progress("Training", config.run.steps) as advance:

        def show(event: "TrainEvent") -> None:
            nonlocal done
            advance(event.step - done)
            done = event.step
            note(_event_line(event))

        result = run(config, resume=resume, on_event=show)
    return {
        "folder": str(result.folder),
        "steps": result.steps,
        "best": result.best,
        "stopped_early": result.stopped_early,
        "seconds": round(result.seconds, 3),
    }


def _load(name: str, data: Path | None, changes: list[tuple[str, Any]]) -> "TrainingConfig":
    from instruct_embeddings.training import load_config
    from instruct_embeddings.training.recipes import recipes

    file, shipped = Path(name), recipes()
    if file.is_file():
        return load_config(file, data=data, changes=changes)
    if name in shipped:
        # Beside a recipe lies the package, not the user's data.
        return load_config(shipped[name], data=data or Path(), changes=changes)
    raise ConfigError(
        f"{name!r} is neither a file nor a recipe; recipes are {list(shipped)}. "
        "Pass the path of a TOML file, or one of these names."
    )


def _parsed(changes: list[str]) -> list[tuple[str, Any]]:
    from instruct_embeddings.training.tables import parse_value

    found = []
    for change in changes:
        key, equals, value = (part.strip() for part in change.partition("="))
        if not key or not equals:
            raise ConfigError(
                f"--set {change!r} is no key=value. Write one such as loss.temperature=0.1."
            )
        found.append((key, parse_value(value)))
    return found


def _show_recipes(*, as_json: bool) -> None:
    from instruct_embeddings.training.recipes import recipes

    found = {
        name: file.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        for name, file in recipes().items()
    }
    widest = max(map(len, found))
    lines = (f"{name:{widest}}  {what}" for name, what in found.items())
    finish({"recipes": found}, *lines, as_json=as_json)


def _event_line(event: "TrainEvent") -> str:
    parts = ", ".join(f"{name} {value:.4f}" for name, value in event.parts.items())
    line = f"step {event.step:,} of {event.steps:,}: loss {event.loss:.4f}"
    line += f" ({parts}), {event.examples_per_second:.1f} examples/s"
    measured = ", ".join(f"{name} {value:.4f}" for name, value in (event.validation or {}).items())
    return f"{line}; held out: {measured}" if measured else line


def _summary(document: dict[str, Any]) -> str:
    best = "" if document["best"] is None else f", best held-out measure {document['best']:.4f}"
    early = ", stopped early" if document["stopped_early"] else ""
    return (
        f"{document['steps']:,} steps in {document['seconds']:.0f} s{early}{best}. "
        f"The checkpoint is in {document['folder']}"
    )


def _screen(plan: "Plan") -> list[Any]:
    counts, data = plan.parameters, plan.data
    sources = _table("source", "groups", "examples", "share of batches", "epochs")
    for source in data.sources:
        drawn = (f"{source.share:.1%}", f"{source.epochs:.2f}") if source.rows else ("held out", "")
        sources.add_row(source.name, f"{len(source.groups):,}", f"{source.rows:,}", *drawn)
    memory = _table("memory", "GB", "how")
    for line in plan.memory:
        memory.add_row(line.name, f"{line.bytes / 1e9:.2f}", line.how)
    memory.add_row("in all", f"{plan.memory_bytes / 1e9:.2f}", "")
    held_out = ", ".join(f"{name} ({rows:,})" for name, rows in data.held_out.items())
    return [
        f"{plan.base_model} (configuration: {plan.found}), embeddings of {plan.dimension:,} "
        "numbers",
        f"{counts.trained:,} parameters are trained: {counts.lora:,} of LoRA layers, "
        f"{counts.backbone:,} of the backbone, {counts.own:,} of soft prompts and pooler; "
        f"{counts.frozen:,} are frozen",
        f"{plan.steps:,} steps draw {plan.examples:,} examples{_speed(plan)}",
        f"{data.reading.read:,} rows read, {data.reading.skipped:,} bad lines skipped",
        *(f"skipped {problem}" for problem in data.reading.problems),
        sources,
        f"Held out: {held_out or 'nothing'}",
        memory,
        f"On disk in {plan.output}: checkpoint {plan.checkpoint_bytes / 1e6:,.1f} MB, state to "
        f"resume from {plan.state_bytes / 1e6:,.1f} MB",
    ]


def _speed(plan: "Plan") -> str:
    if plan.examples_per_second is None or plan.hours is None:
        return ""
    held_out = "; measuring what is held out comes on top" if plan.data.held_out else ""
    peak = f", with {plan.peak_bytes / 1e9:.2f} GB of GPU memory" if plan.peak_bytes else ""
    return (
        f": {plan.hours:.2f} hours at {plan.examples_per_second:.1f} examples a second, measured "
        f"on {plan.measured_steps:,} steps{peak}{held_out}"
    )


def _table(*heads: str) -> "Table":
    table = plain_table()
    for head in heads:
        words = head in ("source", "memory", "how")
        table.add_column(head, justify="left" if words else "right", overflow="fold")
    return table
