"""The demo as a reader sees it."""

import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from instruct_embeddings.cli.comparison import one_line
from instruct_embeddings.cli.demo.guides import GuideName
from instruct_embeddings.cli.demo.measure import K
from instruct_embeddings.cli.demo.run import Demo, Obeyed, Search

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from instruct_embeddings.retrieval.ranking import Hit


_SIDES = ("generic", "instant", "fitted")
_QUESTIONS, _HITS = 3, 5
_TAUGHT = {
    GuideName.ENCODER: "the instruction-aware encoder, which reads a sample; no labels",
    GuideName.LABELS: "the labels in the metadata",
}
_WIDTH = 100


def screen(demo: Demo) -> "Iterator[RenderableType]":
    """The parts of the screen, from top to bottom, with an empty line behind each."""
    for part in _parts(demo):
        yield part
        yield ""
    yield _closing(demo)


def _parts(demo: Demo) -> "Iterator[RenderableType]":
    yield _opening(demo)
    if any(one.precision for one in demo.taught):
        yield _precision(demo)
    for one in demo.taught:
        if demo.guide is GuideName.LABELS or not one.transform.report.used:
            yield f'"{one.aspect.instruction}" {one.transform.report}'
    for search in demo.searches[:_QUESTIONS]:
        yield _search(search)
    if demo.constraints:
        yield _constraints(demo.constraints)
        first = demo.constraints[0]
        title = f"{first.asked.text}\n{first.asked.instruction}"
        judge, key = first.asked.satisfied, first.asked.named[0]
        yield _hits(title, first.hits, judge, lambda hit: str(hit.metadata.get(key, "-")))
    yield _times(demo)


def _opening(demo: Demo) -> str:
    rows = f"{len(demo.corpus.records):,} texts of {demo.corpus.source.name}"
    if demo.built.added:
        how = f"built now in {demo.built.seconds:.1f} s with {demo.model}"
    else:
        how = f"reused from an earlier run, nothing encoded (vectors of {demo.model})"
    return (
        f"{rows} in the Chroma collection {demo.corpus.name}\nin {demo.place}: {how}.\n"
        "generic: the stored vectors as they are. instant: the query moved by the instruction, at "
        "once.\n"
        "fitted: the same vectors through a transform, taught by\n"
        f"{_TAUGHT[demo.guide]}.\n"
        "✓ marks what is right by the labels, which stand there for the reader."
    )


def _precision(demo: Demo) -> "Table":
    seen = " (fitted has seen these labels)" if demo.guide is GuideName.LABELS else ""
    table = _table(
        f"Precision@{K}: {demo.asked} texts asked, right are those with the same label{seen}",
        "instruction",
        "label",
    )
    for side in _SIDES:
        table.add_column(side, justify="right")
    for one in demo.taught:
        if one.precision is not None:
            figures = [f"{one.precision[side]:.3f}" for side in _SIDES]
            table.add_row(one.aspect.instruction, one.aspect.key or "", *figures)
    return table


def _search(search: Search) -> "Table":
    aspect, question = search.aspect, search.question
    own = aspect.labels(question.metadata)
    asked = textwrap.shorten(question.text, _WIDTH, placeholder=" ...")
    label = f" ({', '.join(sorted(own))})" if own else ""
    return _hits(
        f"{asked}\n{aspect.instruction}{label}",
        search.hits,
        lambda metadata: bool(own & aspect.labels(metadata)),
        lambda hit: ", ".join(sorted(aspect.labels(hit.metadata))),
    )


def _hits(
    title: str,
    sides: "Mapping[str, Sequence[Hit]]",
    judge: Callable[[Mapping[str, object]], bool],
    label: "Callable[[Hit], str]",
) -> "Table":
    """The first hits next to each other: whether each is right, its label, and how it begins."""
    table = _table(title)
    for side in sides:
        table.add_column(side, no_wrap=True, overflow="ellipsis", ratio=1)
    shown = [hits[:_HITS] for hits in sides.values()]
    width = max((len(label(hit)) for hits in shown for hit in hits), default=0)
    for row in zip(*shown, strict=False):
        marks = ["✓" if judge(hit.metadata) else " " for hit in row]
        cells = zip(marks, row, strict=True)
        table.add_row(
            *(f"{mark} {label(hit):<{width}} {one_line(hit.text)}" for mark, hit in cells)
        )
    return table


def _constraints(constraints: Sequence[Obeyed]) -> "Table":
    table = _table(
        f"Constraints: of {K} hits, how many satisfy it, without and with it; and how many are on "
        "topic",
        "query",
        "instruction",
    )
    for head in ("satisfied", "on topic"):
        table.add_column(head, justify="right")
    for one in constraints:
        counts = [one.counts(one.asked.satisfied), one.counts(one.asked.on_topic)]
        shown = [f"{each['generic']} → {each['instant']}" for each in counts]
        table.add_row(one.asked.text, one.asked.instruction, *shown)
    return table


def _times(demo: Demo) -> str:
    times = {name: f"{seconds * 1000:.0f} ms" for name, seconds in demo.seconds.items()}
    reports = [one.transform.report.seconds for one in demo.taught]
    if all(one.reused for one in demo.taught):
        fits = f"Transforms were fitted by an earlier run, in {sum(reports):.1f} s then"
    else:
        fits = f"Fitting {len(reports)} transforms took {demo.seconds['fits']:.1f} s"
    return (
        f"Time of a first answer under a new instruction: {times['answer']} beside the "
        f"{times['embedding']} that embed the query\n(a generic search: {times['generic']}). "
        f"{fits};\nretrievers do that in the background. They are kept in {demo.place.store()}."
    )


def _closing(demo: Demo) -> "Text":
    from rich.text import Text

    name, aspect = _program(), demo.taught[0].aspect
    where = "--path FOLDER --collection NAME"
    text = (
        "The same on a collection of your own, in Python with LangChain:\n\n"
        "  retriever = InstructionTransformRetriever(vectorstore=your_chroma)\n"
        f'  retriever.invoke("your query", instruction="{aspect.instruction}")\n\n'
        "and on the command line:\n\n"
        f'  {name} adapt "{aspect.instruction}" {where}\n'
        f'  {name} query "your query" {where} --instruction "{aspect.instruction}"'
    )
    return Text(text)


def _table(title: str, *heads: str) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(
        *heads,
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
        width=_WIDTH,
    )


def _program() -> str:
    """How this user calls the command: by its name where it is on the path."""
    name = "instruct-embeddings"
    called = Path(sys.argv[0])
    if shutil.which(name) or called.name != name:
        return name
    here = Path.cwd()
    return str(called.relative_to(here)) if called.is_relative_to(here) else str(called)
