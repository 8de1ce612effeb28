"""What an instruction did to one query, as data."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from instruct_embeddings._printable import printed
from instruct_embeddings._types import FloatArray, IntArray
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.explain.proposals import FilterProposal
from instruct_embeddings.retrieval.constraints import Constraint
from instruct_embeddings.retrieval.ranking import RankedBy
from instruct_embeddings.transform.report import FitReport


@dataclass(frozen=True)
class Category:
    """Rows that a transform takes for the same under its instruction.

    Attributes:
        name: A label, or the most distinctive words of a cluster.
        count: Rows of the sample in it.
        share: Fraction of the sample in it, from 0 to 1.
        words: Its most distinctive words, at most five.
        texts: Its most typical texts, at most three.
    """

    name: str
    count: int
    share: float
    words: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class ComparedHit:
    """A result of the generic search, of the search under the instruction, or of both.

    Attributes:
        id: Identifier in the collection.
        text: Stored text, if any.
        generic_rank: Rank in the generic search, from 1; None beyond `depth`.
        adapted_rank: Rank under the instruction, likewise.
        generic_score: Cosine with the query.
        adapted_score: Score under the instruction; without a fit None beyond `depth`.
        category: The category it is taken for; None where nothing was fitted.
        probability: Probability of that category; None where categories are clusters.
    """

    id: str
    text: str | None
    generic_rank: int | None
    adapted_rank: int | None
    generic_score: float
    adapted_score: float | None
    category: str | None
    probability: float | None


@dataclass(frozen=True)
class ConstraintReading:
    """A constraint that an instruction states, and what becomes of it.

    Attributes:
        constraint: Its kind and what it names.
        speaks: How far the candidates speak of what it names, from 0 (not at all: the ranking is
            left alone) to 1 (fully obeyed); None without an instant query, which reads constraints.
        proposal: A filter on metadata that would answer it exactly; it is not applied.
    """

    constraint: Constraint
    speaks: float | None
    proposal: FilterProposal | None = None


@dataclass(frozen=True, eq=False)
class Cloud:
    """The vectors behind the map: the sample, the results that are not in it, and the query.

    Attributes:
        generic: Unit generic vectors of the rows, shape (n, d).
        adapted: The same rows as a search under the instruction compares them, shape (n, p).
        categories: Position of each row's category in `Explanation.categories`, -1 for one that no
            row of the sample has, shape (n,).
        query_generic: The query, shape (1, d).
        query_adapted: The query as that search compares it, shape (1, p).
        generic_results: Rows that are the generic results, shape (k,).
        adapted_results: Rows that are the results under the instruction, shape (k,).
    """

    generic: FloatArray
    adapted: FloatArray
    categories: IntArray
    query_generic: FloatArray
    query_adapted: FloatArray
    generic_results: IntArray
    adapted_results: IntArray


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
        stored: Rows in the collection.
        categories: The categories of the sample, largest first.
        query_category: The category that the query itself is taken for.
        query_probability: Probability of that category; None where categories are clusters.
        k: Results requested from each search.
        depth: Ranks looked at.
        hits: The results of both searches: those under the instruction, best first, then the
            generic ones that are no longer among them.
        cloud: Vectors for the map.
    """

    query: str
    instruction: str
    ranked_by: RankedBy
    collection: str
    rows: int
    stored: int
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

    def agreeing(self, *, adapted: bool) -> tuple[int, int]:
        """Results of one search that are of the query's category, and of how many."""
        ranks = [(hit.adapted_rank if adapted else hit.generic_rank, hit) for hit in self.hits]
        shown = [hit for rank, hit in ranks if rank is not None and rank <= self.k]
        return sum(hit.category == self.query_category for hit in shown), len(shown)

    def fitted_part(self) -> tuple[FitReport, Cloud]:
        """The report of the fit and the vectors of the map.

        Raises:
            ConfigError: No fitted transform answers.
        """
        if self.report is None or self.cloud is None:
            raise ConfigError(
                f"There is no map of {self.instruction!r}: no fitted transform answers it. A "
                "map shows the collection as a fitted transform sees it. Give the retriever a "
                "guide, such as EncoderGuide(), or run `instruct-embeddings adapt`."
            )
        return self.report, self.cloud

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
        from instruct_embeddings.explain.tables import as_text, tables

        return as_text(*tables(self))
