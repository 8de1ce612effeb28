"""Labels given by hand for some rows."""

from collections.abc import Mapping, Sequence
from hashlib import sha256

from instruct_embeddings.errors import GuideError
from instruct_embeddings.protocols import Rows
from instruct_embeddings.supervision import Labels


class LabelGuide:
    """Takes labels from a mapping of row ids; only these rows are sampled.

    Instantiate:
        ```python
        guide = LabelGuide({"ticket-17": "lost data", "ticket-3": ["bug", "slow performance"]})
        ```
    """

    def __init__(self, labels: Mapping[str, str | Sequence[str]]) -> None:
        """Keep a copy of the labels.

        Args:
            labels: One label, or several, for each id.

        Raises:
            GuideError: The mapping is empty.
        """
        if not labels:
            raise GuideError("LabelGuide got no labels. Pass {id: label} for some rows.")
        self._labels = {
            row: frozenset([value] if isinstance(value, str) else value)
            for row, value in labels.items()
        }

    def __repr__(self) -> str:
        """The number of rows; labels themselves may be private."""
        return f"LabelGuide(<{len(self._labels)} rows>)"

    @property
    def key(self) -> str:
        """`labels:<digest>`: other labels are another guide."""
        text = "\x1e".join(
            "\x1f".join([row, *sorted(names)]) for row, names in sorted(self._labels.items())
        )
        return f"labels:{sha256(text.encode()).hexdigest()[:16]}"

    def ids(self) -> Sequence[str]:
        """The rows that have labels, sorted."""
        return sorted(self._labels)

    def judge(self, instruction: str, sample: Rows) -> Labels:
        """Look up each row.

        Raises:
            GuideError: No sampled row has a label.
        """
        del instruction
        labels = Labels(tuple(self._labels.get(row, frozenset()) for row in sample.ids))
        if not labels.judged.any():
            raise GuideError(
                f"None of the {len(sample)} sampled rows is among the {len(self._labels)} labelled "
                f"ids. Sampled ids look like {list(sample.ids[:3])}, labelled ids like "
                f"{self.ids()[:3]}."
            )
        return labels
