"""What an instruction did to one query, as data and as tables."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instruct_embeddings._printable import as_text, one_line, plain_table, printed
from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.config import normalise_instruction
from instruct_embeddings.explain.proposals import FilterProposal
from instruct_embeddings.retrieval.constraints import Constraint
from instruct_embeddings.retrieval.instructions import misleads
from instruct_embeddings.retrieval.ranking import RankedBy
from instruct_embeddings.transform.report import FitReport

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


@dataclass(frozen=True)
class Category:
    """Rows of the sample that a transform takes for the same under its instruction."""

    name: str  # a label, or the most distinctive words of a cluster
    count: int
    share: float  # of the sample
    words: tuple[str, ...]  # the most distinctive, at most five
    texts: tuple[str, ...]  # the most typical, at most three


@dataclass(frozen=True)
class ComparedHit:
    """A result of the generic search, of the search under the instruction, or of both."""

    id: str
    text: str | None
    generic_rank: int | None  # from 1; None beyond `depth`
    adapted_rank: int | None
    generic_score: float  # cosine with the query
    adapted_score: float | None  # without a fit None beyond `depth`
    category: str | None  # None where nothing was fitted
    probability: float | None  # of that category; None where categories are clusters
    label: str | None = None  # the true one, where `label_key` names labels
    against: str | None = None  # what it is, where it rose although that contradicts


@dataclass(frozen=True)
class ConstraintReading:
    """A constraint that an instruction states, and what becomes of it.

    `speaks` is how far the candidates speak of what it names, from 0 (not at all: the ranking is
    left alone) to 1 (fully obeyed); None without an instant query, which reads constraints. The
    proposal is a filter that would answer it exactly; it is not applied.
    """

    constraint: Constraint
    speaks: float | None
    proposal: FilterProposal | None = None


@dataclass(frozen=True)
class JudgedHit:
    """A result before the judge, after it, or of both."""

    id: str
    text: str | None
    before: int | None  # rank from 1; None: not among the results
    after: int | None
    score: float | None  # what the judge said, in [0, 1]; None where it has not read the row


@dataclass(frozen=True)
class JudgeReading:
    """What a judge changed in the results under the instruction.

    `hits` are the results after it, best first, then those that went out. `problem` says why it
    changed nothing; `skipped` that it is no longer asked, as what was learned from it answers.
    """

    judge: str
    hits: tuple[JudgedHit, ...]
    problem: str | None = None
    skipped: bool = False


@dataclass(frozen=True, eq=False)
class Cloud:
    """The vectors behind the map: the sample, the results that are not in it, and the query."""

    generic: FloatArray  # unit vectors of the rows, shape (n, d)
    adapted: FloatArray  # the rows as a search under the instruction compares them, shape (n, p)
    categories: IntArray  # positions in `Explanation.categories`, -1 for no category, shape (n,)
    query_generic: FloatArray  # shape (1, d)
    query_adapted: FloatArray  # shape (1, p)
    generic_results: IntArray  # rows that are the results, shape (k,)
    adapted_results: IntArray
    texts: tuple[str | None, ...] = ()  # of the rows
    labels: tuple[str | None, ...] = ()  # true ones of the rows; empty where none are known


@dataclass(frozen=True)
class Explanation:
    """What an instruction did to one query. `print` shows it as tables, `draw` as a picture.

    Attributes:
        query: The query's text.
        instruction: The instruction.
        ranked_by: What answers: a fitted transform, the instant query, or the generic vectors.
        collection: Name of the collection.
        constraints: The constraints that the instruction states.
        learned: The instruction that the transform was fitted for; another one where it is reused.
            This and what follows about a transform, categories and map is there where one was
            fitted, else None or empty.
        guide: Key of the guide that taught the transform.
        report: Quality of the transform on held-out rows.
        used: Whether searches use the transform; where its gain may be chance they keep the
            generic ranking.
        labelled: Whether categories are labels; else they are clusters named by words.
        rows: Rows in the sample.
        stored: Rows in the collection; None where that is not known.
        categories: The categories of the sample, largest first.
        query_category: The category that the query itself is taken for.
        query_probability: Probability of that category; None where categories are clusters.
        k: Results requested from each search.
        depth: Ranks looked at.
        hits: The results of both searches: those under the instruction, best first, then the
            generic ones that are no longer among them.
        cloud: Vectors for the map.
        judged: What the judge changed, where the retriever has one.
        label_key: Metadata key of true labels; None where none is known. `draw` colours by them.
    """

    query: str
    instruction: str
    ranked_by: RankedBy
    collection: str
    rows: int
    stored: int | None
    k: int
    depth: int
    hits: tuple[ComparedHit, ...]
    constraints: tuple[ConstraintReading, ...] = ()
    learned: str | None = None
    guide: str | None = None
    report: FitReport | None = None
    used: bool = False
    labelled: bool = False
    categories: tuple[Category, ...] = ()
    query_category: str | None = None
    query_probability: float | None = None
    cloud: Cloud | None = field(default=None, repr=False, compare=False)
    judged: JudgeReading | None = None
    label_key: str | None = None

    def results(self, *, adapted: bool) -> list[ComparedHit]:
        """The first `k` hits of one search, best first."""
        ranks = [(hit.adapted_rank if adapted else hit.generic_rank, hit) for hit in self.hits]
        shown = [(rank, hit) for rank, hit in ranks if rank is not None and rank <= self.k]
        return [hit for _, hit in sorted(shown, key=lambda pair: pair[0])]

    def agreeing(self, *, adapted: bool) -> tuple[int, int]:
        """Results of one search that are of the query's category, and of how many."""
        shown = self.results(adapted=adapted)
        return sum(hit.category == self.query_category for hit in shown), len(shown)

    @property
    def why_unused(self) -> str:
        """What keeps searches from using the transform; empty where nothing does."""
        if self.used or self.guide is None:
            return ""
        if misleads(self.guide, self.instruction):
            return "it compares texts, and the instruction asks for something"
        return "its gain may be chance"

    @property
    def unchanged(self) -> bool:
        """Whether both searches give the same results in the same order."""
        return self.results(adapted=False) == self.results(adapted=True)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without the vectors."""
        data = asdict(replace(self, report=None, cloud=None))
        del data["cloud"]
        return data | {"report": self.report and self.report.to_dict()}

    def draw(self, file: str | Path) -> Path:
        """Draw the map: the sample as it is stored, and under the instruction.

        Args:
            file: Where to save it: a name that ends in .png, .svg or .pdf.

        Returns:
            The file.

        Raises:
            MissingExtraError: matplotlib or scikit-learn is not installed (extra `eval`).
            ConfigError: The name ends in something else, or no fitted transform answers.
        """
        from instruct_embeddings.explain.figures import save_figure
        from instruct_embeddings.explain.map import check_map_file, picture

        check_map_file(Path(file))
        return save_figure(picture(self), Path(file))

    @printed
    def __str__(self) -> str:
        """Tables for a reader."""
        return as_text(*tables(self))


_MAX_CATEGORIES = 12
ANSWERED: Mapping[RankedBy, str] = {
    "fitted": "a fitted transform",
    "instant": "the instant query, without a fit",
    "generic": "the generic vectors: no instruction ranks",
    "learned": "what was learned from a judge or from examples",
    "mixed": "several",
}


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
    if explanation.report is not None:
        yield _category_table(explanation)
        yield ""
    yield _hit_table(explanation)
    if explanation.unchanged:
        yield "\nThe instruction changed nothing: the same results in the same order."
    if against := [hit.against for hit in explanation.hits if hit.against]:
        yield f"\n! rose against the instruction, as it is {', '.join(dict.fromkeys(against))}"
    if explanation.report is not None:
        yield f"\n{_agreement(explanation)}"
    if explanation.judged is not None:
        yield from _judged(explanation.judged)


def _constraint(reading: ConstraintReading, rows: int) -> Iterator[str]:
    """What becomes of a constraint, and the filter that would answer it exactly."""
    yield f'{reading.constraint.kind} "{reading.constraint.phrase}": {_obeyed(reading.speaks)}'
    if found := reading.proposal:
        which = "named" if found.found_by == "words" else "closest in meaning"
        has = f'"{found.key}" has ' + ", ".join(f'"{value}"' for value in found.values)
        yield f"  metadata could answer it exactly: {has} ({which}). Not applied;"
        yield f"  {found.passing:,} of {rows:,} sampled rows pass the filter"
        yield f"  {json.dumps(found.where, ensure_ascii=False)}"


def _obeyed(speaks: float | None) -> str:
    if speaks is None:
        return "not obeyed, since there is no instant query to read it"
    if speaks == 0:
        return "the results speak of nothing like it, so it changes nothing"
    share = "" if speaks >= 1 else f" to {speaks:.0%}, as the results hardly speak of it"
    return f"obeyed{share}"


def _judged(reading: JudgeReading) -> "Iterator[RenderableType]":
    """What came in, went out and moved by the judge, with its scores."""
    from rich.text import Text

    yield ""
    if reading.skipped or reading.problem is not None:
        why = (
            "was not asked: what was learned from it answers"
            if reading.skipped
            else f"changed nothing: {reading.problem}"
        )
        yield f"The judge {reading.judge} {why}."
        return
    came = sum(hit.before is None for hit in reading.hits)
    left = sum(hit.after is None for hit in reading.hits)
    table = plain_table(
        title=f"by the judge {reading.judge}: {came} came in, {left} went out", expand=True
    )
    for head in ("rank", "was", "judge"):
        table.add_column(head, justify="right")
    table.add_column("text", ratio=1, no_wrap=True, overflow="ellipsis")
    for hit in reading.hits:
        cells = (
            "out" if hit.after is None else str(hit.after),
            "new" if hit.before is None else str(hit.before),
            "" if hit.score is None else f"{hit.score:.2f}",
            one_line(hit.text),
        )
        table.add_row(*map(Text, cells), style="dim" if hit.after is None else None)
    yield table


def _category_table(explanation: Explanation) -> "Table":
    how = "by the label they are taken for" if explanation.labelled else "in clusters"
    table = plain_table(title=f"{explanation.rows:,} sampled rows {how}", expand=True)
    table.add_column("category", max_width=30, no_wrap=True, overflow="ellipsis")
    table.add_column("rows", justify="right")
    table.add_column("share", justify="right")
    if explanation.labelled:  # clusters have their words as names
        table.add_column("distinctive words", max_width=30, no_wrap=True, overflow="ellipsis")
    table.add_column("most typical text", ratio=1, no_wrap=True, overflow="ellipsis")
    for one in explanation.categories[:_MAX_CATEGORIES]:
        words = [", ".join(one.words)] if explanation.labelled else []
        first = one_line(one.texts[0] if one.texts else None)
        table.add_row(one.name, f"{one.count:,}", f"{one.share:.0%}", *words, first)
    if more := explanation.categories[_MAX_CATEGORIES:]:
        count = sum(one.count for one in more)
        share = f"{count / explanation.rows:.0%}"
        table.add_row(f"{len(more)} more", f"{count:,}", share, style="dim")
    return table


def _hit_table(explanation: Explanation) -> "Table":
    guessed = explanation.query_category is not None
    guess = _guess(explanation.query_category, explanation.query_probability)
    what = "taken for" if explanation.labelled else "in cluster"
    table = plain_table(
        title=explanation.query + (f"\n{what}: {guess}" if guessed else ""), expand=True
    )
    for head in ("rank", "was", "moved", "score", "was"):
        table.add_column(head, justify="right")
    if guessed:
        table.add_column(what, max_width=34, no_wrap=True, overflow="ellipsis")
    if explanation.label_key:
        table.add_column(explanation.label_key, max_width=24, no_wrap=True, overflow="ellipsis")
    table.add_column("text", ratio=1, no_wrap=True, overflow="ellipsis")
    for hit in explanation.hits:
        kept = hit.adapted_rank is not None and hit.adapted_rank <= explanation.k
        if not kept and table.rows and not table.rows[-1].style:
            table.add_section()
        table.add_row(
            _rank(hit.adapted_rank, explanation.depth),
            _rank(hit.generic_rank, explanation.depth),
            _move(hit),
            "" if hit.adapted_score is None else f"{hit.adapted_score:.3f}",
            f"{hit.generic_score:.3f}",
            *([_guess(hit.category, hit.probability)] if guessed else []),
            *([hit.label or ""] if explanation.label_key else []),
            one_line(hit.text),
            style=None if kept else "dim",
        )
    return table


def _agreement(explanation: Explanation) -> str:
    if why := explanation.why_unused:
        same = "; both rankings are the generic one" * (explanation.ranked_by == "generic")
        return f"The transform is not used, since {why}{same}."
    before, of = explanation.agreeing(adapted=False)
    after, now = explanation.agreeing(adapted=True)
    what = "Taken for" if explanation.labelled else "In cluster"
    return (
        f'{what} "{explanation.query_category}", like the query: {before} of the {of} generic '
        f"results, {after} of the {now} under the instruction."
    )


def _rank(rank: int | None, depth: int) -> str:
    return f">{depth}" if rank is None else str(rank)


def _move(hit: ComparedHit) -> str:
    """How far a result went up or down."""
    if hit.adapted_rank is None or hit.generic_rank is None:
        return f"▲{' !' * bool(hit.against)}" if hit.generic_rank is None else "▼"
    steps = hit.generic_rank - hit.adapted_rank
    return f"{'▲' if steps > 0 else '▼'} {abs(steps)}{' !' * bool(hit.against)}" if steps else "="


def _guess(category: str | None, probability: float | None) -> str:
    return category or "" if probability is None else f"{category} {probability:.0%}"
