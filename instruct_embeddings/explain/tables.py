"""An explanation as tables for a reader."""

import json
from collections.abc import Iterator, Mapping
from io import StringIO
from typing import TYPE_CHECKING

from instruct_embeddings._printable import literal_console
from instruct_embeddings.config import normalise_instruction
from instruct_embeddings.explain.explanation import ComparedHit, ConstraintReading, Explanation
from instruct_embeddings.retrieval.instructions import compares_documents, kind_of
from instruct_embeddings.retrieval.ranking import RankedBy

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_WIDTH = 120
_MAX_CATEGORIES = 12
ANSWERED: Mapping[RankedBy, str] = {
    "fitted": "a fitted transform",
    "instant": "the instant query, without a fit",
    "generic": "the generic vectors: no instruction ranks",
    "mixed": "several",
}


def as_text(*parts: "RenderableType", width: int = _WIDTH) -> str:
    """What rich can show as plain text, `width` characters wide."""
    page = StringIO()
    # In a notebook rich would display the pieces instead of writing them.
    console = literal_console(file=page, width=width, color_system=None, force_jupyter=False)
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())


def tables(explanation: Explanation) -> "Iterator[RenderableType]":
    """The parts from top to bottom, for a console of rich."""
    asked, learned = explanation.instruction, explanation.learned
    same = learned is None or normalise_instruction(asked) == normalise_instruction(learned)
    by = "" if same else f', by the transform of "{learned}"'
    yield f'"{asked}"{by}'
    if explanation.report is None or explanation.ranked_by != "fitted":
        yield f"answered by {ANSWERED[explanation.ranked_by]}"
    if explanation.report is not None:
        yield f"{explanation.report}"
    for reading in explanation.constraints:
        yield from _constraint(reading, explanation.rows)
    yield ""
    if explanation.report is None:
        yield _hit_table(explanation)
    else:
        yield _category_table(explanation)
        yield ""
        yield _hit_table(explanation)
        yield f"\n{_agreement(explanation)}"


def _constraint(reading: ConstraintReading, rows: int) -> Iterator[str]:
    """What becomes of a constraint, and the filter that would answer it exactly."""
    yield f'{reading.constraint.kind} "{reading.constraint.phrase}": {_obeyed(reading.speaks)}'
    if found := reading.proposal:
        which = "named" if found.found_by == "words" else "closest in meaning"
        values = ", ".join(f'"{value}"' for value in found.values)
        yield (
            f'  metadata could answer it exactly: "{found.key}" has {values} ({which}). '
            "Not applied;"
        )
        yield f"  {found.passing:,} of {rows:,} sampled rows pass the filter"
        yield f"  {json.dumps(found.where, ensure_ascii=False)}"


def _obeyed(speaks: float | None) -> str:
    if speaks is None:
        return "not obeyed, since there is no instant query to read it"
    if speaks == 0:
        return "the results speak of nothing like it, so it changes nothing"
    share = "" if speaks >= 1 else f" to {speaks:.0%}, as the results hardly speak of it"
    return f"obeyed{share}"


def _category_table(explanation: Explanation) -> "Table":
    from rich.text import Text

    how = "by the label they are taken for" if explanation.labelled else "in clusters"
    table = _table(f"{explanation.rows:,} sampled rows {how}")
    table.add_column("category", max_width=30, no_wrap=True, overflow="ellipsis")
    table.add_column("rows", justify="right")
    table.add_column("share", justify="right")
    if explanation.labelled:  # clusters have their words as names
        table.add_column("distinctive words", max_width=30, no_wrap=True, overflow="ellipsis")
    table.add_column("most typical text", ratio=1, no_wrap=True, overflow="ellipsis")
    for one in explanation.categories[:_MAX_CATEGORIES]:
        words = [", ".join(one.words)] if explanation.labelled else []
        first = _one_line(one.texts[0] if one.texts else None)
        table.add_row(*map(Text, [one.name, f"{one.count:,}", f"{one.share:.0%}", *words, first]))
    if more := explanation.categories[_MAX_CATEGORIES:]:
        count = sum(one.count for one in more)
        rest = (f"{len(more)} more", f"{count:,}", f"{count / explanation.rows:.0%}")
        table.add_row(*map(Text, rest), style="dim")
    return table


def _hit_table(explanation: Explanation) -> "Table":
    from rich.text import Text

    guessed = explanation.query_category is not None
    guess = _guess(explanation.query_category, explanation.query_probability)
    what = "taken for" if explanation.labelled else "in cluster"
    table = _table(explanation.query + (f"\n{what}: {guess}" if guessed else ""))
    for head in ("rank", "was", "moved", "score", "was"):
        table.add_column(head, justify="right")
    if guessed:
        table.add_column(what, max_width=34, no_wrap=True, overflow="ellipsis")
    table.add_column("text", ratio=1, no_wrap=True, overflow="ellipsis")
    for hit in explanation.hits:
        kept = hit.adapted_rank is not None and hit.adapted_rank <= explanation.k
        if not kept and table.rows and not table.rows[-1].style:
            table.add_section()
        cells = (
            _rank(hit.adapted_rank, explanation.depth),
            _rank(hit.generic_rank, explanation.depth),
            _move(hit),
            "" if hit.adapted_score is None else f"{hit.adapted_score:.3f}",
            f"{hit.generic_score:.3f}",
            *([_guess(hit.category, hit.probability)] if guessed else []),
            _one_line(hit.text),
        )
        table.add_row(*map(Text, cells), style=None if kept else "dim")
    return table


def _agreement(explanation: Explanation) -> str:
    misled = compares_documents(explanation.guide or "")
    if not explanation.used and misled and kind_of(explanation.instruction) == "request":
        return (
            "The transform is not used: it compares texts, and the instruction asks for something. "
            "Both rankings are the generic one."
        )
    if not explanation.used:
        return (
            "The transform is not used, since its gain may be chance: both rankings are the "
            "generic one."
        )
    before, of = explanation.agreeing(adapted=False)
    after, now = explanation.agreeing(adapted=True)
    what = "Taken for" if explanation.labelled else "In cluster"
    return (
        f'{what} "{explanation.query_category}", like the query: {before} of the {of} generic '
        f"results, {after} of the {now} under the instruction."
    )


def _table(title: str) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    return Table(
        title=Text(title, style="bold"),
        title_justify="left",
        box=SIMPLE_HEAD,
        expand=True,
        show_edge=False,
    )


def _rank(rank: int | None, depth: int) -> str:
    return f">{depth}" if rank is None else str(rank)


def _move(hit: ComparedHit) -> str:
    """How far a result went up or down."""
    if hit.adapted_rank is None or hit.generic_rank is None:
        return "▲" if hit.generic_rank is None else "▼"
    steps = hit.generic_rank - hit.adapted_rank
    return f"{'▲' if steps > 0 else '▼'} {abs(steps)}" if steps else "="


def _guess(category: str | None, probability: float | None) -> str:
    return category or "" if probability is None else f"{category} {probability:.0%}"


def _one_line(text: str | None) -> str:
    return " ".join((text or "(no text)").split())
