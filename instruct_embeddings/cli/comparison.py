"""One query twice: generic and adapted hits, side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from instruct_embeddings.retrieval.ranking import Hit


_WIDEST_SHORT = 24


@dataclass(frozen=True)
class Comparison:
    """Answers to one query.

    Attributes:
        query: The text asked.
        instruction: Under what it was adapted, or None.
        generic: Hits of the plain search.
        adapted: Hits under the instruction; empty without one.
    """

    query: str
    instruction: str | None
    generic: Sequence["Hit"]
    adapted: Sequence["Hit"]

    def answered(self) -> list[str]:
        """A line that says what ranked under the instruction; none where nothing did."""
        from instruct_embeddings.explain.tables import ANSWERED

        return [f"Answered by {ANSWERED[self.adapted[0].ranked_by]}."] if self.adapted else []

    def to_dict(self) -> dict[str, Any]:
        """Plain data; `adapted` is None without an instruction."""
        return {
            "query": self.query,
            "instruction": self.instruction,
            "ranked_by": self.adapted[0].ranked_by if self.adapted else None,
            "generic": [hit_dict(hit) for hit in self.generic],
            "adapted": [hit_dict(h) for h in self.adapted] if self.instruction else None,
        }

    def table(self, title: str, cell: Callable[["Hit"], tuple[str, ...]], *heads: str) -> "Table":
        """A table with the two lists next to each other.

        Args:
            title: Title above the table.
            cell: What to show of a hit beside its score, one text for each head.
            heads: Headers of these texts.
        """
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        sides = [("generic", self.generic)]
        if self.instruction is not None:
            sides.append(("adapted", self.adapted))
        table = Table(
            title=title,
            title_justify="left",
            title_style="bold",
            box=SIMPLE_HEAD,
            expand=True,
            show_edge=False,
        )
        for name, _ in sides:
            table.add_column(name, justify="right", width=7)
            for head in heads:
                last = head == heads[-1]  # takes what is left of the line
                table.add_column(
                    head,
                    no_wrap=True,
                    overflow="ellipsis",
                    ratio=1 if last else None,
                    max_width=None if last else _WIDEST_SHORT,
                )
        for rank in range(max(len(hits) for _, hits in sides)):
            row: list[str] = []
            for _, hits in sides:
                if rank < len(hits):
                    row += [f"{hits[rank].score:.3f}", *cell(hits[rank])]
                else:
                    row += [""] * (1 + len(heads))
            table.add_row(*row)
        return table


def hit_dict(hit: "Hit") -> dict[str, Any]:
    """A hit as plain data."""
    return {
        "id": hit.id,
        "score": round(float(hit.score), 6),
        "text": hit.text,
        "metadata": dict(hit.metadata),
        "adapted": hit.adapted,
    }


def one_line(text: str | None) -> str:
    """A text without its line breaks."""
    return " ".join((text or "(no text)").split())
