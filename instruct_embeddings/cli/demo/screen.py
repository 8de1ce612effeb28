"""The demo as a reader sees it."""

import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from instruct_embeddings.cli.comparison import one_line
from instruct_embeddings.cli.demo.guides import GuideName
from instruct_embeddings.cli.demo.run import Asked, Demo, K, Search

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from instruct_embeddings.retrieval.hits import Hit


_SHOWN = 3
_TAUGHT = {
    GuideName.ENCODER: "Taught by the instruction-aware encoder: it reads a sample under each "
    "instruction, no labels.",
    GuideName.LABELS: "Taught by the labels in the metadata.",
}
_WIDTH = 115


def screen(demo: Demo) -> "Iterator[RenderableType]":
    """The parts of the screen, from top to bottom."""
    from rich.rule import Rule

    from instruct_embeddings.retrieval.explain_table import tables

    yield _opening(demo)
    for asked in demo.asked:
        yield ""
        yield Rule(f'"{asked.aspect.instruction}"', align="left")
        yield f"\n{asked.transform.report}"
        yield f"{_fitted(asked)}\n"
        for search in asked.searches[:_SHOWN]:
            yield _search_table(asked, search)
            yield ""
        if len(asked.searches) > _SHOWN:
            yield f"{len(asked.searches) - _SHOWN} more queries are counted below.\n"
    yield Rule("Why: the first query explained", align="left")
    yield ""
    yield from tables(demo.explanation)
    if demo.picture is not None:
        yield f"\nThe map of the texts, stored and under the instruction: {demo.picture}\n"
    yield Rule("In short", align="left")
    yield ""
    yield _summary(demo)
    yield f"\n{_facts(demo)}\n"
    yield _closing(demo)


def _opening(demo: Demo) -> str:
    rows = f"{len(demo.corpus.records):,} texts of {demo.corpus.source.name}"
    if demo.built.added:
        how = f"built now in {demo.built.seconds:.1f} s with {demo.model}"
    else:
        how = f"reused from an earlier run, nothing encoded (vectors of {demo.model})"
    return (
        f"{rows} in the Chroma collection {demo.corpus.name} in {demo.place}: {how}.\n"
        f"{_TAUGHT[demo.guide]}\n"
        "Each query below is asked twice: generic (the vectors as they are) and adapted (the same "
        "vectors under an instruction).\n✓ marks hits that share the label of the query."
    )


def _fitted(asked: Asked) -> str:
    seconds = asked.transform.report.seconds
    if asked.reused:
        return f"Transform reused from an earlier run (fitting took {seconds:.2f} s then)."
    return f"Fitted now in {seconds:.2f} s; no stored vector was touched."


def _search_table(asked: Asked, search: Search) -> "Table":
    own = "|".join(sorted(asked.aspect.labels(search.question.metadata)))

    def cell(hit: "Hit") -> tuple[str, ...]:
        mark = "✓" if asked.matches(hit.metadata, search.question) else " "
        labels = "|".join(sorted(asked.aspect.labels(hit.metadata)))
        return f"{mark} {labels or '-'}", one_line(hit.text)

    shown = textwrap.shorten(search.question.text, _WIDTH, placeholder=" ...")
    title = f"{shown}\n{asked.aspect.key} of the query: {own or '-'}" if asked.aspect.key else shown
    return search.comparison.table(title, cell, asked.aspect.key or "", "text")


def _summary(demo: Demo) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_edge=False)
    table.add_column("instruction")
    for head in (
        "✓ generic",
        "✓ adapted",
        "held-out precision@k",
        "fit",
        "query generic",
        "adapted",
    ):
        table.add_column(head, justify="right")
    for asked in demo.asked:
        shares = {
            side: f"{hits} of {of}" if of else "-" for side, (hits, of) in asked.matching().items()
        }
        report = asked.transform.report
        table.add_row(
            asked.aspect.instruction,
            shares["generic"],
            shares["adapted"],
            f"{report.generic:.2f} → {report.adapted:.2f}",
            f"{report.seconds:.2f} s{' (earlier)' if asked.reused else ''}",
            f"{asked.seconds['generic'] * 1000:.1f} ms",
            f"{asked.seconds['adapted'] * 1000:.1f} ms",
        )
    return table


def _facts(demo: Demo) -> str:
    cost, asked = demo.reencoding, demo.asked
    searches = [one for each in asked for one in each.searches]
    same = sum(one.same_ids for one in searches)
    encode = asked[0].seconds["encode"] * 1000
    return (
        f"✓ counts hits with a label, in the top {K} of {len(asked[0].searches)} queries"
        f"{'' if demo.corpus.written else ' (texts held out of the collection)'}.\n"
        f"The hits are LangChain's; LlamaIndex was asked the same {len(searches)} times, generic "
        f"and adapted, and gave the same ids in {same} of {len(searches)}.\n"
        f"Query times are medians of one search; encoding the query text takes "
        f"{encode:.1f} ms more, either way.\n"
        f"Re-encoding the {cost['texts']:,} texts for one instruction would take about "
        f"{cost['scaled_seconds']:,.1f} s (measured on {cost['measured_texts']}: "
        f"{cost['measured_seconds']:.2f} s, scaled). It grows with the collection; fitting does "
        "not.\n"
        f"Transforms are kept in {demo.place.store()}."
    )


def _closing(demo: Demo) -> "Text":
    from rich.text import Text

    name, aspect = _program(), demo.asked[0].aspect
    where = "--path FOLDER --collection NAME"
    text = (
        "The same on a collection of your own, in Python with LangChain:\n\n"
        "  retriever = InstructionTransformRetriever(vectorstore=your_chroma, "
        "guide=EncoderGuide())\n"
        f'  retriever.invoke("your query", instruction="{aspect.instruction}")\n\n'
        "and on the command line:\n\n"
        f'  {name} adapt "{aspect.instruction}" {where}\n'
        f'  {name} query "your query" {where} --instruction "{aspect.instruction}"'
    )
    return Text(text)


def _program() -> str:
    """How this user calls the command: by its name where it is on the path."""
    name = "instruct-embeddings"
    called = Path(sys.argv[0])
    if shutil.which(name) or called.name != name:
        return name
    here = Path.cwd()
    return str(called.relative_to(here)) if called.is_relative_to(here) else str(called)
