"""What became of each row, and what it cost."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from instruct_embeddings._printable import printed
from instruct_embeddings.guides.asking import Cost

_SHOWN = 12


@dataclass(frozen=True)
class LabellingReport:
    """Counts of one labelling; the five kinds of rows add up to `rows`.

    Attributes:
        rows: Rows in the sample.
        labelled: Rows that have a category.
        none: Rows to which no category applies.
        refused: Rows that the model refused to judge.
        unparsable: Rows whose replies could not be read, the repair round included.
        unread: Rows without a text, and rows beyond the guide's own sample.
        calls: Calls made for this instruction since the guide was made, failed ones included.
        cached: Questions that were answered from the cache instead.
        cost: What was sent and received for it; tokens are estimates.
        categories: Labelled rows for each category, most frequent first; 0 for unused ones.
    """

    rows: int
    labelled: int
    none: int
    refused: int
    unparsable: int
    unread: int
    calls: int
    cached: int
    cost: Cost
    categories: Mapping[str, int] = field(default_factory=dict)

    @printed
    def __str__(self) -> str:
        """A few readable lines."""
        shown = [f"{name} {count}" for name, count in list(self.categories.items())[:_SHOWN]]
        more = len(self.categories) - len(shown)
        return "\n".join(
            [
                f"{self.labelled} of {self.rows} rows labelled; none of the categories "
                f"{self.none}, refused {self.refused}, unparsable {self.unparsable}, "
                f"not read {self.unread}",
                f"categories: {', '.join(shown)}" + (f", and {more} more" if more > 0 else ""),
                f"cost: {self.cost}; {self.cached} questions answered from the cache",
            ]
        )
