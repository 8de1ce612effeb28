"""What the page shows, as HTML. Texts of the collection are shown, never obeyed."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import chain

import numpy as np

from instruct_embeddings._printable import one_line, printable
from instruct_embeddings._types import FloatArray
from instruct_embeddings.cli.page.session import Side
from instruct_embeddings.explain import Explanation
from instruct_embeddings.explain.map import (
    by_true_labels,
    coloured_by,
    legend_entries,
    project,
    row_colours,
)
from instruct_embeddings.retrieval import Hit

_LONGEST = 600  # characters of a text
_SIZE, _MARGIN = 440, 12  # pixels of one panel of the map
_METADATA = 6  # keys that are shown of a row

CSS = """
.ie-sides { display: grid; grid-auto-flow: column; grid-auto-columns: minmax(0, 1fr); gap: 12px; }
.ie-sides h3 { margin: 0; font-size: 15px; } .ie-note { font-size: 12px; opacity: .75; }
.ie-sides ol { list-style: none; margin: 6px 0 0; padding: 0; }
.ie-sides li { border-top: 1px solid var(--border-color-primary); padding: 5px 0; font-size: 13px; }
.ie-move { display: inline-block; min-width: 3.2em; font-variant-numeric: tabular-nums; }
.ie-up { color: #1a7f37; } .ie-down { color: #b35900; } .ie-new { color: #0969da; }
.ie-score { float: right; opacity: .6; font-variant-numeric: tabular-nums; }
.ie-text { display: -webkit-box; -webkit-line-clamp: 3; -webkit-box-orient: vertical;
  overflow: hidden; overflow-wrap: anywhere; }
.ie-meta { font-size: 11px; opacity: .7; overflow-wrap: anywhere; }
.ie-error { border: 1px solid #cf222e; border-radius: 6px; padding: 10px; overflow-wrap: anywhere; }
.ie-report { overflow-x: auto; font-size: 12px; white-space: pre; }
#fitted .ie-report { white-space: pre-wrap; }
.ie-maps { display: grid; grid-template-columns: 1fr 1fr; gap: 12px; }
.ie-maps svg { background: #fbfbfc; width: 100%; }
.ie-key { display: inline-block; margin-right: 14px; font-size: 12px; }
.ie-key i { display: inline-block; width: 10px; height: 10px; border-radius: 5px; }
.ie-read { min-height: 3.2em; font-size: 13px; padding: 6px 0; overflow-wrap: anywhere; }
"""
# The text of the point under the pointer is written below the map, as text.
READ_POINT = """
element.addEventListener('mouseover', event => {
  const text = event.target.getAttribute && event.target.getAttribute('data-text');
  const read = element.querySelector('.ie-read');
  if (text !== null && read) read.textContent = text;
});
"""


def shown(text: object, longest: int = _LONGEST) -> str:
    """A text from elsewhere, escaped, without control characters."""
    line = printable(one_line(str(text)))
    return escape(line if len(line) <= longest else f"{line[:longest]} …")


def error_html(message: str) -> str:
    """What went wrong."""
    return f'<div class="ie-error" role="alert">{escape(printable(message))}</div>'


def rankings_html(sides: Sequence[Side], k: int) -> str:
    """The rankings side by side; from the second on, how far each result moved."""
    before = {hit.id: rank for rank, hit in enumerate(sides[0].hits, start=1)}
    columns = "".join(_side(side, k, before, first=side is sides[0]) for side in sides)
    return f'<div class="ie-sides">{columns}</div>'


def _side(side: Side, k: int, before: Mapping[str, int], *, first: bool) -> str:
    rows = "".join(
        _hit(hit, rank, None if first else _move(before.get(hit.id), rank))
        for rank, hit in enumerate(side.hits[:k], start=1)
    )
    nothing = "" if rows or not first else '<p class="ie-note">Nothing passes the filter.</p>'
    head = f'<h3>{shown(side.name)}</h3><div class="ie-note">{shown(side.note)}</div>'
    name = shown(side.name)
    return f'<section data-side="{name}">{head}{nothing}<ol>{rows}</ol></section>'


def _hit(hit: Hit, rank: int, move: str | None) -> str:
    pairs = list(hit.metadata.items())[:_METADATA]
    metadata = " · ".join(f"{shown(key, 40)}: {shown(value, 60)}" for key, value in pairs)
    judged = "" if hit.judge_score is None else f" judge {hit.judge_score:.2f}"
    return (
        f'<li data-id="{shown(hit.id)}"><span class="ie-score">{hit.score:.3f}{judged}</span>'
        f"<b>{rank}</b> {move or ''}"
        f'<div class="ie-text" title="{shown(hit.text)}">{shown(hit.text)}</div>'
        f'<div class="ie-meta">{shown(hit.id, 60)}{" · " * bool(metadata)}{metadata}</div></li>'
    )


def _move(before: int | None, rank: int) -> str:
    """Where a result was in the first ranking."""
    if before is None:
        return '<span class="ie-move ie-new">new</span>'
    steps = before - rank
    kind, sign = ("up", "▲") if steps > 0 else ("down", "▼")
    text = f"{sign} {abs(steps)}" if steps else "="
    return f'<span class="ie-move {f"ie-{kind}" if steps else ""}">{text}</span>'


def report_html(texts: Sequence[str]) -> str:
    """Reports in words."""
    parts = (f'<pre class="ie-report">{escape(printable(text))}</pre>' for text in texts)
    return "<hr>".join(parts)


def map_html(explanation: Explanation) -> str:
    """The sample as it is stored and under the instruction; the text of a point is read below."""
    explanation = by_true_labels(explanation)
    cloud, report = explanation.cloud, explanation.report
    if cloud is None or report is None:
        return (
            f'<p class="ie-note">There is no map of “{shown(explanation.instruction)}”: the '
            "instant query moves the query alone. Press “Fit” for one.</p>"
        )
    colours = row_colours(explanation)
    views = (
        ("As stored", cloud.generic, cloud.query_generic, cloud.generic_results),
        ("Under the instruction", cloud.adapted, cloud.query_adapted, cloud.adapted_results),
    )
    figures = (report.generic, report.adapted)
    panels = ""
    for (title, rows, query, results), figure in zip(views, figures, strict=True):
        points = project(np.concatenate([rows, query]))
        said = f"{title} ({report.measure} {figure:.2f})"
        panels += _panel(said, points, colours, cloud.texts, results.tolist())
    keys = "".join(
        f'<span class="ie-key"><i style="background:{colour}"></i> {shown(name)}</span>'
        for name, colour in zip(*legend_entries(explanation), strict=True)
    )
    return (
        f'<div class="ie-maps">{panels}</div><div class="ie-read">Point at a row to read it.</div>'
        f'<div class="ie-note">{explanation.rows:,} rows under “{shown(explanation.instruction)}”, '
        f"coloured by {shown(coloured_by(explanation))}; ★ query, ○ its results</div>{keys}"
    )


def _panel(
    title: str,
    points: FloatArray,
    colours: Sequence[str],
    texts: Sequence[str | None],
    results: Sequence[int],
) -> str:
    """One view as SVG; the last point is the query."""
    half = _SIZE / 2 - _MARGIN
    places = np.round(points * [half, -half] + _SIZE / 2, 1).tolist()
    *rows, (x, y) = places
    dots = (
        f'<circle cx="{place[0]}" cy="{place[1]}" r="4" fill="{colour}" stroke="white" '
        f'stroke-width=".5" data-text="{shown(text)}"/>'
        for place, colour, text in zip(rows, colours, texts, strict=True)
    )
    rings = (
        f'<circle cx="{rows[row][0]}" cy="{rows[row][1]}" r="6.5" fill="none" stroke="#1f2328" '
        'stroke-width="1.6" pointer-events="none"/>'
        for row in results
    )
    star = (
        f'<text x="{x}" y="{y}" font-size="26" text-anchor="middle" dominant-baseline="central" '
        'fill="#1f2328" pointer-events="none">★</text>'
    )
    return (
        f'<figure style="margin:0"><figcaption class="ie-note">{shown(title)}</figcaption>'
        f'<svg viewBox="0 0 {_SIZE} {_SIZE}" role="img">'
        f"{''.join(chain(dots, rings))}{star}</svg></figure>"
    )
